"""Ways to damage a trace: the bytes of the file, its members, its JSON, its numbers. Each has a name and a culprit."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that no loader may accept, and a word that the error must contain."""

    name: str
    data: bytes
    word: str


def packed(arrays: Arrays) -> bytes:
    """An npz of `arrays`; bytes stand for a whole member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            member = array if isinstance(array, bytes) else npy(array)
            file.writestr(name if "." in name else f"{name}.npy", member)
    return buffer.getvalue()


def npy(array: NDArray[Any], pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=pickled)
    return buffer.getvalue()


def header(descr: str, shape: object, data: bytes = b"", order: object = False) -> bytes:
    """A member whose header says what we like."""
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def damages(arrays: Arrays) -> Iterator[Damage]:
    """Every damage we can think of to the trace in `arrays` (exclusion policy, with logits)."""
    whole = packed(arrays)
    yield from _truncated(whole)
    yield from _members(arrays)
    yield from _headers(arrays)
    yield from _layouts(arrays)
    yield from _values(arrays)
    yield from _decisions(arrays)
    yield from _meta(arrays)


def _truncated(whole: bytes) -> Iterator[Damage]:
    for share in range(0, 100, 5):
        yield Damage(f"truncated to {share}%", whole[: len(whole) * share // 100], "npz")
    yield Damage("last byte gone", whole[:-1], "npz")
    yield Damage("first half twice", whole[: len(whole) // 2] * 2, "npz")
    yield Damage("zeros", bytes(len(whole)), "npz")
    yield Damage("text", b"exit_index,prediction\n1,2\n", "npz")
    yield Damage("a bare npy", npy(np.arange(5)), "npz")
    yield Damage("a pickle", b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello\x94.", "npz")


def _members(arrays: Arrays) -> Iterator[Damage]:
    for name in ("meta", "labels", "exit_index", "predictions"):
        yield Damage(f"without {name}", packed({key: a for key, a in arrays.items() if key != name}), name)
    for name in ("remaining", "final_logits", "logits"):
        yield Damage(f"without {name}", packed({key: a for key, a in arrays.items() if key != name}), name[-6:])
    yield Damage("an array more", packed(arrays | {"extra": np.arange(3)}), "extra")
    yield Damage("a file more", packed(arrays | {"readme.txt": b"hello"}), "readme.txt")
    yield Damage("a folder", packed(arrays | {"../../labels.npy": npy(arrays["labels"])}), "labels")
    yield Damage("many arrays", packed(arrays | {f"x{i}": np.arange(1) for i in range(100)}), "too many")
    yield Damage("an empty zip", packed({}), "missing")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            for name, array in arrays.items():
                file.writestr(f"{name}.npy", npy(array))
        yield Damage(f"compression {method}", buffer.getvalue(), "compression")
    for name in arrays:
        yield Damage(f"{name} is empty", packed(arrays | {name: b""}), name)
        yield Damage(f"{name} is text", packed(arrays | {name: b"1 2 3"}), name)
        yield Damage(f"{name} is cut", packed(arrays | {name: npy(arrays[name])[:-1]}), name)
        yield Damage(f"{name} is too long", packed(arrays | {name: npy(arrays[name]) + b"\0"}), name)
        yield Damage(f"{name} is pickled", packed(arrays | {name: npy(np.array([{}, 1], object), pickled=True)}), name)
        yield Damage(f"{name} lies about its checksum", _wrong_checksum(packed(arrays), name), name)


def _wrong_checksum(whole: bytes, name: str) -> bytes:
    """The checksum of a member flipped, in the central directory and before the member."""
    damaged = bytearray(whole)
    wanted = f"{name}.npy".encode()
    for signature, checksum, length, names in ((b"PK\x01\x02", 16, 28, 46), (b"PK\x03\x04", 14, 26, 30)):
        start = damaged.find(signature)
        while start >= 0:
            size = int.from_bytes(damaged[start + length : start + length + 2], "little")
            if damaged[start + names : start + names + size] == wanted:
                damaged[start + checksum] ^= 0xFF
            start = damaged.find(signature, start + 1)
    return bytes(damaged)


def _headers(arrays: Arrays) -> Iterator[Damage]:
    data = bytes(8)
    for label, member in {
        "an object": header("|O", (1,), data),
        "a type that numpy has not": header("<b2", (4,), data),
        "floats of one byte": header("<f1", (8,), data),
        "a record": b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (1,)}",
        "a negative size": header("<i8", (-1,), data),
        "a huge size": header("<i8", (1 << 40,), data),
        "a size beyond int64": header("<i8", (1 << 80,), data),
        "a product beyond int64": header("<i8", (1 << 31, 1 << 31, 1 << 31), data),
        "a float size": header("<i8", (1.0,), data),
        "a bool size": header("<i8", (True,), data),
        "no tuple": header("<i8", 1, data),
        "many axes": header("<i8", (1,) * 60, data),
        "an odd order": header("<i8", (1,), data, order="C"),
        "text": header("<U2", (1,), data),
        "complex": header("<c8", (1,), data),
        "a time": header("<M8", (1,), data),
        "an unknown type": header("<q9", (1,), data),
        "a call": b"\x93NUMPY\x01\x00\x14\x00__import__('os')    " + data,
        "brackets": b"\x93NUMPY\x01\x00\xe8\x03" + b"(" * 1000,
        "an escape": b"\x93NUMPY\x01\x00\x06\x00'\\d'  " + data,
        "a long header": b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535,
        "a header of gigabytes": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100,
        "version 9": b"\x93NUMPY\x09\x00" + header("<i8", (1,), data)[8:],
        "another magic": b"\x93NUMBY\x01\x00" + header("<i8", (1,), data)[8:],
    }.items():
        yield Damage(f"labels: header of {label}", packed(arrays | {"labels": member}), "labels")
    zeros = np.zeros(40 << 20, np.uint8)
    yield Damage("a zip bomb for meta", packed(arrays | {"meta": zeros}), "meta")
    yield Damage("a zip bomb for labels", packed(arrays | {"labels": zeros}), "labels")
    yield Damage("a zip bomb for logits", packed(arrays | {"logits": zeros.view(np.float16)}), "logits")
    whole = bytearray(packed(arrays))
    place = whole.find(b"PK\x01\x02")
    whole[place + 24 : place + 28] = b"\xff\xff\xff\xfe"  # the unpacked size of the first member
    yield Damage("a member said to unpack to 4 GB", bytes(whole), "unpacks")


def _layouts(arrays: Arrays) -> Iterator[Damage]:
    for name, array in arrays.items():
        if name == "meta":
            continue
        yield Damage(f"{name} one row short", packed(arrays | {name: array[:-1]}), "")
        yield Damage(f"{name} one row more", packed(arrays | {name: np.concatenate([array, array[:1]])}), "")
        yield Damage(f"{name} with an axis more", packed(arrays | {name: array[..., None]}), name)
        yield Damage(f"{name} as one number", packed(arrays | {name: array.ravel()[0]}), name)
        yield Damage(f"{name} without rows", packed(arrays | {name: array[:0]}), "")
        yield Damage(f"{name} as float64", packed(arrays | {name: array.astype(np.float64)}), name)
        yield Damage(f"{name} as bool", packed(arrays | {name: array.astype(bool)}), name)
        yield Damage(f"{name} as text", packed(arrays | {name: array.astype("S4")}), name)
        if array.ndim > 1:
            yield Damage(f"{name} transposed", packed(arrays | {name: array.swapaxes(0, 1)}), name)
            yield Damage(f"{name} one class short", packed(arrays | {name: array[..., :-1]}), name)
        if array.dtype.kind == "f":
            yield Damage(f"{name} as integers", packed(arrays | {name: array.astype(np.int16)}), name)


def _values(arrays: Arrays) -> Iterator[Damage]:
    num_exits, num_classes = arrays["logits"].shape[1:]
    for name, bad in {
        "labels": (-2, num_classes, 2**31 - 1, -(2**31)),
        "exit_index": (0, -1, num_exits + 2, 2**31 - 1),
        "predictions": (-1, num_classes, 2**31 - 1),
        "predictions_masked": (-1, num_classes),
    }.items():
        for value in bad:
            yield Damage(f"{name} {value}", packed(arrays | {name: changed(arrays[name], 7, value)}), name)
    for name in ("logits", "final_logits", "density"):
        for number in (np.nan, np.inf, -np.inf):
            yield Damage(f"{name} {number}", packed(arrays | {name: changed(arrays[name], 11, number)}), name)
    for share in (-0.1, 1.5):
        yield Damage(f"density {share}", packed(arrays | {"density": changed(arrays["density"], 3, share)}), "density")
    huge = arrays["labels"].astype(np.uint64)
    yield Damage("labels beyond int64", packed(arrays | {"labels": changed(huge, 0, 2**64 - 5)}), "labels")


def changed(array: NDArray[Any], place: int, value: Any) -> NDArray[Any]:
    """A copy with the element at a flat place replaced."""
    copy = np.array(array)
    copy.flat[place] = value
    return copy


def _decisions(arrays: Arrays) -> Iterator[Damage]:
    """Plausible numbers that are not what the stored policy did."""
    exit_index, num_exits = arrays["exit_index"], arrays["logits"].shape[1]
    bare = {key: a for key, a in arrays.items() if key not in ("logits", "final_logits", "predictions_masked")}
    early, late = int(np.flatnonzero(exit_index == 2)[0]), int(np.flatnonzero(exit_index == num_exits + 1)[0])
    for label, base in (("with logits", arrays), ("without logits", bare)):
        for row, value in ((early, 3), (early, 1), (early, num_exits + 1), (late, 1), (late, num_exits)):
            moved = changed(exit_index, row, value)
            yield Damage(f"{label}, input {row} left at {value}", packed(base | {"exit_index": moved}), "remaining")
        other = changed(base["predictions"], early, (base["predictions"][early] + 1) % arrays["logits"].shape[2])
        yield Damage(f"{label}, another prediction", packed(base | {"predictions": other}), "predictions")
        remaining = base["remaining"]
        for place in ((late, 0), (early, 0), (early, 1)):
            cleared, full, stray = (remaining.copy() for _ in range(3))
            cleared[place], full[place], stray[place] = 0, 0xF8, remaining[place] | 1
            where = f"{label}, classes at {place}"
            yield Damage(f"{where} cleared", packed(base | {"remaining": cleared}), "remaining")
            yield Damage(f"{where} with a class too many", packed(base | {"remaining": stray}), "remaining")
            if place != (late, 0) and place != (early, 0):
                yield Damage(f"{where} all there", packed(base | {"remaining": full}), "remaining")
        after = remaining.copy()
        after[early, 2] = 0x80
        yield Damage(f"{label}, classes after leaving", packed(base | {"remaining": after}), "remaining")
    end = changed(arrays["predictions"], late, (arrays["predictions"][late] + 1) % arrays["logits"].shape[2])
    yield Damage("another prediction at the end", packed(arrays | {"predictions": end}), "predictions")
    masked = changed(arrays["predictions_masked"], late, (arrays["predictions_masked"][late] + 1) % 5)
    yield Damage("another masked prediction", packed(arrays | {"predictions_masked": masked}), "predictions_masked")
    for row in range(4):
        logits = np.array(arrays["logits"])
        logits[row] = -logits[row]
        yield Damage(f"logits of input {row} negated", packed(arrays | {"logits": logits}), "input")
    shuffled = arrays["logits"][::-1]
    yield Damage("logits in another order", packed(arrays | {"logits": shuffled}), "inputs")


def nested(depth: int) -> list[Any]:
    """Lists within each other."""
    innermost: list[Any] = []
    for _ in range(depth):
        innermost = [innermost]
    return innermost


def _meta(arrays: Arrays) -> Iterator[Damage]:
    text = bytes(arrays["meta"])

    def raw(data: bytes) -> bytes:
        return packed(arrays | {"meta": np.frombuffer(data, np.uint8)})

    for label, data in {
        "JSON without an end": text[:-1],
        "not UTF-8": text.replace(b"made up", b"made \xff\xfe"),
        "not JSON": b"hello",
        "a list": b"[]",
        "a number": b"3",
        "null": b"null",
        "nested deeply": b"[" * 100_000 + b"]" * 100_000,
        "NaN": text.replace(b'"training":{', b'"training":{"loss":NaN,'),
        "Infinity": text.replace(b'"training":{', b'"training":{"loss":-Infinity,'),
        "a number beyond floats": text.replace(b'"training":{', b'"training":{"loss":1e999,'),
        "an endless integer": text.replace(b'"training":{', b'"training":{"loss":' + b"9" * 5000 + b","),
    }.items():
        assert data != text
        yield Damage(f"meta is {label}", raw(data), "meta")
    yield Damage("meta is signed", packed(arrays | {"meta": arrays["meta"].astype(np.int8)}), "meta")
    yield Damage("meta is a matrix", packed(arrays | {"meta": arrays["meta"][None]}), "meta")
    for label, change in _changes().items():
        meta = json.loads(text)
        change(meta)
        yield Damage(f"meta: {label}", raw(json.dumps(meta).encode()), "meta")


def _changes() -> dict[str, Callable[[dict[str, Any]], object]]:
    """Changes to the decoded meta."""
    changes: dict[str, Callable[[dict[str, Any]], object]] = {}

    def drop(*path: str) -> Callable[[dict[str, Any]], object]:
        def change(meta: dict[str, Any]) -> None:
            for key in path[:-1]:
                meta = meta[key]
            del meta[path[-1]]

        return change

    def put(value: object, *path: str | int) -> Callable[[dict[str, Any]], object]:
        def change(meta: Any) -> None:
            for key in path[:-1]:
                meta = meta[key]
            meta[path[-1]] = value

        return change

    for key in ("schema", "network", "dataset", "split", "policy"):
        changes[f"without {key}"] = drop(key)
        changes[f"{key} is a number"] = put(3, key)
    for key in ("preprocessing", "training", "capture", "provenance"):
        changes[f"{key} is text"] = put("text", key)
    changes["an unknown key"] = put(1, "colour")
    changes["a future version"] = put("ceesim.trace/2", "schema")
    changes["another schema"] = put("ceesim.policy/1", "schema")
    changes["only the name of a network"] = put("vggsmall", "network")
    changes["a future network"] = put("ceesim.workload/99", "network", "schema")
    for key in ("name", "num_classes", "input_shape", "ops", "exits", "output"):
        changes[f"network without {key}"] = drop("network", key)
    changes["network of no ops"] = put([], "network", "ops")
    changes["network of more classes"] = put(6, "network", "num_classes")
    changes["network of a negative shape"] = put([2, -4, 4], "network", "input_shape")
    changes["network of width 1e300"] = put(1e300, "network", "width")
    changes["half a character"] = lambda meta: meta.update(dataset="bad\ud800")
    changes["lists in lists"] = lambda meta: meta["training"].update(deep=nested(100))
    changes["a number without end"] = lambda meta: meta["training"].update(alpha=10**400)
    changes["network with its exits reversed"] = lambda meta: meta["network"]["exits"].reverse()
    changes["network that taps nothing"] = put("nowhere", "network", "exits", 0, "tap")
    changes["network with an unknown op"] = put("lstm", "network", "ops", 0, "kind")
    changes["network with a wrong ofmap"] = put([3, 9, 9], "network", "ops", 0, "output_shape")
    changes["network with two ops of one name"] = lambda meta: meta["network"]["ops"].append(meta["network"]["ops"][0])
    changes["an unknown policy"] = put("exlude", "policy", "name")
    changes["a policy for another network"] = put([0.5], "policy", "beta")
    changes["a β of 2"] = put([0.5, 2, 0.5], "policy", "beta")
    changes["a β of text"] = put([0.5, "0.5", 0.5], "policy", "beta")
    changes["a policy with a key more"] = put(1, "policy", "gamma")
    return changes


def wrong_policies(arrays: Arrays) -> Iterator[Damage]:
    """Policies that are sound in themselves, but did not take these decisions."""
    for label, change in {
        "another β": {"beta": [0.9, 0.9, 0.9]},
        "an exit not kept": {"beta": [0.6, None, 0.8]},
        "no recovery": {"recovery": False},
        "a masked final layer": {"final": "masked"},
        "calibration": {"calibration": "prior", "alpha": 36.0},
        "never": None,
    }.items():
        meta = json.loads(bytes(arrays["meta"]))
        meta["policy"] = {"name": "never"} if change is None else meta["policy"] | change
        data = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        yield Damage(f"policy: {label}", packed(arrays | {"meta": data}), "")
