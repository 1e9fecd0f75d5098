"""From a short form, or a YAML file, to a `Scenario`; all that is wrong with it is said at once.

Short forms: ``closed``, ``poisson:500/s``, ``poisson:load=0.6``, ``period:2 ms``, ``recorded:FILE``, ``pipeline``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ceesim.errors import CeesimError, ScenarioError, collected
from ceesim.hardware import document as documents
from ceesim.hardware.complaints import complaints
from ceesim.hardware.document import Document
from ceesim.sim.scenarios.scenario import AS_WRITTEN, Scenario

_FORMS: Final = "closed, poisson:500/s, poisson:load=0.6, period:2 ms, recorded:FILE, pipeline, or a YAML file"


def load_scenario(source: str | Path, changes: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario that a short form or a file says, with some keys set anew.

    Args:
        changes: keys and values, sections as mappings, laid over what `source` says.

    Raises:
        ScenarioError: with every problem; those of a file name its line and column.
    """
    text = str(source)
    document = _short_form(text)
    if document is None:
        path = Path(text)
        if not path.is_file():
            raise ScenarioError("neither a scenario nor a file", where="--scenario", got=text, expected=_FORMS)
        document = documents.read(path, text, ScenarioError)
        file = document.data.get("arrivals")
        if isinstance(file, dict) and isinstance(file.get("file"), str):  # as the scenario's author sees it
            file["file"] = str(path.parent / str(file["file"]))
    for key, value in (changes or {}).items():
        held = document.data.get(key)
        document.data[key] = {**held, **value} if isinstance(held, dict) and isinstance(value, dict) else value
    problems: list[CeesimError] = list(document.problems)
    try:
        scenario = Scenario.model_validate(document.data, context=AS_WRITTEN)
    except ValidationError as found:
        problems += complaints(found, Scenario, document, ScenarioError)
    if problems:
        raise collected(problems)
    return scenario


def _short_form(text: str) -> Document | None:
    """The document that a short form stands for, None if `text` is none."""
    process, colon, rest = text.partition(":")
    where = f"--scenario {text}"
    if process == "pipeline" and not colon:
        return Document(where, {"pipeline": {}})
    key = {"closed": "", "poisson": "rate", "period": "period", "recorded": "file"}.get(process)
    if key is None or (process == "closed") == bool(colon):
        return None
    if not colon:
        return Document(where, {})
    arrivals: dict[str, object] = {"process": process}
    if process == "poisson" and rest.startswith("load="):
        arrivals["load"] = documents.parse_value(rest.removeprefix("load="), where, ScenarioError)
    else:
        arrivals[key] = rest
    return Document(where, {"arrivals": arrivals})
