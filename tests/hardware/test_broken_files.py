"""Each broken file gets one clear message: file, line, key, what was got or expected, and what to write."""

import re
import time
from pathlib import Path

import pytest

from ceesim import cli
from ceesim.errors import HardwareError
from ceesim.hardware.load import load_hardware, parse_hardware
from tests.hardware.broken import NAME, Broken, broken_files, default_lines, not_yaml_files

FILES = list(broken_files())
JARGON = re.compile(r"pydantic|Traceback|Input should|type=|validat|NoneType|ceesim\.")


def test_there_are_many_and_the_unbroken_one_is_accepted() -> None:
    assert len(FILES) >= 250
    text = "\n".join(line for _, line in default_lines())
    assert parse_hardware(text) == load_hardware("edge_npu.yaml")


@pytest.mark.parametrize("broken", FILES, ids=lambda broken: broken.label)
def test_a_broken_file_is_refused_in_one_message(broken: Broken) -> None:
    with pytest.raises(HardwareError) as caught:
        parse_hardware(broken.text, NAME)
    message = str(caught.value)
    assert re.search(rf"^(- )?{NAME}:{broken.line}:\d+: {re.escape(broken.key)}: ", message, re.MULTILINE), message
    assert broken.said in message
    assert "fix: " in message
    assert not JARGON.search(message), message
    about_this_key = [line for line in message.splitlines() if f" {broken.key}: " in line and NAME in line]
    assert len(about_this_key) == 1, message


def test_what_is_no_hardware_file_is_refused_at_once(tmp_path: Path) -> None:
    for path, said in not_yaml_files(tmp_path):
        start = time.process_time()
        with pytest.raises(HardwareError) as caught:
            load_hardware(path)
        assert time.process_time() - start < 60, path.name  # a file that is refused may not take for ever
        message = str(caught.value)
        assert path.name in message
        assert said in message, (path.name, message)
        assert not JARGON.search(message), message


def test_the_command_line_says_it_and_leaves_with_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path, said in not_yaml_files(tmp_path):
        assert cli.exit_code(["inspect", str(path)]) == 1
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert said in err


def test_all_problems_of_a_file_are_said_at_once() -> None:
    text = "\n".join(line for _, line in default_lines())
    text = text.replace("rows: 16", "rows: 0").replace("lookahead", "lookahed").replace("lanes: 16", "lanes: many", 1)
    with pytest.raises(HardwareError) as caught:
        parse_hardware(text, NAME)
    message = str(caught.value)
    assert message.startswith("4 problems:\n")
    for said in ("array.rows: too small", "control.lookahed: unknown key", "control.lookahead: the key is missing"):
        assert said in message
    assert "vector.lanes: not a number of lanes" in message


def test_a_key_of_another_section_is_sent_there() -> None:
    text = "\n".join(line for _, line in default_lines()).replace("  rows: 16", "  rows: 16\n  bandwidth: 1 GB/s")
    with pytest.raises(HardwareError, match=r"belongs to another section: dram\.bandwidth"):
        parse_hardware(text)


def test_an_unreadable_file_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("name: a")

    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(HardwareError, match="cannot be read: Permission denied"):
        load_hardware(path)
