"""Two PE arrays, moved register by register and cycle by cycle, with nothing known of how long anything should take.

Operands enter at the edges when the schedule says so, move one register per cycle, and are multiplied and added where
they meet. Weights are shifted or written into registers, results out of them, by local rules (a valid bit, a
last-operand flag); a register that is overwritten too early simply holds the wrong number. Whether a schedule works is
therefore seen in the products alone, and when it is done, in the cycle of the last result.

A clock edge ends each cycle. A result "at t" is in a register that edge t wrote, so it is readable during cycle t.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.int64]


class CollisionError(Exception):
    """Two values want the same place in the same cycle, or one has lost its place and will never come out."""


@dataclass(frozen=True)
class Operand:
    """A number on its way, with the flags that travel with it."""

    value: int
    first: bool = False
    last: bool = False


class Delay:
    """A row of registers: what goes in during cycle t comes out during cycle t + length (length 0 is a wire)."""

    def __init__(self, length: int) -> None:
        self.registers: deque[Operand | None] = deque([None] * length)

    def through(self, item: Operand | None) -> Operand | None:
        """This cycle's output, with `item` taken in at the closing edge."""
        self.registers.append(item)
        return self.registers.popleft()


class Edge:
    """One input port of the array: what enters in which cycle, at most one thing each."""

    def __init__(self) -> None:
        self.planned: dict[int, Operand] = {}

    def plan(self, cycle: int, operand: Operand) -> None:
        if cycle in self.planned:
            raise CollisionError
        self.planned[cycle] = operand

    def at(self, cycle: int) -> Operand | None:
        return self.planned.get(cycle)


@dataclass(frozen=True)
class Result:
    """Everything that left the array: the products by fold, and the cycle in which the last result was readable."""

    products: list[Matrix]
    finished: int


@dataclass(frozen=True)
class WeightStationary:
    """Weights stay, ifmap values move along rows, partial sums down columns.

    A PE multiplies first and adds later: its adder takes `min(pe_latency, row_pitch)` cycles, its multiplier the rest
    of `pe_latency`, and where the pitch is longer than the PE, registers between the rows make up for it.

    Args:
        rows: PEs down.
        cols: PEs across.
        row_pitch: cycles between a partial sum's arrival at one row and at the next.
        col_pitch: registers between two PEs of a row; 0 is a wire.
        pe_latency: operand in to sum out.
        input_registers: before the first column.
        output_registers: behind the last row.
        addressed: weights are written row by row, a whole row per cycle; else they shift down through the PEs.
        row_skew: shifted weights: whether a row starts to shift one cycle after the row above, or with it.
        col_skew: shifted weights: whether a column starts one cycle after its neighbour, or with it.
        double: weights wait in a second register, and the first operand of a fold swaps them in as it passes.
        settle: cycles between the end of a load and the first operand.
        fetch: cycles before the first load.
    """

    rows: int
    cols: int
    row_pitch: int = 1
    col_pitch: int = 1
    pe_latency: int = 1
    input_registers: int = 0
    output_registers: int = 0
    addressed: bool = False
    row_skew: int = 1
    col_skew: int = 1
    double: bool = True
    settle: int = 0
    fetch: int = 0

    @property
    def lead(self) -> int:
        """Cycles from the start of a load to the fold's first operand."""
        return 1 if self.addressed else self.rows + self.settle

    def run(self, folds: Sequence[tuple[Matrix, Matrix]], interval: int) -> Result:
        """Stream each fold's ifmap [T, rows] past its weights [rows, cols], `interval` cycles after the previous fold.

        Cycle 0 is the first in which a weight is asked for.

        Raises:
            CollisionError: if two operands or two weights meet at a port.
        """
        start = [self.fetch + self.lead + number * interval for number in range(len(folds))]
        return _WeightStationaryRun(self, folds, start).result()


