"""Every data layout reads to the same arrays; what is missing or damaged is said in words."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ceesim.errors import DataError, OptionError
from ceesim.frontend.data import load
from ceesim.frontend.data.digits import read_digits
from ceesim.frontend.data.images import ImageData, ImagePart
from ceesim.frontend.data.load import load_images
from ceesim.frontend.data.preprocess import Preprocessing, crop_and_flip, cutout

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (50, 3, 32, 32), dtype=np.uint8)
TEST = RNG.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
TRAIN_LABELS, TEST_LABELS = np.arange(50) % 10, np.arange(10)
NAMES = [f"class{number}" for number in range(10)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CEESIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def python_layout(folder: Path) -> None:
    folder.mkdir()
    for number in range(5):
        part = slice(number * 10, number * 10 + 10)
        record = {"data": TRAIN[part].reshape(10, -1), "labels": TRAIN_LABELS[part].tolist()}
        (folder / f"data_batch_{number + 1}").write_bytes(pickle.dumps(record, protocol=2))
    record = {"data": TEST.reshape(10, -1), "labels": TEST_LABELS.tolist()}
    (folder / "test_batch").write_bytes(pickle.dumps(record, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}, protocol=2))


def binary_layout(folder: Path) -> None:
    folder.mkdir()

    def records(images: np.ndarray, labels: np.ndarray) -> bytes:
        return np.concatenate([labels[:, None].astype(np.uint8), images.reshape(len(images), -1)], axis=1).tobytes()

    for number in range(5):
        part = slice(number * 10, number * 10 + 10)
        (folder / f"data_batch_{number + 1}.bin").write_bytes(records(TRAIN[part], TRAIN_LABELS[part]))
    (folder / "test_batch.bin").write_bytes(records(TEST, TEST_LABELS))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n")


def folder_layout(folder: Path) -> None:
    for part, images, labels in (("train", TRAIN, TRAIN_LABELS), ("test", TEST, TEST_LABELS)):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            file = folder / part / NAMES[label] / f"{number:04}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)


def tarred(folder: Path, mode: str) -> Path:
    path = folder.with_suffix(".tar.xz" if mode == "w:xz" else ".tar")
    with tarfile.open(path, mode) as archive:
        archive.add(folder, arcname=folder.name)
    return path


@pytest.mark.parametrize("layout", [python_layout, binary_layout])
@pytest.mark.parametrize("packed", [False, True])
def test_cifar10(tmp_path: Path, layout: object, packed: bool) -> None:
    folder = tmp_path / "cifar"
    layout(folder)
    data = load_images(str(tarred(folder, "w:gz") if packed else folder))
    assert data.classes == tuple(NAMES)
    np.testing.assert_array_equal(data.train.images, TRAIN)
    np.testing.assert_array_equal(data.train.labels, TRAIN_LABELS)
    np.testing.assert_array_equal(data.test.images, TEST)
    np.testing.assert_array_equal(data.test.labels, TEST_LABELS)


@pytest.mark.parametrize("binary", [False, True])
def test_cifar100_uses_fine_labels(tmp_path: Path, binary: bool) -> None:
    folder = tmp_path / "cifar100"
    folder.mkdir()
    fine = {"train": np.arange(50) + 50, "test": np.arange(10) + 90}
    for part, images in (("train", TRAIN), ("test", TEST)):
        if binary:
            labels = np.stack([fine[part] // 5, fine[part]], axis=1).astype(np.uint8)
            content = np.concatenate([labels, images.reshape(len(images), -1)], axis=1).tobytes()
            (folder / f"{part}.bin").write_bytes(content)
        else:
            record = {"data": images.reshape(len(images), -1), "fine_labels": fine[part].tolist()}
            (folder / part).write_bytes(pickle.dumps(record | {"coarse_labels": [0] * len(images)}, protocol=2))
    names = [f"fine{number}" for number in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, protocol=2))
    (folder / "fine_label_names.txt").write_text("\n".join(names))
    data = load_images(str(folder))
    assert data.classes == tuple(names)
    np.testing.assert_array_equal(data.train.labels, fine["train"])
    np.testing.assert_array_equal(data.test.images, TEST)


@pytest.mark.parametrize("mode", [None, "w", "w:xz"])
def test_class_folders_label_by_sorted_name(tmp_path: Path, mode: str | None) -> None:
    folder_layout(tmp_path / "mine")
    data = load_images(str(tarred(tmp_path / "mine", mode) if mode else tmp_path / "mine"))
    assert (data.name, data.classes) == ("mine", tuple(NAMES))
    order = np.argsort(TRAIN_LABELS, kind="stable")
    np.testing.assert_array_equal(data.train.images, TRAIN[order])
    np.testing.assert_array_equal(data.train.labels, TRAIN_LABELS[order])
    np.testing.assert_array_equal(data.test.labels, TEST_LABELS)


def test_a_val_folder_is_the_test_part_only_where_there_is_no_other(tmp_path: Path) -> None:
    folder_layout(tmp_path / "two")
    (tmp_path / "two" / "test").rename(tmp_path / "two" / "val")
    np.testing.assert_array_equal(load_images(str(tmp_path / "two")).test.labels, TEST_LABELS)
    folder_layout(tmp_path / "three")
    shutil.copytree(tmp_path / "three" / "test", tmp_path / "three" / "val")
    data = load_images(str(tmp_path / "three"))
    assert (len(data.train), len(data.test)) == (len(TRAIN) + len(TEST), len(TEST))


@pytest.mark.parametrize("zipped", [False, True])
def test_fashion_mnist_is_padded_to_32_and_three_channels(tmp_path: Path, zipped: bool) -> None:
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    grey = RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    for part, images in (("train", grey), ("t10k", grey[:5])):
        labels = (np.arange(len(images)) % 10).astype(np.uint8)
        for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    data = load_images(str(folder))
    assert data.classes[0] == "T-shirt/top"
    assert data.train.images.shape == (20, 3, 32, 32)
    for channel in range(3):
        np.testing.assert_array_equal(data.train.images[:, channel, 2:30, 2:30], grey)
    assert data.test.labels.tolist() == [0, 1, 2, 3, 4]


def test_digits_need_no_file() -> None:
    data = load_images("digits")
    assert (len(data.train), len(data.test), len(data.classes)) == (1437, 360, 10)
    assert data.train.images.shape[1:] == (3, 32, 32)


def test_a_data_set_is_decoded_once_and_anew_when_it_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cifar"
    python_layout(folder)
    load_images(str(folder))
    with monkeypatch.context() as patched:
        patched.setattr(load, "read_files", lambda _path: pytest.fail("decoded again"))
        assert load_images(str(folder), name="another name").name == "another name"
    (entry,) = cache.iterdir()
    entry.write_bytes(entry.read_bytes()[:1000])
    np.testing.assert_array_equal(load_images(str(folder)).train.images, TRAIN)
    record = {"data": 255 - TEST.reshape(10, -1), "labels": TEST_LABELS.tolist()}
    (folder / "test_batch").write_bytes(pickle.dumps(record, protocol=4))
    np.testing.assert_array_equal(load_images(str(folder)).test.images, 255 - TEST)


def test_an_unwritable_cache_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CEESIM_CACHE", str(tmp_path / "file" / "cache"))
    python_layout(tmp_path / "cifar")
    np.testing.assert_array_equal(load_images(str(tmp_path / "cifar")).test.images, TEST)


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    python_layout(tmp_path / "cifar")
    (tmp_path / "cifar" / "data_batch_3").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"not a CIFAR pickle: it asks for os\.system"):
        load_images(str(tmp_path / "cifar"))


def test_a_missing_data_set_says_where_it_looked_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CEESIM_DATA", str(tmp_path / "sets"))
    with pytest.raises(DataError) as error:
        load_images("cifar10")
    text = str(error.value)
    assert "data set cifar10 not found" in text
    assert str(tmp_path / "sets" / "cifar-10-batches-py") in text
    assert "get cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html" in text
    with pytest.raises(DataError, match="give the path of a directory or tar, or one of the names cifar10"):
        load_images("nowhere/at/all")


def test_a_known_name_is_found_in_ceesim_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CEESIM_DATA", str(tmp_path))
    python_layout(tmp_path / "cifar-10-batches-py")
    assert load_images("cifar10").name == "CIFAR-10"


def damaged(tmp_path: Path, kind: str) -> Path:
    folder = tmp_path / "set"
    if kind == "truncated tar":
        folder_layout(folder)
        path = tarred(folder, "w:xz")
        path.write_bytes(path.read_bytes()[:3000])
        return path
    if kind == "no tar":
        folder.write_text("not an archive")
    elif kind == "nothing known":
        folder.mkdir()
        (folder / "notes.txt").write_text("")
    elif kind == "missing batch":
        python_layout(folder)
        (folder / "data_batch_4").unlink()
    elif kind == "label out of range":
        python_layout(folder)
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES[:9]}, protocol=2))
    elif kind == "truncated batch":
        binary_layout(folder)
        (folder / "test_batch.bin").write_bytes(b"\0" * 3072)
    else:
        folder_layout(folder)
        image = folder / "train" / "class0" / "0000.png"
        if kind == "no image":
            image.write_bytes(b"not an image")
        elif kind == "another size":
            Image.new("RGB", (16, 32)).save(image)
        elif kind == "strange class":
            (folder / "test" / "class9").rename(folder / "test" / "class10")
    return folder


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated tar", "the archive cannot be read"),
        ("no tar", "the archive cannot be read"),
        ("nothing known", "no known data layout"),
        ("missing batch", "the file data_batch_4 is missing"),
        ("label out of range", "labels out of range"),
        ("truncated batch", "a binary batch is truncated"),
        ("no image", "an image cannot be decoded"),
        ("another size", "images differ in size"),
        ("strange class", "got classes class10 without a training image"),
    ],
)
def test_damaged_data(tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(DataError) as error:
        load_images(str(damaged(tmp_path, kind)))
    assert words in str(error.value)


@pytest.mark.parametrize("labels", [[0, 10], [-1, 0], []])
def test_a_label_without_a_class_is_refused_in_every_layout(labels: list[int]) -> None:
    part = ImagePart(TEST[: len(labels)], np.array(labels, np.int64))
    with pytest.raises(DataError, match=r"mine: labels out of range \(expected 0 to 9\)"):
        ImageData("mine", tuple(NAMES), ImagePart(TRAIN, TRAIN_LABELS), part)


def test_validation_is_a_seeded_hold_out() -> None:
    data = ImageData("mine", tuple(NAMES), ImagePart(TRAIN, TRAIN_LABELS), ImagePart(TEST, TEST_LABELS))
    parts, again, other = data.split(20, 1), data.split(20, 1), data.split(20, 2)
    assert (len(parts["train"]), len(parts["val"]), len(parts["test"])) == (30, 20, 10)
    together = np.concatenate([parts["train"].images, parts["val"].images])
    assert {each.tobytes() for each in together} == {each.tobytes() for each in TRAIN}
    np.testing.assert_array_equal(parts["val"].images, again["val"].images)
    assert (parts["val"].images != other["val"].images).any()
    with pytest.raises(DataError, match="validation hold-out does not fit"):
        data.split(50, 1)


def test_preprocessing_normalises_and_resizes() -> None:
    preprocessing = Preprocessing.of(TRAIN, 32)
    values = preprocessing(torch.from_numpy(TRAIN))
    assert values.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (values.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3
    large = Preprocessing(preprocessing.mean, preprocessing.std, 64)(torch.from_numpy(TRAIN))
    assert large.shape == (50, 3, 64, 64)


@pytest.mark.parametrize("border", ["black", "reflect"])
def test_every_augmented_image_is_a_shift_of_the_original_or_its_mirror(border: str) -> None:
    images = torch.from_numpy(TRAIN)
    augmented = crop_and_flip(images, torch.Generator().manual_seed(0), border=border)
    padded = torch.from_numpy(
        np.pad(TRAIN, ((0, 0), (0, 0), (4, 4), (4, 4)), mode="constant" if border == "black" else "reflect")
    )
    seen = set()
    for original, result in zip(padded, augmented, strict=True):
        matches = [
            (down, right, mirrored)
            for down in range(9)
            for right in range(9)
            for mirrored in (False, True)
            if torch.equal(
                result,
                original[:, down : down + 32, right : right + 32].flip(2)
                if mirrored
                else original[:, down : down + 32, right : right + 32],
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert {mirrored for *_, mirrored in seen} == {False, True}
    assert len(seen) > 30


def test_the_caller_may_say_which_images_are_mirrored() -> None:
    images = torch.from_numpy(TRAIN)
    mirrored = torch.arange(len(images)) % 3 == 0
    seed = torch.Generator().manual_seed
    each = {way: crop_and_flip(images, seed(0), mirrored=torch.full_like(mirrored, way)) for way in (False, True)}
    both = crop_and_flip(images, seed(0), mirrored=mirrored)
    assert all(torch.equal(both[n], each[bool(mirrored[n])][n]) for n in range(len(images)))
    assert not torch.equal(each[True], each[False])


def test_cutout_paints_one_square_inside_each_image() -> None:
    images = torch.full((200, 3, 12, 16), 7, dtype=torch.uint8)
    painted = cutout(images, 4, (1, 2, 3), torch.Generator().manual_seed(0))
    corners = set()
    for image in painted:
        rows, columns = torch.nonzero(image[0] != 7, as_tuple=True)
        top, left = int(rows.min()), int(columns.min())
        expected = images[0].clone()
        expected[:, top : top + 4, left : left + 4] = torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1)
        assert torch.equal(image, expected)
        corners.add((top, left))
    assert {top for top, _ in corners} == set(range(9))
    assert {left for _, left in corners} == set(range(13))
    assert bool((images == 7).all())
    assert torch.equal(cutout(images, 0, (1, 2, 3), torch.Generator()), images)
    with pytest.raises(OptionError, match=r"cutout does not fit the images \(got 12; expected 0 to 11 pixels\)"):
        cutout(images, 12, (1, 2, 3), torch.Generator())


def test_grey_normalises_to_nothing() -> None:
    preprocessing = Preprocessing.of(TRAIN, 32)
    grey = torch.tensor(preprocessing.grey, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert preprocessing(grey).abs().max() < 0.5 / 255 / min(preprocessing.std) + 1e-3


def test_a_png_in_a_tar_stream_needs_no_seeking(tmp_path: Path) -> None:
    folder_layout(tmp_path / "mine")
    path = tarred(tmp_path / "mine", "w:xz")
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r|*") as archive:
        assert archive.next() is not None
    assert len(load_images(str(path)).train) == 50


def test_images_of_16_bits_are_refused(tmp_path: Path) -> None:
    """Pillow would turn them into black and white."""
    folder_layout(tmp_path / "mine")
    file = tmp_path / "mine" / "train" / NAMES[0] / "deep.png"
    Image.fromarray(np.full((32, 32), 1000, np.uint16)).save(file)
    with pytest.raises(DataError, match=r"deep\.png: an image of more than 8 bits per channel") as error:
        load_images(str(tmp_path / "mine"))
    assert error.value.fix


@pytest.mark.parametrize("suffix", ["webp", "tif", "ppm"])
def test_no_image_in_a_class_folder_is_passed_over(tmp_path: Path, suffix: str) -> None:
    folder_layout(tmp_path / "mine")
    before = len(load_images(str(tmp_path / "mine")).train)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "mine" / "train" / NAMES[0] / f"more.{suffix}")
    assert len(load_images(str(tmp_path / "mine")).train) == before + 1


def test_a_data_set_here_is_called_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_layout(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert load_images(".").name == "mine"


def test_a_constant_channel_is_not_divided_by_nothing() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8)).astype(np.uint8)
    images[:, 2] = 7
    pre = Preprocessing.of(images, 8)
    assert pre.std[2] == 1
    assert torch.isfinite(pre(torch.from_numpy(images))).all()


def test_the_digest_of_a_part_is_that_of_its_pixels_and_labels() -> None:
    part = read_digits().train.take(np.arange(20))
    other = ImagePart(255 - part.images, part.labels), ImagePart(part.images, part.labels[::-1].copy())
    assert len({part.sha256(), *(each.sha256() for each in other)}) == 3
    assert part.sha256() == part.take(np.arange(20)).sha256()


def test_the_order_of_an_archive_does_not_change_the_hold_out(tmp_path: Path) -> None:
    folder_layout(tmp_path / "images")
    path = tmp_path / "shuffled.tar"
    files = sorted(file for file in (tmp_path / "images").rglob("*") if file.is_file())
    with tarfile.open(path, "w") as archive:
        for number in np.random.default_rng(1).permutation(len(files)):
            archive.add(files[number], arcname=files[number].relative_to(tmp_path))
    one, other = (load_images(str(place)).split(20, 3) for place in (tmp_path / "images", path))
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(one[part].images, other[part].images)
        np.testing.assert_array_equal(one[part].labels, other[part].labels)


def test_files_that_macos_puts_beside_images_are_passed_over(tmp_path: Path) -> None:
    folder_layout(tmp_path / "images")
    (tmp_path / "images" / "train" / NAMES[0] / "._0000.png").write_bytes(b"not an image")
    assert len(load_images(str(tmp_path / "images")).train) == len(TRAIN)


def test_an_archive_is_known_again_elsewhere_and_under_each_name(tmp_path: Path, cache: Path) -> None:
    folder_layout(tmp_path / "images")
    path = tarred(tmp_path / "images", "w")
    load_images(str(path), name="one")
    (tmp_path / "elsewhere").mkdir()
    load_images(shutil.copy(path, tmp_path / "elsewhere"), name="two")
    assert len(list(cache.iterdir())) == 1


def test_the_names_of_classes_do_not_depend_on_who_opened_the_files_first(tmp_path: Path) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        grey = np.zeros((count, 28, 28), np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">HBB3I", 0, 8, 3, count, 28, 28) + grey.tobytes()
        )
        labels = np.arange(count, dtype=np.uint8) % 10
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + labels.tobytes())
    assert load_images(str(folder)).classes[0] == "0"
    assert load_images(str(folder.parent)).classes[0] == "T-shirt/top"
