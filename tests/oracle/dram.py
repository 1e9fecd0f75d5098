"""A deliberately naive DRAM: it remembers every command, and asks every rule between every two of them, every clock.

Nothing is computed ahead. A burst's commands are issued one after the other, each in the first clock in which no rule
of the datasheet forbids it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ceesim.hardware.dram_timing import DramTiming


class Issued(NamedTuple):
    """A command: ``activate``, ``precharge``, ``read``, ``write`` of a bank; ``precharge all``, ``refresh`` of all."""

    clock: int
    kind: str
    bank: int = -1


@dataclass
class NaiveDram:
    """Bursts served in order under `timing`, addresses cut as `mapping` says."""

    timing: DramTiming
    mapping: str = "row_bank_column"
    history: list[Issued] = field(default_factory=list)
    open_rows: dict[int, int] = field(default_factory=dict)
    refresh_due: int = -1

    def __post_init__(self) -> None:
        self.refresh_due = self.timing.tREFI

    def place(self, burst: int) -> tuple[int, int]:
        """(bank, row), banks numbered so that neighbours belong to different groups."""
        timing = self.timing
        per_row, groups = timing.columns // timing.BL, timing.bank_groups
        if self.mapping == "bank_row_column":
            return burst // (per_row * timing.rows), burst // per_row % timing.rows
        group, rest = burst % groups, burst // groups
        if self.mapping == "row_bank_column":
            bank, row = rest // per_row % (timing.banks // groups), rest // per_row // (timing.banks // groups)
        else:
            bank, row = rest % (timing.banks // groups), rest // (timing.banks // groups) // per_row
        return group + bank * groups, row

    def data(self, issued: Issued) -> tuple[int, int]:
        """First clock of a read's or write's data, and the one behind them."""
        timing = self.timing
        delay = timing.CL + timing.tDQSCK if issued.kind == "read" else timing.CWL + timing.tDQSS
        return issued.clock + delay, issued.clock + delay + timing.BL // 2

    def earliest(self, before: Issued, kind: str, bank: int) -> Iterator[int]:
        """Clocks before which `before` forbids a command."""
        t = self.timing
        same, group = bank == before.bank, before.bank % t.bank_groups == bank % t.bank_groups
        match before.kind, kind:
            case "activate", "activate":
                yield before.clock + (t.tRRD_L if group else t.tRRD_S)
                if same:
                    yield before.clock + t.tRC
            case "activate", "read" | "write" if same:
                yield before.clock + t.tRCD
            case "activate", "precharge" if same:
                yield before.clock + t.tRAS
            case "activate", "precharge all":
                yield before.clock + t.tRAS
            case "precharge", "activate" if same:
                yield before.clock + t.tRP
            case "precharge", "refresh":
                yield before.clock + t.tRP
            case "precharge all", "activate":
                yield before.clock + t.tRPab
            case "precharge all", "refresh":
                yield before.clock + t.tRPab
            case "refresh", "activate" | "refresh":
                yield before.clock + t.tRFC
            case ("read", "read") | ("write", "write"):
                yield before.clock + (t.tCCD_L if group else t.tCCD_S)
            case "read", "write":
                _, behind = self.data(before)
                yield behind + t.tWPRE - t.CWL
            case "write", "read":
                _, behind = self.data(before)
                yield behind + (t.tWTR_L if group else t.tWTR_S)
            case "read", "precharge" if same:
                yield before.clock + t.tRTP
            case "read", "precharge all":
                yield before.clock + t.tRTP
            case "write", "precharge" if same:
                _, behind = self.data(before)
                yield behind + t.tWR
            case "write", "precharge all":
                _, behind = self.data(before)
                yield behind + t.tWR
            case _:
                pass

    def legal(self, kind: str, bank: int, clock: int, extra: tuple[Issued, ...] = ()) -> bool:
        """Whether no rule forbids a command in this clock, after all that was issued and `extra`."""
        all_before = [*self.history, *extra]
        if any(clock < start for before in all_before for start in self.earliest(before, kind, bank)):
            return False
        activates = [before.clock for before in all_before if before.kind == "activate"]
        return kind != "activate" or len(activates) < 4 or clock >= activates[-4] + self.timing.tFAW

    def first_legal(self, kind: str, bank: int, start: int, extra: tuple[Issued, ...] = ()) -> Issued:
        """The command in the first clock from `start` on in which it is legal."""
        clock = start
        while not self.legal(kind, bank, clock, extra):
            clock += 1
        return Issued(clock, kind, bank)

    def serve(self, burst: int, is_write: bool, arrival: int) -> list[Issued]:
        """Serve a burst known from `arrival` on; what had to be issued for it, in order."""
        bank, row = self.place(burst)
        issued: list[Issued] = []
        while True:
            own: tuple[Issued, ...] = ()
            if self.open_rows.get(bank) != row:
                if bank in self.open_rows:
                    own += (self.first_legal("precharge", bank, arrival),)
                own += (self.first_legal("activate", bank, arrival, own),)
            own += (self.first_legal("write" if is_write else "read", bank, arrival, own),)
            if own[-1].clock < self.refresh_due:
                break
            issued += self.refresh()
        self.history += own
        self.open_rows[bank] = row
        return [*issued, *own]

    def refresh(self) -> list[Issued]:
        """Close what is open and refresh all banks, from the due clock on."""
        issued: tuple[Issued, ...] = ()
        if self.open_rows:
            issued += (self.first_legal("precharge all", -1, self.refresh_due),)
        issued += (self.first_legal("refresh", -1, self.refresh_due, issued),)
        self.history += issued
        self.open_rows.clear()
        self.refresh_due += self.timing.tREFI
        return list(issued)
