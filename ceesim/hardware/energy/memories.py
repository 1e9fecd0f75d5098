"""How each buffer is built from single-port SRAM arrays: what one access is, and how many arrays there are.

A double buffer is two halves, each a memory of its own (to CACTI a second port costs 1.3 to 1.9 times the read energy
and twice the area). A half is as wide as what the array takes from it in a cycle; up to 256 bits are one word in one
bank, more are several equal banks side by side, with words of whole bytes. A bank holds at most 2 MiB; what reaches one
of several behind each other costs, and takes, no less than a bank of 2 MiB does. Ports narrower
than 32 bits read 32 bits and share them. The array's accesses are whole ones: what it takes of a bank at once costs the
same if part of it is unused. What streams through a buffer (DMA, maps as they drain) is packed and fills its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ceesim.hardware.array import Dataflow
from ceesim.hardware.energy.sram import LEAST_BITS, MOST_BITS, MOST_BYTES
from ceesim.hardware.model import Hardware
from ceesim.units import ceil_div

BUFFERS: Final = ("weight", "activation", "psum", "head")

_HALVES: Final = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """One buffer: `num_banks` equal arrays, of which an access of `word_bits` uses one."""

    name: str
    total_bytes: int
    port_bits: int
    word_bits: int
    bank_bytes: int
    num_banks: int
    num_deep: int
    """Banks behind each other, of which an access reaches one."""

    @property
    def access_bits(self) -> int:
        """A bank's share of the port: the least that an access of the array takes."""
        return min(self.port_bits, self.word_bits)


@lru_cache(maxsize=1024)
def memories(hardware: Hardware) -> Mapping[str, Memory]:
    """The buffers of `hardware` by name (`BUFFERS`)."""
    array, bits, buffers = hardware.array, hardware.precision, hardware.buffers
    weights, activations = array.cols, array.rows
    if array.dataflow is Dataflow.IS:
        weights, activations = activations, weights
    ports = {
        "weight": (buffers.weight_bytes, weights * bits.weight_bits),
        "activation": (buffers.activation_bytes, activations * bits.activation_bits),
        "psum": (buffers.psum_bytes, array.cols * bits.psum_bits),
        "head": (buffers.head_bytes, weights * bits.weight_bits),
    }
    return {name: _memory(name, total_bytes, port_bits) for name, (total_bytes, port_bits) in ports.items()}


def _memory(name: str, total_bytes: int, port_bits: int) -> Memory:
    abreast = ceil_div(port_bits, MOST_BITS)
    word_bits = max(LEAST_BITS, 8 * ceil_div(port_bits, 8 * abreast))
    half_bytes = ceil_div(total_bytes, _HALVES)
    deep = ceil_div(half_bytes, abreast * MOST_BYTES)
    bank_bytes = max(ceil_div(half_bytes, abreast * deep), word_bits // 8)
    return Memory(name, total_bytes, port_bits, word_bits, bank_bytes, _HALVES * abreast * deep, deep)