class _WeightStationaryRun:
    def __init__(self, array: WeightStationary, folds: Sequence[tuple[Matrix, Matrix]], start: list[int]) -> None:
        self.array, self.folds = array, folds
        rows, cols = array.rows, array.cols
        self.operands = [Edge() for _ in range(rows)]
        self.tops = [Edge() for _ in range(cols)]
        self.shifting: set[tuple[int, int, int]] = set()
        self.written: dict[int, tuple[int, Matrix]] = {}
        for (ifmap, weight), first in zip(folds, start, strict=True):
            for t, values in enumerate(ifmap):
                for r in range(rows):
                    operand = Operand(int(values[r]), first=t == 0)
                    self.operands[r].plan(first + t + r * array.row_pitch, operand)
            self._plan_load(weight, first - array.lead)
        self.held = np.zeros((rows, cols), dtype=np.int64)
        self.waiting = np.zeros((rows, cols), dtype=np.int64)
        self.entry = [Delay(array.input_registers) for _ in range(rows)]
        self.along = [[Delay(array.col_pitch) for _ in range(cols - 1)] for _ in range(rows)]
        adder = min(array.pe_latency, array.row_pitch)
        self.multiplier = [[Delay(array.pe_latency - adder) for _ in range(cols)] for _ in range(rows)]
        self.adder = [[Delay(adder) for _ in range(cols)] for _ in range(rows)]
        self.between = [[Delay(array.row_pitch - adder) for _ in range(cols)] for _ in range(rows)]
        self.exit = [Delay(array.output_registers) for _ in range(cols)]
        self.columns: list[list[int]] = [[] for _ in range(cols)]

    def _plan_load(self, weight: Matrix, begin: int) -> None:
        """Weights of one fold: at the top of their columns, the last row's first, or row by row."""
        array = self.array
        if array.addressed:
            for r in range(array.rows):
                if begin + r in self.written:
                    raise CollisionError
                self.written[begin + r] = r, weight[r]
            return
        for c in range(array.cols):
            top = begin + c * array.col_skew
            for r in range(array.rows):
                self.tops[c].plan(top + array.rows - 1 - r, Operand(int(weight[r, c])))
                self.shifting |= {(cycle, r, c) for cycle in range(top + r * array.row_skew, top + array.rows)}

    def result(self) -> Result:
        array = self.array
        expected = sum(len(ifmap) for ifmap, _ in self.folds)
        cycle = finished = 0
        while min(len(column) for column in self.columns) < expected:
            sums = self._compute(cycle)
            for c in range(array.cols):
                out = self.exit[c].through(sums[c])
                if out is not None:
                    self.columns[c].append(out.value)
                    finished = cycle
            self._load(cycle)
            cycle += 1
        table = np.array(self.columns, dtype=np.int64).T
        cuts = np.cumsum([len(ifmap) for ifmap, _ in self.folds])[:-1]
        return Result(np.split(table, cuts), finished)

    def _compute(self, cycle: int) -> list[Operand | None]:
        """One cycle of every PE; the sums at the bottom."""
        array = self.array
        above: list[Operand | None] = [None] * array.cols
        for r in range(array.rows):
            operand = self.entry[r].through(self.operands[r].at(cycle))
            below: list[Operand | None] = []
            for c in range(array.cols):
                if operand is not None and operand.first and array.double:
                    self.held[r, c] = self.waiting[r, c]
                product = None if operand is None else replace(operand, value=operand.value * int(self.held[r, c]))
                product = self.multiplier[r][c].through(product)
                if product is not None:
                    product = replace(product, value=product.value + _value(above[c]))
                total = self.adder[r][c].through(product)
                below.append(self.between[r][c].through(total) if r < array.rows - 1 else total)
                if c < array.cols - 1:
                    operand = self.along[r][c].through(operand)
            above = below
        return above

    def _load(self, cycle: int) -> None:
        """The closing edge for the weights that wait (or, with one register, for those in use)."""
        array = self.array
        registers = self.waiting if array.double else self.held
        before = registers.copy()
        if cycle in self.written:
            row, values = self.written[cycle]
            registers[row] = values
        for r in range(array.rows):
            for c in range(array.cols):
                if (cycle, r, c) in self.shifting:
                    registers[r, c] = before[r - 1, c] if r else _value(self.tops[c].at(cycle))


