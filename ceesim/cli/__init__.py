"""The command line: a table of commands, loaded one by one, and the only place that turns errors into exit codes.

`ceesim --help` prints from the table alone, so it imports nothing but click. A command is a module
``ceesim/cli/<name>.py`` that defines ``command: click.Command`` and one line in `COMMANDS`.

Exit codes: 0 done; 1 our error, in words; 2 usage; 3 finished but some points failed; 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Final

import click

from ceesim import __version__
from ceesim.errors import CeesimError

COMMANDS: Final[dict[str, str]] = {
    "run": "The main job: replay a trace on a hardware.",
    "report": "One self-contained page about runs and sweeps.",
    "timeline": "Who worked when: a trace for Perfetto.",
    "sweep": "A design space, point by point, into a table; resumable.",
    "search": "Find exit thresholds, and which exits to keep, on a trace.",
    "optimize": "Hardware, thresholds and exits together (extra search).",
    "inspect": "What is in a hardware, trace or result file.",
    "flops": "MACs and FLOPs of a network, per op, segment and exit.",
    "gemm": "Price bare matrix products, for checking fold timing against RTL or SCALE-Sim.",
    "schema": "The JSON Schema of a hardware file, for editors.",
    "train": "Train a network with exits (extra torch).",
    "capture": "Run a checkpoint over a data split and write the trace (extra torch).",
    "validate": "Counts and times against the real machine (extra torch).",
}
"""Every command with its one line of help, in the order in which they are listed."""


_OUT_OF_MEMORY: Final = ("out of memory", "can't allocate memory")
"""In what torch says on a GPU and on a CPU."""


class _UnreadError(Exception):
    """Nobody reads our output any more, under a name that click does not turn into exit code 1."""


class _Table(click.Group):
    """A group that imports a command only when it is called."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _UnreadError from None
        except SystemExit as leave:
            if isinstance(leave.__context__, BrokenPipeError):  # what rich makes of it
                raise _UnreadError from None
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ceesim.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Table,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Example: ceesim run --hw edge_npu.yaml --trace vgg_c10.npz",
)
@click.version_option(__version__, prog_name="ceesim", message="%(prog)s %(version)s")
def group() -> None:
    """What dynamic inference is worth on real hardware: early-exit networks in cycles and joules."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code; `args` defaults to those of the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a µ or an arrow that a terminal does not know is no reason to fail
            stream.reconfigure(errors="replace")
    sys.exit(exit_code(args))


def exit_code(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error has been said on stderr."""
    try:
        result = group.main(args=None if args is None else list(args), prog_name="ceesim", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CeesimError as error:
        return _say(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except (_UnreadError, BrokenPipeError):
        # the reader of our output has gone (`| head`); point stdout elsewhere so that closing it stays quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _say(f"{place}{error.strerror or error}", 1)
    except MemoryError:
        return _say("out of memory", 1)
    except RuntimeError as error:
        if not any(said in str(error) for said in _OUT_OF_MEMORY):
            raise
        return _say("out of memory\n  fix: lower --batch", 1)
    return result if isinstance(result, int) else 0


def _say(problem: str, code: int) -> int:
    click.echo(f"error: {problem}", err=True)
    return code
