"""Counts against counts: a planted miscount on either side is found, and what cannot be measured says why."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from ceesim.errors import OutputError
from ceesim.frontend.export import export
from ceesim.frontend.measure import audit as audits
from ceesim.frontend.measure import ncu, perf_events
from ceesim.frontend.measure.audit import FlopsAudit, audit
from ceesim.frontend.measure.calls import flop_counter_total
from ceesim.frontend.measure.perf_events import UnavailableError
from ceesim.workload.network import Workload

MODULE = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
SHAPE = (3, 8, 8)
CONV, LINEAR = 2 * 3 * 4 * 9 * 36, 2 * 144 * 5


@pytest.fixture
def workload() -> Workload:
    return export(MODULE, SHAPE, name="net")


def test_exact_counters_agree(workload: Workload) -> None:
    found = audit(MODULE, workload)
    assert found.differences == ()
    assert [(row.op, row.ours, row.torch, row.profiler) for row in found.rows] == [
        ("0", CONV, CONV, CONV),
        ("3", LINEAR, LINEAR, LINEAR),
    ]
    assert found.total == found.flop_counter == CONV + LINEAR


def test_a_parameter_handed_from_module_to_module_is_counted_around() -> None:
    """PyTorch's tracker of modules looks for its gradient, and there is none."""

    class Join(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, x: Tensor, token: Tensor) -> Tensor:
            return torch.cat([token.expand(len(x), -1, -1), self.inner(x)], 1)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.join, self.fc = nn.Parameter(torch.zeros(1, 1, 8)), Join(), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(self.join(x, self.token.expand(len(x), -1, -1))[:, 0])
            return logits

    module = Outer().eval()
    assert flop_counter_total(module, torch.zeros(1, 5, 8)) == 2 * (5 * 64 + 32)
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_miscount_of_ours_is_found() -> None:
    wider = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6))
    assert audit(MODULE, export(wider, SHAPE, name="net")).differences == (
        "3: 1,728 here, 1,440 by PyTorch",
        "total: 9,504 here, 9,216 by FlopCounterMode",
    )


def test_a_missing_op_of_ours_is_found() -> None:
    short = export(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), SHAPE, name="net")
    found = audit(MODULE, short)
    assert "aten.addmm: nothing here, 1,440 by PyTorch" in found.differences
    assert len(found.rows) == 2


def test_a_miscount_of_pytorchs_is_found(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    exact: Callable[..., int] = flop_registry[torch.ops.aten.convolution]

    def miscounting(*args: Any, **kwargs: Any) -> int:
        return exact(*args, **kwargs) + 2

    monkeypatch.setitem(flop_registry, torch.ops.aten.convolution, miscounting)
    assert audit(MODULE, workload).differences == (
        f"0: {CONV:,} here, {CONV + 2:,} by PyTorch",
        f"total: {CONV + LINEAR:,} here, {CONV + LINEAR + 2:,} by FlopCounterMode",
    )


def test_products_that_the_profiler_misses_are_noted() -> None:
    module = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(24, 5))
    found = audit(module, export(module, (2, 8), name="net"))
    assert found.differences == ()
    assert [row.profiler for row in found.rows] == [None, None]
    assert any(note.startswith("the profiler counted 1 of 2 products (240 operations)") for note in found.notes)


class Steps:
    """A meter that has executed 1000 more operations at every other reading."""

    def __init__(self) -> None:
        self.readings = 0

    def read(self) -> int:
        self.readings += 1
        return 1000 * (self.readings // 2)


def test_executed_operations_are_told_apart_by_op(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "_executed_on_cpu", lambda *_: [2 * CONV, LINEAR])
    found = audit(MODULE, workload)
    assert [row.executed_ratio for row in found.rows] == [2.0, 1.0]
    assert found.notes == ()


def test_a_meter_is_read_around_every_counted_call() -> None:
    from ceesim.frontend.measure.calls import counted_calls

    calls = counted_calls(MODULE, torch.zeros(1, *SHAPE), Steps())
    assert [(call.function, call.executed) for call in calls] == [("aten.convolution", 1000), ("aten.addmm", 1000)]


def test_without_hardware_counters_the_audit_says_so(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, event: int) -> int:
        raise UnavailableError("the processor shows no hardware counters")

    monkeypatch.setattr(perf_events, "_open", refuse)
    found: FlopsAudit = audit(MODULE, workload)
    assert any(note.startswith("executed operations not counted: ") for note in found.notes)
    assert all(row.executed is None for row in found.rows)


SOFTWARE, TASK_CLOCK = 1, 1


def test_counters_are_opened_and_read_through_the_kernel() -> None:
    """The one counter that virtual machines have too: nanoseconds of this thread."""
    with ExitStack() as stack:
        try:
            meter = stack.enter_context(perf_events.open_counters(SOFTWARE, {TASK_CLOCK: 2}))
        except UnavailableError as error:
            pytest.skip(f"this kernel gives no counters: {error}")
        first = meter.read()
        assert sum(range(100_000))
        assert meter.read() > first > 0
        descriptors = list(meter.counters)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(descriptors[0], 24)


def test_an_unknown_processor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_events, "_cpuinfo", lambda: ["processor : 0", "vendor_id : Elbrus"])
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.raises(UnavailableError, match="of Elbrus processors"), perf_events.floating_point_meter():
        pass
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(UnavailableError, match="on Linux x86-64"), perf_events.floating_point_meter():
        pass


