"""The parts of a page about runs: one section per run, and one that puts several side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from ceesim.results.accuracy import lost_accuracy
from ceesim.results.report.cost_figures import cost_figures
from ceesim.results.report.energy_bands import energy_ratio, saved_by_price
from ceesim.results.report.exit_figures import exit_figures, worst_case
from ceesim.results.report.figure import Card, Figure, Section, Sheet, Table
from ceesim.results.report.folder import RunFolder
from ceesim.results.report.side_by_side import MEASURES, latency_and_energy, reductions
from ceesim.results.report.trace_figures import trace_figures
from ceesim.results.report.traits import data, differs, network, policy, scenario, shared, traits
from ceesim.units import cycles_to_seconds, format_bytes, format_picojoules, format_seconds

_MEANS: Final = {"macs": "macs", "latency": "latency_cycles", "energy": "energy_pj", "dram_bytes": "dram_bytes"}


def run_section(run: RunFolder, name: str, called: str = "", apart: str = "") -> Section:
    """Everything about one run.

    Args:
        name: of the section, unique on the page.
        called: what to call it among the other runs on the page.
        apart: in what it differs from them, besides network and hardware.
    """
    summary = run.summary
    parts: list[Figure | Sheet] = [*exit_figures(run), *cost_figures(run)]
    if run.trace is not None:
        parts += trace_figures(run.trace)
    title = f"{network(summary)} on {summary['hardware']}{f', {apart}' if apart else ''}"
    return Section(
        name=name,
        title=f"{called}: {title}" if called else title,
        sentence=_sentence(summary),
        facts=_facts(run),
        cards=_cards(run),
        parts=parts,
        notes=[run.missing] if run.missing else [],
        record=json.dumps(run.manifest, indent=1, ensure_ascii=False),
    )


def _sentence(summary: dict[str, Any]) -> str:
    reduction = summary["reduction"]
    words = [
        f"{abs(reduction[key]):.1%} {'less' if reduction[key] >= 0 else 'more'} {word}"
        for key, word in (("latency", "latency"), ("energy", "energy"), ("dram_bytes", "DRAM traffic"))
        if reduction[key] is not None
    ]
    if summary["static"] is None:
        return "The network without exits could not serve these arrivals; with exits it did."
    if not words or reduction["macs"] is None:
        return ""
    fewer = "fewer" if reduction["macs"] >= 0 else "more"
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{abs(reduction['macs']):.1%} {fewer} MACs became {listed}."


def _facts(run: RunFolder) -> list[tuple[str, str]]:
    summary, manifest = run.summary, run.manifest
    packages = manifest.get("packages", {})
    facts = [
        ("network", network(summary)),
        ("data", data(summary)),
        ("hardware", f"{summary['hardware']} at {summary['clock_hz'] / 1e6:g} MHz" + _area(summary)),
        ("policy", policy(summary)),
        ("scenario", scenario(run)),
        ("settings", ", ".join(manifest.get("configuration", {}).get("set", [])) or "as in the hardware file"),
        ("made by", f"ceesim {manifest.get('ceesim')}, engine {manifest.get('engine')}, on {manifest.get('created')}"),
        ("with", ", ".join(f"{package} {version}" for package, version in packages.items())),
    ]
    facts += [(file["name"], f"SHA-256 {file['sha256']}") for file in manifest.get("files", [])]
    return [(word, value) for word, value in facts if value]


def _area(summary: dict[str, Any]) -> str:
    return "" if summary["area_mm2"] is None else f", {summary['area_mm2']:.3g} mm²"


def _cards(run: RunFolder) -> list[Card]:
    summary = run.summary
    accuracy, clock_hz = summary["accuracy"], summary["clock_hz"]
    cards = []
    if accuracy["dynamic"] is not None:
        static = accuracy["static"]
        detail = "final classifier: unknown" if static is None else f"{static:.2%} for the final classifier alone"
        lost = None if run.trace is None else lost_accuracy(run.trace)
        cards.append(Card("accuracy", f"{accuracy['dynamic']:.2%}", detail, interval="" if lost is None else str(lost)))
    shows: dict[str, Callable[[float], str]] = {
        "macs": _count,
        "latency": lambda cycles: format_seconds(cycles_to_seconds(cycles, clock_hz)),
        "energy": format_picojoules,
        "dram_bytes": format_bytes,
    }
    for key, word in MEASURES.items():
        saved = summary["reduction"][key]
        if saved is None:
            continue
        before, after = (summary[which][_MEANS[key]]["mean"] for which in ("static", "dynamic"))
        interval = (summary["reduction"]["ci95"] or {}).get(key)
        band = saved_by_price(run) if key == "energy" else None
        cards.append(
            Card(
                word,
                _change(saved),
                f"{shows[key](before)} → {shows[key](after)}".replace(" ", "\u00a0").replace("→\u00a0", "→ "),
                "" if band is None else f"other prices: {_change(band.high, 0)} to {_change(band.low, 0)}",
                "" if interval is None else f"other inputs, 95%: {_change(interval[1])} to {_change(interval[0])}",
            )
        )
    worst, alone = worst_case(run)
    tail = format_seconds(cycles_to_seconds(worst, clock_hz)).replace(" ", "\u00a0")
    among = "" if summary["scenario"] == "closed" and summary["batch"] == 1 else ", for an input alone"
    return [*cards, Card("worst case", _change(1 - worst / alone), f"{tail} to the end, every head paid for{among}")]


def _change(saved: float, digits: int = 1) -> str:
    """A reduction as a change: 0.2 → −20.0%."""
    return f"{'−' if saved > 0 else '+'}{abs(saved):.{digits}%}"


def _count(number: float) -> str:
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            return f"{number / factor:.4g} {unit}"
    return f"{number:.4g}"


def comparison(runs: Sequence[RunFolder], names: Sequence[str]) -> Section:
    """Several runs side by side.

    Args:
        names: what to call each run.
    """
    apart = {trait: values for trait, values in traits(runs).items() if differs(values)}
    columns = (
        "run", "accuracy", "MACs saved", "latency saved", "energy saved", "DRAM saved",
        "mean latency (ms)", "p99 latency (ms)", "worst case", "mean energy (µJ)", "energy, first run = 1", "its band",
        "mean DRAM (KiB)", "area (mm²)", *apart,
    )  # fmt: skip
    rows = [
        (name, *_measures(run, runs[0]), *(values[i] for values in apart.values()))
        for i, (name, run) in enumerate(zip(names, runs, strict=True))
    ]
    same = shared(runs)
    percents = dict.fromkeys(
        ("accuracy", "MACs saved", "latency saved", "energy saved", "DRAM saved", "worst case"), "percent"
    )
    return Section(
        name="compare",
        title=f"{len(runs)} runs side by side",
        sentence=f"All of them: {same}." if same else "",
        parts=[
            reductions(runs, names, one_hardware=not {"hardware", "settings"} & apart.keys()),
            *latency_and_energy(runs, names),
            Sheet(
                "runs",
                "The runs",
                "One line per run; click a heading to sort. The worst case is the latency of an input that runs to the "
                "end, past every head, against the network without exits. The band is what the ratio of the energies "
                "may be if prices are wrong: in one technology they are wrong together, and where it holds 1 the two "
                "are not told apart.",
                Table(columns, rows, percents),
            ),
        ],
    )


def _measures(run: RunFolder, first: RunFolder) -> tuple[float | str | None, ...]:
    summary = run.summary
    dynamic, milliseconds = summary["dynamic"], 1e3 / summary["clock_hz"]
    energy = dynamic["energy_pj"]
    worst, alone = worst_case(run)
    ratio = energy_ratio(run, first)
    return (
        summary["accuracy"]["dynamic"],
        *(summary["reduction"][key] for key in MEASURES),
        dynamic["latency_cycles"]["mean"] * milliseconds,
        dynamic["latency_cycles"]["p99"] * milliseconds,
        worst / alone - 1,
        None if energy is None else energy["mean"] / 1e6,
        None if ratio is None else ratio.nominal,
        None if ratio is None else f"{ratio.low:.4g} … {ratio.high:.4g}",
        dynamic["dram_bytes"]["mean"] / 1024,
        summary["area_mm2"],
    )