@dataclass(frozen=True)
class OutputStationary:
    """Sums stay, ifmap values move along rows, weights down columns; finished sums shift out.

    Args:
        rows: PEs down.
        cols: PEs across.
        row_pitch: registers between two PEs of a column, for weights.
        col_pitch: registers between two PEs of a row, for ifmap values.
        pe_latency: operands in to updated sum; the last of these cycles adds.
        input_registers: before the first row and column.
        output_registers: between a finished sum and the register it is read from.
        drain: "rows" shifts results down, "cols" to the left, "parallel" reads each where it is.
        shadow: finished sums move to a second register; else they are shifted out of the accumulators themselves.
    """

    rows: int
    cols: int
    row_pitch: int = 1
    col_pitch: int = 1
    pe_latency: int = 1
    input_registers: int = 0
    output_registers: int = 0
    drain: str = "rows"
    shadow: bool = True

    def run(self, folds: Sequence[tuple[Matrix, Matrix]], interval: int) -> Result:
        """Multiply each fold's ifmap [rows, T] by its weights [T, cols], `interval` cycles after the previous fold.

        Cycle 0 is the first in which an operand enters.

        Raises:
            CollisionError: if two operands meet at a port, or a drain starts before the one before it has ended.
        """
        return _OutputStationaryRun(self, folds, interval).result()


class _OutputStationaryRun:
    def __init__(self, array: OutputStationary, folds: Sequence[tuple[Matrix, Matrix]], interval: int) -> None:
        self.array, self.num_folds = array, len(folds)
        rows, cols = array.rows, array.cols
        self.ifmaps = [Edge() for _ in range(rows)]
        self.weights = [Edge() for _ in range(cols)]
        for number, (ifmap, weight) in enumerate(folds):
            steps = weight.shape[0]
            for t in range(steps):
                begin = number * interval + t
                for r in range(rows):
                    flags = Operand(int(ifmap[r, t]), first=t == 0, last=t == steps - 1)
                    self.ifmaps[r].plan(begin + r * array.row_pitch, flags)
                for c in range(cols):
                    self.weights[c].plan(begin + c * array.col_pitch, Operand(int(weight[t, c])))
        self.row_entry = [Delay(array.input_registers) for _ in range(rows)]
        self.col_entry = [Delay(array.input_registers) for _ in range(cols)]
        self.along = [[Delay(array.col_pitch) for _ in range(cols)] for _ in range(rows)]
        self.down = [[Delay(array.row_pitch) for _ in range(cols)] for _ in range(rows)]
        self.multiplier = [[Delay(max(0, array.pe_latency - 1)) for _ in range(cols)] for _ in range(rows)]
        self.finishing = [[Delay(array.output_registers) for _ in range(cols)] for _ in range(rows)]
        self.sums = np.zeros((rows, cols), dtype=np.int64)
        self.results = np.zeros((rows, cols), dtype=np.int64)
        self.ready: list[tuple[int, int]] = []  # PEs whose result has become readable in this cycle
        self.drains: dict[int, int] = {}  # shifts so far of every group of PEs that drains together
        self.finished = 0

    def result(self) -> Result:
        rows, cols = self.array.rows, self.array.cols
        out = np.full((self.num_folds, rows, cols), np.iinfo(np.int64).min)
        count = np.zeros((rows, cols), dtype=np.int64)
        cycle = 0
        last_entry = max(max(edge.planned) for edge in (*self.ifmaps, *self.weights))
        while count.min() < self.num_folds:
            if cycle > last_entry + 100 * (rows + cols):
                raise CollisionError
            for r, c, value in self._reads():
                out[count[r, c], r, c] = value
                count[r, c] += 1
                self.finished = cycle
            self._edge(cycle)
            cycle += 1
        return Result(list(out), self.finished)

    def _held(self) -> Matrix:
        return self.results if self.array.shadow else self.sums

    def _reads(self) -> list[tuple[int, int, int]]:
        """What leaves the array in this cycle: (row, col) it was computed in, and its value."""
        array, held = self.array, self._held()
        if array.drain == "parallel":
            if array.shadow:
                return [(r, c, int(held[r, c])) for r, c in self.ready]
            if (array.rows - 1, array.cols - 1) not in self.ready:
                return []
            return [(r, c, int(held[r, c])) for r in range(array.rows) for c in range(array.cols)]
        for group in self._starting():
            if group in self.drains:
                raise CollisionError
            self.drains[group] = 0
        reads = []
        for group, shifts in self.drains.items():
            if array.drain == "rows":
                row = array.rows - 1 - shifts
                reads += [(row, c, int(held[array.rows - 1, c])) for c in self._columns(group)]
            else:
                reads += [(r, shifts, int(held[r, 0])) for r in range(array.rows)]
        return reads

    def _columns(self, group: int) -> list[int]:
        """Columns that drain down together: one, or with no second register all."""
        return [group] if self.array.shadow else list(range(self.array.cols))

    def _starting(self) -> list[int]:
        """Groups that start to drain: a column by its own last PE, or the whole array by its very last."""
        array = self.array
        if array.drain == "rows" and array.shadow:
            return [c for r, c in self.ready if r == array.rows - 1]
        return [0] if (array.rows - 1, array.cols - 1) in self.ready else []

    def _edge(self, cycle: int) -> None:
        """The clock edge that closes `cycle`: drains shift, then PEs write, over a shifted value if both want to."""
        array = self.array
        shifted = self._shift()
        self.ready = []
        rights = [entry.through(edge.at(cycle)) for entry, edge in zip(self.row_entry, self.ifmaps, strict=True)]
        downs = [entry.through(edge.at(cycle)) for entry, edge in zip(self.col_entry, self.weights, strict=True)]
        for r in range(array.rows):
            for c in range(array.cols):
                right, below = rights[r], downs[c]
                rights[r] = self.along[r][c].through(right)
                downs[c] = self.down[r][c].through(below)
                product = None if right is None else replace(right, value=right.value * _value(below))
                product = self.multiplier[r][c].through(product)
                done = None
                if product is not None and (r, c) not in shifted:
                    self.sums[r, c] = product.value + (0 if product.first else self.sums[r, c])
                    done = Operand(int(self.sums[r, c])) if product.last else None
                done = self.finishing[r][c].through(done)
                if done is not None:
                    self.results[r, c] = done.value
                    self.ready.append((r, c))

    def _shift(self) -> set[tuple[int, int]]:
        """Move every drain on by one; the accumulators that were shifted and can therefore not add.

        A register takes in as many results as there are PEs behind it, and then no more.
        """
        array, held = self.array, self._held()
        before = held.copy()
        shifted: set[tuple[int, int]] = set()
        for group, shifts in list(self.drains.items()):
            length = array.rows if array.drain == "rows" else array.cols
            if shifts == length - 1:
                del self.drains[group]
                continue
            self.drains[group] = shifts + 1
            if array.drain == "rows":
                columns = self._columns(group)
                held[1 + shifts :, columns] = before[shifts:-1, columns]
            else:
                held[:, : -1 - shifts] = before[:, 1 : length - shifts]
            if not array.shadow:
                shifted = {(r, c) for r in range(array.rows) for c in range(array.cols)}
        return shifted


