"""The gates between folds are tight: one cycle early the array computes something wrong, on time it does not.

The array here moves its operands register by register and knows no closed form; the cycle in which each gate opens is
worked out by hand from the array's own timing.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.oracle.arrays import Matrix, OutputStationary, WeightStationary, exact


@dataclass(frozen=True)
class Gate:
    """Two folds on an array, and the spacing at which the second may follow."""

    array: WeightStationary | OutputStationary
    streamed: int
    opens: int


WAVE = WeightStationary(4, 3)
TOGETHER = replace(WAVE, col_skew=0)
ONE_REGISTER = replace(WAVE, double=False)
DRAIN = OutputStationary(4, 3)

GATES = {
    # the operand port: T operands, one per cycle
    "stream": Gate(WAVE, 9, 9),
    # ping-pong: the second fold's weights follow the first's into the registers that wait, four rows, four cycles
    "weight swap, load in a wave": Gate(WAVE, 2, 4),
    # all columns load together, so the last one's weights must have been swapped in: 2 columns later
    "weight swap, columns together": Gate(TOGETHER, 2, 4 + 2),
    # one register: the last operand (8 cycles after the first) has to be through before the load's 4 cycles
    "weights in use, skewed load": Gate(ONE_REGISTER, 9, 8 + 4),
    # … through all 3 columns
    "weights in use, columns together": Gate(replace(ONE_REGISTER, col_skew=0), 9, 8 + 4 + 2),
    # … and through all 4 rows
    "weights in use, all together": Gate(replace(ONE_REGISTER, col_skew=0, row_skew=0), 9, 8 + 4 + 2 + 3),
    # whole rows written one per cycle, just ahead of the operands
    "weight rows": Gate(replace(WAVE, addressed=True, col_pitch=0, col_skew=0), 2, 4),
    # a column's first result waits in row 0 until rows 3, 2, 1 have left
    "drain by rows": Gate(DRAIN, 2, 4),
    # the first result waits for the last PE (3 + 2 cycles later) and then for its row of 3 to leave
    "drain by columns": Gate(replace(DRAIN, drain="cols"), 2, 3 + 2 + 3),
    # results are read where they are: only the operands are in the way
    "no drain": Gate(replace(DRAIN, drain="parallel"), 2, 2),
    # sums shift out of the accumulators: 2 + 3 + 2 cycles until the last one is done, and 3 shifts
    "accumulators": Gate(replace(DRAIN, shadow=False), 2, 2 + 3 + 2 + 3),
}


def two_folds(gate: Gate) -> list[tuple[Matrix, Matrix]]:
    rng = np.random.default_rng(7)
    rows, cols, steps = gate.array.rows, gate.array.cols, gate.streamed
    weights_stay = isinstance(gate.array, WeightStationary)
    shapes = ((steps, rows), (rows, cols)) if weights_stay else ((rows, steps), (steps, cols))
    return [(rng.integers(1, 10**6, shapes[0]), rng.integers(1, 10**6, shapes[1])) for _ in range(2)]


@pytest.mark.parametrize("name", GATES)
def test_blocked_the_cycle_before_and_free_on_time(name: str) -> None:
    gate = GATES[name]
    folds = two_folds(gate)
    assert not exact(gate.array, folds, gate.opens - 1)
    assert exact(gate.array, folds, gate.opens)


def last_result(array: WeightStationary | OutputStationary, streamed: int) -> int:
    return array.run(two_folds(Gate(array, streamed, 0))[:1], 1).finished


@pytest.mark.parametrize(
    ("array", "finished"),
    [
        (WeightStationary(4, 3), 4 + 8 + 3 + 2 + 1),  # load, last of 9 operands, rows, columns, add
        (WeightStationary(4, 3, settle=2, output_registers=1), 4 + 2 + 8 + 3 + 2 + 1 + 1),
        (WeightStationary(4, 3, row_pitch=4, pe_latency=4), 4 + 8 + 4 * 3 + 2 + 4),
        (WeightStationary(4, 3, col_pitch=0, pe_latency=3, addressed=True), 1 + 8 + 3 + 0 + 3),
        (OutputStationary(4, 3), 8 + 3 + 2 + 1 + 3),  # … and the drain of 4 rows
        (OutputStationary(4, 3, drain="cols", pe_latency=2), 8 + 3 + 2 + 2 + 2),
        (OutputStationary(4, 3, drain="parallel", input_registers=1), 1 + 8 + 3 + 2 + 1),
    ],
)
def test_fill_and_drain_take_just_as_long_as_the_way_is(
    array: WeightStationary | OutputStationary, finished: int
) -> None:
    assert last_result(array, 9) == finished
