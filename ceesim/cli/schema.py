"""``ceesim schema``: what a hardware file may say, for an editor or for a reader."""

from __future__ import annotations

import json

import click


@click.command(epilog="Example: ceesim schema > hardware.schema.json")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "markdown"]),
    default="json",
    show_default=True,
    help="json: JSON Schema 2020-12, for editors; markdown: the reference page.",
)
@click.option(
    "--of",
    "record",
    type=click.Choice(["hardware", "scenario"]),
    default="hardware",
    show_default=True,
    help="Which file.",
)
def command(form: str, record: str) -> None:
    """Print the schema of the hardware file, or of the scenario file.

    An editor that knows YAML schemas completes and checks keys from it: put the output in a file, and
    `# yaml-language-server: $schema=hardware.schema.json` on the first line of the hardware file.
    """
    if record == "hardware":
        from ceesim.hardware.schema import json_schema, reference
    else:
        from ceesim.sim.scenarios.schema import json_schema, reference
    text = json.dumps(json_schema(), indent=2) + "\n" if form == "json" else reference()
    click.echo(text, nl=False)