def _value(operand: Operand | None) -> int:
    return 0 if operand is None else operand.value


def smallest_interval(array: WeightStationary | OutputStationary, folds: Sequence[tuple[Matrix, Matrix]]) -> int:
    """The smallest spacing at which the array computes every fold's product exactly, found by trying them all."""
    interval = 1
    while not exact(array, folds, interval):
        interval += 1
    return interval


def exact(array: WeightStationary | OutputStationary, folds: Sequence[tuple[Matrix, Matrix]], interval: int) -> bool:
    """Whether the folds' products are right at this spacing."""
    try:
        result = array.run(folds, interval)
    except CollisionError:
        return False
    return all(np.array_equal(ifmap @ weight, out) for (ifmap, weight), out in zip(folds, result.products, strict=True))


def multiply(
    array: WeightStationary | OutputStationary, left: Matrix, right: Matrix, interval: int
) -> tuple[Matrix, int]:
    """`left` @ `right` in folds, padded with zeros, and the cycle in which its last result was readable."""
    (m, k), n = left.shape, right.shape[1]
    rows, cols = array.rows, array.cols
    if isinstance(array, WeightStationary):
        origins = [(i, j) for j in range(0, n, cols) for i in range(0, k, rows)]
        folds = [(_piece(left, 0, m, i, rows), _piece(right, i, rows, j, cols)) for i, j in origins]
    else:
        origins = [(i, j) for i in range(0, m, rows) for j in range(0, n, cols)]
        folds = [(_piece(left, i, rows, 0, k), _piece(right, 0, k, j, cols)) for i, j in origins]
    result = array.run(folds, interval)
    product = np.zeros((m + rows, n + cols), dtype=np.int64)
    for (i, j), out in zip(origins, result.products, strict=True):
        top = 0 if isinstance(array, WeightStationary) else i
        product[top : top + len(out), j : j + cols] += out
    return product[:m, :n], result.finished


def _piece(matrix: Matrix, top: int, height: int, left: int, width: int) -> Matrix:
    piece = np.zeros((height, width), dtype=np.int64)
    part = matrix[top : top + height, left : left + width]
    piece[: part.shape[0], : part.shape[1]] = part
    return piece
