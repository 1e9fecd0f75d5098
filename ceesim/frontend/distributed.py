"""Several processes started by torchrun: who we are, and a value that all agree on.

One process per GPU over NCCL, or several CPU processes over gloo. Without torchrun there is one process, rank 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from ceesim.errors import OptionError


def choose_device(name: str) -> torch.device:
    """The device to compute on: "auto" is this process's GPU where there is one, else the CPU.

    Raises:
        OptionError: if torch does not know the device or this machine does not have it.
    """
    if name == "auto":
        index = int(os.environ.get("LOCAL_RANK", "0"))
        return torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")
    expected = "auto, cpu, cuda or cuda:N"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError("no such device", where="--device", got=name, expected=expected) from None
    if device.type not in ("cpu", "cuda"):
        raise OptionError("no such device", where="--device", got=name, expected=expected)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"no such device: {reason}", where="--device", got=name, expected=expected) from None
    return device


def limit_threads(num_threads: int | None) -> None:
    """Compute on at most `num_threads` CPU threads; None or 0 leaves the choice to torch."""
    if num_threads:
        torch.set_num_threads(num_threads)


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the group that torchrun set up, if it did, and leave it at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def world_size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def agreed(value: int) -> int:
    """Rank 0's `value`, on every rank."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]