def test_intel_weights_count_every_vector_length() -> None:
    """Operations per retired instruction: 1 scalar, then elements of the vector; merged masks have one weight."""
    elements = {0x01: 1, 0x02: 1, 0x04: 2, 0x08: 4, 0x10: 4, 0x20: 8, 0x40: 8, 0x80: 16}
    for configuration, weight in perf_events._EVENTS["GenuineIntel"].items():
        masks = [mask for mask in elements if configuration >> 8 & mask]
        assert masks
        assert {elements[mask] for mask in masks} == {weight}
    assert sum(configuration >> 8 for configuration in perf_events._EVENTS["GenuineIntel"]) == 0xFF


HEADER = '"ID","Process ID","Process Name","Host Name","Kernel Name","Metric Name","Metric Unit","Metric Value"'
FFMA, FADD = (f"smsp__sass_thread_inst_executed_op_{op}_pred_on.sum" for op in ("ffma", "fadd"))
TENSOR = "sm__ops_path_tensor_src_tf32_dst_fp32"
PROFILE = [
    (0, "spin_kernel(long)", FFMA, "0"),
    (1, "implicit_gemm", FFMA, "1,000"),
    (1, "implicit_gemm", FADD, "10"),
    (2, "add_bias", FADD, "36"),
    (3, "spin_kernel(long)", FFMA, "0"),
    (4, "relu_kernel", FFMA, "99"),
    (5, "spin_kernel(long)", FFMA, "0"),
    (6, "tf32_gemm", TENSOR, "4096"),
    (6, "tf32_gemm", "dram__bytes.sum", "7"),
    (7, "spin_kernel(long)", FFMA, "0"),
]


def table(rows: list[tuple[int, str, str, str]]) -> str:
    lines = [f'"{id_}","1","python","host","{kernel}","{name}","inst","{value}"' for id_, kernel, name, value in rows]
    return "\n".join(["==PROF== Connected to process 1", HEADER, *lines])


def test_waiting_kernels_cut_the_profile_into_ops() -> None:
    assert ncu.parse(table(PROFILE)) == (
        ncu.OpKernels(("implicit_gemm", "add_bias"), 2046),
        ncu.OpKernels(("tf32_gemm",), 4096),
    )


def test_a_profile_that_cannot_be_read() -> None:
    with pytest.raises(OutputError, match="do not pair"):
        ncu.parse(table(PROFILE[:-1]))
    with pytest.raises(OutputError, match=r"ncu printed no table \(got ==ERROR=="):
        ncu.parse("==ERROR== no kernels were profiled")


def fake_ncu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "ncu"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_ncu_is_run_on_the_same_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profile.csv").write_text(table(PROFILE))
    fake_ncu(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/arguments; cat {tmp_path}/profile.csv')
    ops = ncu.measure({"source": "vggsmall", "num_classes": 10, "width": 0.25, "input_shape": None})
    assert [op.executed for op in ops] == [2046, 4096]
    arguments = (tmp_path / "arguments").read_text()
    assert "--clock-control none --profile-from-start off" in arguments
    assert '-m ceesim.frontend.measure.replay {"source": "vggsmall"' in arguments


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo '==ERROR== ERR_NVGPUCTRPERM - no permission'", "ncu failed: ==ERROR== ERR_NVGPUCTRPERM"),
        ("echo broken >&2; exit 9", "ncu failed: broken"),
    ],
)
def test_ncu_that_may_not_count(script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ncu(tmp_path, monkeypatch, script)
    with pytest.raises(UnavailableError, match=message):
        ncu.measure({"source": "vggsmall"})


def test_ncu_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncu, "_TIMEOUT_SECONDS", 0.2)
    fake_ncu(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(UnavailableError, match=r"not done after 0\.2 s"):
        ncu.measure({"source": "vggsmall"})


def test_ncu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match="need ncu"):
        ncu.measure({"source": "vggsmall"})
