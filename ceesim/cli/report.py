"""`ceesim report`: one self-contained page about runs, sweeps and chosen designs."""

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
    """Draw runs (folders of `ceesim run --out`) and tables of `ceesim sweep` and `ceesim optimize` on one page.

    The page needs no network and no other file. Several runs are also put side by side.
    """
    from ceesim.files import check_apart
    from ceesim.results.report.page import write_data, write_page
    from ceesim.shipped import Shelf, find

    read = [find(trace, Shelf.TRACES) for trace in traces]
    files = [entry for source in sources if source.is_dir() for entry in source.iterdir() if entry.suffix != ".html"]
    check_apart(out, [*sources, *read, *files])
    sections, title = _sections(sources, read)
    write_page(sections, title, out)
    click.echo(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)", err=True)
    if with_data:
        written = write_data(sections, out)
        click.echo(f"wrote {len(written)} tables" + (f" into {written[0].parent}" if written else ""), err=True)


def _sections(sources: Sequence[Path], traces: Sequence[Path]) -> tuple[list[Section], str]:
    """What the page shows, and its title."""
    from ceesim.explore.report import sweep_section
    from ceesim.explore.report_designs import designs_section, is_designs
    from ceesim.results.report.folder import read_run, strangers
    from ceesim.results.report.sections import comparison, run_section
    from ceesim.results.report.traits import told_apart

    for source in sources:
        _check(source)
    folders, tables = ([path for path in sources if path.is_dir() is folder] for folder in (True, False))
    runs = [read_run(path, traces) for path in folders]
    for said in strangers(runs, traces):
        click.echo(f"note: {said}", err=True)
    if len(runs) == 1:
        sections = [run_section(runs[0], "run1")]
    else:
        names = _distinct(folders)
        sections = [comparison(runs, names)] if runs else []
        sections += [
            run_section(run, f"run{i}", name, apart)
            for i, (run, name, apart) in enumerate(zip(runs, names, told_apart(runs), strict=True), 1)
        ]
    for i, path in enumerate(tables, 1):
        sections.append(designs_section(path, f"designs{i}") if is_designs(path) else sweep_section(path, f"sweep{i}"))
    return sections, sections[0].title


def _check(path: Path) -> None:
    """See that `path` may be a run or a table."""
    from ceesim.results.report.folder import is_run
    from ceesim.results.write import RUN_FILES, SOME_RUN_FILES

    expected = "a folder of `ceesim run --out`, or a table of `ceesim sweep` or `optimize`"
    if not path.exists():
        raise OutputError(
            "no such run or sweep", where=str(path), expected=expected, fix="check the name and the working directory"
        )
    if path.is_dir():
        return
    if path.name in (*RUN_FILES, *SOME_RUN_FILES) and is_run(path.parent):
        fix = f"give the folder of the run: ceesim report {path.parent}"
        raise OutputError("one file of a run, which is a folder", where=str(path), expected=expected, fix=fix)
    if path.suffix not in (".csv", ".parquet"):
        table = path.with_name(path.name.removesuffix(".manifest.json"))
        fix = f"give the table: ceesim report {table}" if table != path else "give the folder or the table itself"
        raise OutputError("neither a run nor a sweep", where=str(path), expected=expected, fix=fix)


def _distinct(folders: Sequence[Path]) -> list[str]:
    """What to call each run: its folder, with the folder around it where needed, and a number if it comes again."""
    paths = [path.resolve() for path in folders]
    names = [path.name for path in paths]
    apart = [{other for other, known in zip(paths, names, strict=True) if known == name} for name in names]
    names = [
        "/".join(path.parts[-2:]) if len(alike) > 1 else name
        for path, name, alike in zip(paths, names, apart, strict=True)
    ]
    before = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({count + 1})" if count else name for name, count in zip(names, before, strict=True)]
