"""Checkpoints: everything a run needs to go on exactly, or a capture needs to rebuild the network; one atomic file.

Randomness needs no stored state: every epoch seeds its own generators from the run's seed and its number, and a
checkpoint lies between epochs. Files are read with `weights_only=True`: a checkpoint from elsewhere cannot run code.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ceesim.errors import OutputError, TrainingError
from ceesim.files import replacing
from ceesim.frontend.average import averaged_weights
from ceesim.frontend.config import TrainConfig
from ceesim.frontend.data.preprocess import Preprocessing
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.recipes import Recipe

FORMAT: Final = "ceesim.checkpoint/1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `len(history)` epochs.

    Args:
        model: the weights after the last step, from which the run goes on.
        history: a row per epoch, as `epochs.csv` shows it.
        held_out: float32 [num_val] `brightness` of the validation images, by which they are known again; None in
            checkpoints that were written before it was kept.
        average: state of the `WeightAverage`; None where weights are not averaged, or not yet.
    """

    config: TrainConfig
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    made_with: Mapping[str, str]
    held_out: Tensor | None = None
    average: Mapping[str, Any] | None = None

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """What the run is for: the averaged weights where there are some, else those after the last step."""
        return self.model if self.average is None else averaged_weights(self.average)

    def network(self) -> ExitNetwork:
        """The trained network, in evaluation mode; heads that were not trained are left out.

        Raises:
            TrainingError: if the weights are damaged.
        """
        network = self.config.build()
        try:
            network.load_state_dict(dict(self.weights))
        except (RuntimeError, AttributeError) as error:
            raise TrainingError(
                "the checkpoint's weights are not those of its network", got=str(error).splitlines()[-1].strip()
            ) from None
        if self.config.heads == "none":
            network = ExitNetwork(network.backbone, (), self.config.num_classes, input_shape=network.input_shape)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write `path` in one step: a reader sees the old file or the new one, also after a crash.

        Raises:
            OutputError: if it cannot be written.
        """
        payload = {
            "format": FORMAT,
            "config": asdict(self.config),
            "model": dict(self.model),
            "optimizer": dict(self.optimizer),
            "scaler": dict(self.scaler),
            "history": [dict(row) for row in self.history],
            "made_with": dict(self.made_with),
            "held_out": self.held_out,
            "average": None if self.average is None else dict(self.average),
        }
        try:
            with replacing(path) as file:
                torch.save(payload, file)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OutputError(
                "the checkpoint cannot be written",
                where=str(path),
                got=str(error).splitlines()[0],
                fix="free some space; --resume goes on from the epoch before",
            ) from None

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint, onto the CPU.

        Raises:
            TrainingError: if the file is missing, damaged, or of another format.
        """
        return cls.of(read_payload(path, fix="give the checkpoint.pt that `ceesim train` wrote"), path)

    @classmethod
    def of(cls, payload: Any, path: Path) -> Checkpoint:
        """The checkpoint that was read from `path`.

        Raises:
            TrainingError: if it is damaged, or of another format.
        """
        if not isinstance(payload, dict) or payload.get("format") != FORMAT:
            found = payload.get("format", "none") if isinstance(payload, dict) else type(payload).__name__
            raise TrainingError("not a checkpoint of this version", where=str(path), got=found, expected=FORMAT)
        try:
            settings = dict(payload["config"])
            settings["preprocessing"] = Preprocessing(**settings["preprocessing"])
            epochs = settings.pop("epochs", settings["recipe"]["epochs"])  # of its own until 0.1, fitted to --minutes
            settings["recipe"] = Recipe(**{**settings["recipe"], "epochs": epochs})
            average = payload.get("average")
            return cls(
                TrainConfig(**settings),
                dict(payload["model"]),
                dict(payload["optimizer"]),
                dict(payload["scaler"]),
                tuple(payload["history"]),
                payload["made_with"],
                payload.get("held_out"),
                None if average is None else dict(average),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(f"the checkpoint lacks a part: {error}", where=str(path)) from None


def read_payload(path: Path, *, fix: str) -> Any:
    """What `torch.save` wrote to `path`, onto the CPU: tensors, numbers, names and containers of them, never code.

    Raises:
        TrainingError: if the file is missing, damaged or holds anything else; says `fix`.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError("no such file", where=str(path), fix=fix) from None
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, struct.error, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"the file cannot be read: {reason}", where=str(path), fix=fix) from None
