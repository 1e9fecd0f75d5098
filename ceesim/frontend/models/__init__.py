"""Shipped networks by name: the three of Table I of arXiv 2309.13443, and two of other kinds.

`width` scales every channel count inside the network (to a multiple of 8, at least 8); images and classes stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ceesim.errors import OptionError
from ceesim.frontend.models.alexnet import alexnet
from ceesim.frontend.models.mobilenetv2 import mobilenetv2
from ceesim.frontend.models.resnet50 import resnet50
from ceesim.frontend.models.vggsmall import vggsmall
from ceesim.frontend.models.vit import vit
from ceesim.frontend.network import ExitNetwork


@dataclass(frozen=True, slots=True)
class Shipped:
    """A network of the registry: how to build it, the image size it reads, and its named options besides width."""

    build: Callable[..., ExitNetwork]
    image_size: int
    options: tuple[str, ...] = ()


NETWORKS: Final[dict[str, Shipped]] = {
    "alexnet": Shipped(alexnet, 224),
    "vggsmall": Shipped(vggsmall, 32, options=("tap",)),
    "resnet50": Shipped(resnet50, 32),
    "mobilenetv2": Shipped(mobilenetv2, 32),
    "vit": Shipped(vit, 32),
}


def shipped(name: str) -> Shipped:
    """The registry's entry for `name`.

    Raises:
        OptionError: if there is no such network.
    """
    if name not in NETWORKS:
        raise OptionError("unknown network", got=name, expected=f"one of {', '.join(NETWORKS)}")
    return NETWORKS[name]


def build_network(name: str, num_classes: int, *, width: float = 1.0, **options: Any) -> ExitNetwork:
    """The shipped network `name`, freshly initialised by torch's global generator.

    Raises:
        OptionError: if the network or an option of it is unknown, or width or num_classes is out of range.
    """
    entry = shipped(name)
    if not 0 < width <= 4:
        raise OptionError("width out of range", got=width, expected="a factor above 0 and up to 4")
    if num_classes < 2:
        raise OptionError("too few classes", got=num_classes, expected="at least 2")
    unknown = sorted(set(options) - set(entry.options))
    if unknown:
        known = ", ".join(entry.options) or "none"
        raise OptionError(f"{name} has no such option", got=", ".join(unknown), expected=known)
    return entry.build(num_classes, width=width, **options)
