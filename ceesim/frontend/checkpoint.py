"""Checkpoints: everything a run needs to go on exactly, or a capture needs to rebuild the network; one atomic file.

Randomness needs no stored state: every epoch seeds its own generators from the run's seed and its number, and a
checkpoint lies between epochs. Files are read with `weights_only=True`: a checkpoint from elsewhere cannot run code.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ceesim.errors import TrainingError
from ceesim.frontend.data.preprocess import Preprocessing
from ceesim.frontend.loss import ExitLoss
from ceesim.frontend.models import build_network
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.recipes import Recipe

FORMAT: Final = "ceesim.checkpoint/1"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What a training run is, settled before its first step.

    Attributes:
        num_val: images held out of the training set for validation.
        amp: dtype of autocast, "bfloat16", "float16" or "off"; part of the run, for it changes the weights.
        alpha: as in `ExitLoss`; None is 4·(M−1).
    """

    network: str
    width: float
    num_classes: int
    heads: str
    dataset: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    recipe: Recipe
    epochs: int
    seed: int
    num_val: int
    amp: str
    alpha: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def loss(self) -> ExitLoss:
        """The loss of this run."""
        return ExitLoss(
            self.heads,
            self.recipe.weights,
            self.alpha,
            self.recipe.alpha_mode,
            self.recipe.reduction,
            self.recipe.label_smoothing,
        )

    def build(self) -> ExitNetwork:
        """The network, initialised from the run's seed."""
        torch.manual_seed(self.seed)
        return build_network(self.network, self.num_classes, width=self.width, **self.options)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `len(history)` epochs; `history` has one row per epoch, as `epochs.csv` shows it."""

    config: TrainConfig
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    versions: Mapping[str, str]

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    def network(self) -> ExitNetwork:
        """The trained network, in evaluation mode."""
        network = self.config.build()
        network.load_state_dict(dict(self.model))
        return network.eval()

    def save(self, path: Path) -> None:
        """Write `path` in one step: a reader sees the old file or the new one, also after a crash."""
        payload = {
            "format": FORMAT,
            "config": asdict(self.config),
            "model": dict(self.model),
            "optimizer": dict(self.optimizer),
            "scaler": dict(self.scaler),
            "history": [dict(row) for row in self.history],
            "versions": dict(self.versions),
        }
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                torch.save(payload, file)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint, onto the CPU.

        Raises:
            TrainingError: if the file is missing, damaged, or of another format.
        """
        try:
            payload = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise TrainingError(
                "no checkpoint", where=str(path), fix="give the checkpoint.pt that `ceesim train` wrote"
            ) from None
        except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrainingError(f"the checkpoint cannot be read: {reason}", where=str(path)) from None
        if not isinstance(payload, dict) or payload.get("format") != FORMAT:
            found = payload.get("format", "none") if isinstance(payload, dict) else type(payload).__name__
            raise TrainingError("not a checkpoint of this version", where=str(path), got=found, expected=FORMAT)
        try:
            settings = dict(payload["config"])
            settings["preprocessing"] = Preprocessing(**settings["preprocessing"])
            settings["recipe"] = Recipe(**settings["recipe"])
            return cls(
                TrainConfig(**settings),
                payload["model"],
                payload["optimizer"],
                payload["scaler"],
                tuple(payload["history"]),
                payload["versions"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(f"the checkpoint lacks a part: {error}", where=str(path)) from None
