"""`import ceesim` and `ceesim --help` answer at once: they load nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "pandas", "plotly", "networkx", "numba", "numpy", "scipy", "pydantic", "simpy", "rich", "ruamel")


def loaded_after(code: str) -> set[str]:
    """Top-level modules in memory after running `code` in a fresh interpreter."""
    script = f"import sys\n{code}\nsys.stderr.write(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import ceesim",
        "import ceesim.cli",
        "from ceesim.cli import exit_code; exit_code(['--help'])",
        "from ceesim.cli import exit_code; exit_code([])",
        "from ceesim.cli import exit_code; exit_code(['--version'])",
    ],
)
def test_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code).isdisjoint(HEAVY)


def test_the_probe_sees_what_is_loaded() -> None:
    assert "numpy" in loaded_after("import numpy")


@pytest.mark.parametrize("args", [["inspect", "edge_npu"], ["schema"]])
def test_hardware_commands_do_without_the_heaviest(args: list[str]) -> None:
    loaded = loaded_after(f"from ceesim.cli import exit_code; exit_code({args!r})")
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"torch", "pandas", "plotly", "networkx", "numba", "scipy", "simpy"})
