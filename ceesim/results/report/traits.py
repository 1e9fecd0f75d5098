"""What a run is of, in words, and in what several runs differ.

A trait that all runs share is said once; one in which they differ tells them apart. Hardware of one name may still
differ, by an option or by an edited file: then the keys with different values are listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ceesim.hardware import keys
from ceesim.hardware.model import Hardware
from ceesim.results.policy_text import policy_text, setting_text
from ceesim.results.report.folder import RunFolder
from ceesim.units import format_count, write

_MOST_KEYS: Final = 4
"""Keys of a hardware that are listed."""
_ABSENT: Final = "–"
_LONGEST: Final = 36
"""Letters of a trait in a title."""


def network(summary: dict[str, Any]) -> str:
    """The network's name, with its width where that is not 1."""
    width = summary["width"]
    return f"{summary['network']} at width {width:g}" if width != 1 else str(summary["network"])


def data(summary: dict[str, Any]) -> str:
    """The data set, and how many of its inputs."""
    return f"{summary['dataset']}, {format_count(summary['num_inputs'], 'input')}"


def policy(summary: dict[str, Any]) -> str:
    """The exit policy with its thresholds."""
    return policy_text(summary["policy"])


def scenario(run: RunFolder) -> str:
    """How the inputs met, and on what."""
    return ", ".join(part for part in _scenario(run) if part)


def _scenario(run: RunFolder) -> tuple[str, str, str, str]:
    """Its label, its batches, its accelerators, whether they are a pipeline; empty where there is nothing to say."""
    asked = {} if run.scenario is None else run.scenario["scenario"]
    size, units = run.summary["batch"], asked.get("units", 1)
    mode = f" {asked['batch']['mode']}" if size > 1 and "batch" in asked else ""
    together = format_count(units, "unit") if units > 1 else ""
    return str(run.summary["scenario"]), f"batch {size}{mode}", together, "pipeline" if "pipeline" in asked else ""


def traits(runs: Sequence[RunFolder]) -> dict[str, list[str]]:
    """Every trait with its value for each of the `runs`."""
    summaries = [run.summary for run in runs]
    return {
        "network": [network(summary) for summary in summaries],
        "hardware": [str(summary["hardware"]) for summary in summaries],
        "settings": _settings(runs),
        "data": [data(summary) for summary in summaries],
        "policy": [policy(summary) for summary in summaries],
        "scenario": [scenario(run) for run in runs],
    }


def differs(values: Sequence[str]) -> bool:
    """Whether a trait tells runs apart."""
    return len(set(values)) > 1


def shared(runs: Sequence[RunFolder]) -> str:
    """What all `runs` have in common, as one line; empty if nothing."""
    same = {name: values[0] for name, values in traits(runs).items() if values[0] and not differs(values)}
    machine = " on ".join(same.pop(name) for name in ("network", "hardware") if name in same)
    if "policy" in same:
        same["policy"] = f"policy {same['policy']}"
    return "; ".join(part for part in (machine, *same.values()) if part)


def told_apart(runs: Sequence[RunFolder]) -> list[str]:
    """For each run, in what it differs from others besides network and hardware; short enough for a title."""
    summaries = [run.summary for run in runs]
    told = [
        _settings(runs, absent=False),
        [str(summary["dataset"]) for summary in summaries],
        [format_count(summary["num_inputs"], "input") for summary in summaries],
        _policies([summary["policy"] for summary in summaries]),
        *(list(told) for told in zip(*map(_scenario, runs), strict=True)),
    ]
    return [", ".join(_clipped(each[i]) for each in told if differs(each) and each[i]) for i in range(len(runs))]


def _policies(records: Sequence[dict[str, Any]]) -> list[str]:
    """The names of policies, with what else differs among those of one name."""
    told = []
    for record in records:
        alike = [other for other in records if other["name"] == record["name"]]
        differing = [key for key in record if any(other.get(key) != record[key] for other in alike)]
        told.append(" ".join([record["name"], *(f"{key} {setting_text(record[key])}" for key in differing)]))
    return told


def _settings(runs: Sequence[RunFolder], *, absent: bool = True) -> list[str]:
    """The keys, with their values, in which a run's hardware differs from others of the same name.

    Args:
        absent: say of a key, with a dash, that a run does not have it.
    """
    described = [_flat(run.manifest.get("hardware") or {}) for run in runs]
    told = []
    for run, own in zip(runs, described, strict=True):
        name = run.summary["hardware"]
        alike = [other for each, other in zip(runs, described, strict=True) if each.summary["hardware"] == name]
        all_keys = [key for key in dict.fromkeys(key for other in alike for key in other) if key != "name"]
        differing = [key for key in all_keys if any(other.get(key) != own.get(key) for other in alike)]
        valued = [(key, _value(key, own.get(key))) for key in differing[:_MOST_KEYS]]
        listed = [f"{key} {value}" for key, value in valued if absent or value != _ABSENT]
        if len(differing) > _MOST_KEYS:
            listed.append(f"{len(differing) - _MOST_KEYS} more keys")
        told.append(", ".join(listed))
    return told


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in section.items():
        name = f"{prefix}{key}"
        values |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return values


def _value(key: str, value: Any) -> str:
    """A value of a hardware, with its unit if it has one."""
    if value is None:
        return _ABSENT
    if isinstance(value, list):  # of sections
        items = (_flat(item) if isinstance(item, dict) else {"": item} for item in value)
        return (
            "; ".join(" ".join(_value(f"{key}.{name}", each) for name, each in item.items()) for item in items)
            or _ABSENT
        )
    field = keys.find(Hardware, tuple(key.split(".")))
    kind = None if field is None else keys.quantity(field)
    return write(value, kind) if kind is not None and type(value) is int else str(value)


def _clipped(text: str) -> str:
    """`text`, cut between words where it is too long for a title."""
    if len(text) <= _LONGEST:
        return text
    words, _, _ = text[:_LONGEST].rpartition(" ")
    return f"{words or text[:_LONGEST]} …"
