"""Sweeps that are killed and interrupted from outside, as the system does it."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.explore.killed import SWEPT, sweep
from tests.explore.toys import files

pytestmark = pytest.mark.slow

SETTINGS = [
    f"--set={key}={values if isinstance(values, str) else ','.join(map(str, values))}" for key, values in SWEPT.items()
]


def test_killed_at_fifty_random_moments(tmp_path: Path) -> None:
    sweep(tmp_path / "whole.csv")
    command = [sys.executable, "-m", "tests.explore.killed", str(tmp_path / "killed.csv"), "50", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 40  # kills that hit a running sweep
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def started(directory: Path, *options: str) -> subprocess.Popen[str]:
    hw, trace = files(directory)
    out = directory / "sweep.csv"
    command = [
        sys.executable,
        "-m",
        "ceesim",
        "sweep",
        "--hw",
        hw,
        "--trace",
        trace,
        "--out",
        str(out),
        *SETTINGS,
        *options,
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # tests that run in the background of a shell ignore interrupts, and so would what they start
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") > 50):
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupted_from_the_keyboard(tmp_path: Path, workers: str) -> None:
    process = started(tmp_path, "--workers", workers)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the job
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--resume goes on from there" in err
    rows = (tmp_path / "sweep.csv").read_bytes()
    sweep(tmp_path / "whole.csv")
    assert (tmp_path / "whole.csv").read_bytes().startswith(rows)
    assert rows.count(b"\n") > 50


def test_workers_of_a_killed_sweep_end_with_it(tmp_path: Path) -> None:
    process = started(tmp_path, "--workers", "2")
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.2)
    else:
        pytest.fail("a worker outlived its sweep")
    process = started(tmp_path, "--workers", "2", "--resume")
    process.communicate(timeout=300)
    assert process.returncode == 3
    sweep(tmp_path / "whole.csv")
    assert (tmp_path / "sweep.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
