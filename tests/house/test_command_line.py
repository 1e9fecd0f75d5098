"""Exit codes and what is said on which stream; never a traceback for something the user can mend."""

import subprocess
import sys
import types
from collections.abc import Callable

import click
import pytest

import ceesim
from ceesim import cli
from ceesim.errors import HardwareError


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException | int | None], int]:
    """Run a command `probe` that raises, or returns, what it is given."""

    def run(outcome: BaseException | int | None) -> int:
        @click.command()
        def command() -> int | None:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        module = types.ModuleType("ceesim.cli.probe")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ceesim.cli.probe", module)
        monkeypatch.setitem(cli.COMMANDS, "probe", "A probe.")
        return cli.exit_code(["probe"])

    return run


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (None, 0, ""),
        (3, 3, ""),
        (HardwareError("rows is zero", where="a.yaml:3:9", got=0), 1, "error: a.yaml:3:9: rows is zero (got 0)\n"),
        (KeyboardInterrupt(), 130, "\nerror: interrupted\n"),  # the new line ends the ^C of the terminal
        (OSError(28, "No space left on device", "out.csv"), 1, "error: out.csv: No space left on device\n"),
        (PermissionError(13, "Permission denied", "out"), 1, "error: out: Permission denied\n"),
        (OSError("odd"), 1, "error: odd\n"),
        (MemoryError(), 1, "error: out of memory\n"),
        (BrokenPipeError(), 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_outcome_becomes_an_exit_code(
    probe: Callable[[BaseException | int | None], int],
    capfd: pytest.CaptureFixture[str],
    outcome: BaseException | int | None,
    code: int,
    said: str,
) -> None:
    assert probe(outcome) == code
    assert capfd.readouterr() == ("", said)


def test_a_bug_of_ours_is_not_hidden(probe: Callable[[BaseException | int | None], int]) -> None:
    with pytest.raises(ZeroDivisionError):
        probe(ZeroDivisionError())


@pytest.mark.parametrize("args", [["nonsense"], ["--nonsense"], ["schema", "--format", "toml"], ["inspect"]])
def test_a_wrong_call_is_a_usage_error(args: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(args) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("Usage: ceesim")


def test_help_lists_every_command_and_only_commands_that_exist(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["--help"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    for name, line in cli.COMMANDS.items():
        assert f"  {name} " in out
        assert line in " ".join(out.split())


@pytest.mark.parametrize("name", ["", *cli.COMMANDS, "validate flops", "validate latency"])
def test_every_command_loads_and_its_help_ends_with_an_example(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code([*name.split(), "--help"]) == 0
    before, *examples = capfd.readouterr().out.split("Example: ")
    assert before.rstrip(" ").endswith("\n\n")
    (example,) = examples
    assert f"ceesim {name}" in example
    assert "\n\n" not in example  # nothing follows


def test_the_module_runs_like_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "ceesim", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"ceesim {ceesim.__version__}\n")


def test_a_closed_pipe_is_no_error() -> None:
    script = f"{sys.executable} -m ceesim schema | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
