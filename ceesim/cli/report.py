"""`ceesim report`: one self-contained page about runs and sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ceesim.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ceesim.results.report.figure import Section


@click.command(
    "report",
    epilog="Example: ceesim run --hw edge_npu.yaml --trace vgg_w025_c10.npz --out results "
    "&& ceesim report results --out report.html",
)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|SWEEP…")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="Page to write.",
)
@click.option(
    "--trace",
    "traces",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="T",
    help="Where a run's trace is; repeatable. Default: beside the run, in the working directory, or shipped.",
)
@click.option("--csv", "with_data", is_flag=True, help="Write the data of every figure beside the page. Default: off.")
def command(sources: tuple[Path, ...], out: Path, traces: tuple[Path, ...], with_data: bool) -> None:
    """Draw runs (folders of `ceesim run --out`) and sweeps (tables of `ceesim sweep --out`) on one page.

    The page needs no network and no other file. Several runs are also put side by side.
    """
    from ceesim.results.report.page import write_data, write_page

    sections, title = _sections(sources, traces)
    write_page(sections, title, out)
    click.echo(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)", err=True)
    if with_data:
        written = write_data(sections, out)
        click.echo(f"wrote {len(written)} tables into {written[0].parent}", err=True)


def _sections(sources: Sequence[Path], traces: Sequence[Path]) -> tuple[list[Section], str]:
    """What the page shows, and its title."""
    from ceesim.explore.report import sweep_section
    from ceesim.results.report.folder import is_run, read_run
    from ceesim.results.report.sections import comparison, run_section

    for path in sources:
        if not path.exists():
            raise OutputError(
                "no such run or sweep",
                where=str(path),
                expected="a folder of `ceesim run --out`, or a table of `ceesim sweep --out`",
                fix="check the name and the working directory",
            )
    runs = [read_run(path, traces) for path in sources if path.is_dir() or is_run(path)]
    tables = [path for path in sources if not path.is_dir()]
    if len(runs) == 1:
        sections = [run_section(runs[0], "run1")]
    else:
        names = _distinct([run.name for run in runs])
        sections = [comparison(runs, names)] if runs else []
        sections += [
            run_section(run, f"run{i}", name) for i, (run, name) in enumerate(zip(runs, names, strict=True), 1)
        ]
    sections += [sweep_section(path, f"sweep{i}") for i, path in enumerate(tables, 1)]
    return sections, sections[0].title


def _distinct(names: Sequence[str]) -> list[str]:
    """Names with a number where an earlier one is the same."""
    before = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({count + 1})" if count else name for name, count in zip(names, before, strict=True)]
