"""The module that a name on the command line means: a shipped network, or any module of the user's code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from ceesim.errors import CeesimError, OptionError
from ceesim.frontend.distributed import choose_device
from ceesim.frontend.models import NETWORKS, build_network


@dataclass(frozen=True, slots=True)
class Source:
    """A module ready to be measured or exported.

    Args:
        module: returns one logits tensor per exit, the final one last (or alone).
        name: of the network.
        input_shape: of one input, without the batch axis.
        width: channel multiplier against the published network.
    """

    module: nn.Module
    name: str
    input_shape: tuple[int, ...]
    width: float = 1.0


def load_source(
    source: str,
    *,
    num_classes: int | None = None,
    width: float = 1.0,
    input_shape: tuple[int, ...] | None = None,
    device: str = "cpu",
) -> Source:
    """The shipped network `source`, or the user's ``FILE.py:NAME`` or ``package.module:NAME``.

    NAME is a module, or something that makes one when it is called without arguments.

    Args:
        num_classes: of shipped networks; 10 if not given.
        width: of shipped networks.
        input_shape: of the user's module; not needed if it has an attribute of that name, as every ExitNetwork does.
        device: where parameters are made, by seed 0, as `choose_device` takes it; "meta" makes none, unless the user's
            code needs them.

    Raises:
        OptionError: if there is no such network, file, name or device, or an option does not belong to it.
    """
    place, _, name = source.rpartition(":")
    with torch.device(device) if device == "meta" else choose_device(device), torch.random.fork_rng():
        torch.manual_seed(0)
        if not place:
            return _shipped(source, num_classes, width, input_shape)
        if num_classes is not None or width != 1.0:
            raise OptionError("classes and width belong to shipped networks", where=source, fix="leave them out")
        module = _users_module(source, place, name, device)
    shape = input_shape or getattr(module, "input_shape", None)
    if shape is None:
        raise OptionError("the shape of one input is not known", where=source, fix="add --input-shape 3,32,32")
    return Source(module, name, tuple(shape))


def _users_module(source: str, place: str, name: str, device: str) -> nn.Module:
    try:
        return _made(source, _imported(place, source), name).to(device)
    except (OptionError, NotImplementedError) as error:
        if device != "meta" or "meta tensor" not in str(error):
            raise
        with torch.device("cpu"):  # the code computes with values while it builds the module
            return _made(source, _imported(place, source), name).to(device)


def _shipped(name: str, num_classes: int | None, width: float, input_shape: tuple[int, ...] | None) -> Source:
    if name not in NETWORKS:
        close = get_close_matches(name, NETWORKS, n=1)
        raise OptionError(
            "no such network",
            got=name,
            expected=f"one of {', '.join(NETWORKS)}; your own as FILE.py:NAME or package.module:NAME; a trace.npz",
            fix=f"did you mean {close[0]}?" if close else None,
        )
    if input_shape is not None:
        raise OptionError("a shipped network has its own input shape", where=name, fix="leave --input-shape out")
    network = build_network(name, 10 if num_classes is None else num_classes, width=width)
    return Source(network, name, network.input_shape, width)


def _imported(place: str, source: str) -> ModuleType:
    with _users_code(source, f"importing {place}"):
        if not place.endswith(".py"):
            return importlib.import_module(place)
        spec = spec_from_file_location(f"ceesim_user_{Path(place).stem}", place)  # a name that hides no other module
        if spec is None or spec.loader is None or not Path(place).is_file():
            raise OptionError("no such file", where=source, got=place)
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and pickles look their module up there
        spec.loader.exec_module(module)
        return module


@contextmanager
def _users_code(source: str, doing: str) -> Iterator[None]:
    """Run code that may raise anything, with the working directory and its own folder to import from."""
    place = source.rpartition(":")[0]
    folders = [str(Path(place).parent), ""] if place.endswith(".py") else [""]
    sys.path[:0] = folders
    try:
        yield
    except CeesimError:
        raise
    except Exception as error:
        raise OptionError(f"{doing} fails", where=source, got=f"{type(error).__name__}: {error}") from error
    finally:
        for folder in folders:
            sys.path.remove(folder)


def _made(source: str, file: ModuleType, name: str) -> nn.Module:
    found = getattr(file, name, None)
    made = found
    if callable(found) and not isinstance(found, nn.Module):
        with _users_code(source, f"calling {name}()"):
            made = found()
    if not isinstance(made, nn.Module):
        got = type(made).__name__ if found is not None else "nothing of that name"
        raise OptionError(f"{name} is no module and makes none", where=source, got=got)
    return made
