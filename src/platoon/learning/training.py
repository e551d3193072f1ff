"""Local training: what a vehicle computes between receiving a model and uploading its update.

Mini-batch SGD with momentum over a few epochs (DTB-FL Algorithm 2, step 2) on one resident model. The paper
gives no step size and no clipping; gradients are clipped at norm 5.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from platoon.learning.images import Images
from platoon.learning.models import FlatModel, to_input, to_pixels
from platoon.nouns import Ints, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How every vehicle trains."""

    epochs: int
    """Passes over the local data."""
    batch: int
    """Samples per step; the last batch of an epoch may be smaller."""
    learning_rate: float
    momentum: float
    """[0, 1)"""
    local_loss: Literal["full", "own_classes"] = "full"
    """Cross entropy over all classes, or only over those among the vehicle's labels: two-class vehicles then
    do not push all other classes down."""
    clip_norm: float = 5.0
    """A longer gradient is shortened to this Euclidean norm."""
    proximal: float = 0.0
    """mu of FedProx (Li et al. 2020): the loss gains mu / 2 times the squared distance to the model sent out."""


class LocalTrainer:
    """One resident model that trains for one vehicle after another."""

    def __init__(self, model: FlatModel, settings: TrainingSettings) -> None:
        self.model = model
        self.settings = settings
        self._velocity = torch.zeros(model.size)
        self._anchor = torch.zeros(model.size)

    def train(self, weights: Weights, images: Images, labels: Ints, rng: np.random.Generator) -> Weights:
        """The update (D,) float32: weights after local training minus ``weights`` (D,).

        Images are (n, height, width, channels), labels (n,); the samples are shuffled anew by ``rng`` in every
        epoch. Weights that overflow come back as inf or NaN: quantising refuses them.

        Raises:
            ValueError: there are no samples.
        """
        if len(labels) == 0:
            raise ValueError("a vehicle without samples cannot train")
        own = np.unique(labels) if self.settings.local_loss == "own_classes" else None
        targets = torch.from_numpy(labels if own is None else np.searchsorted(own, labels))
        columns = None if own is None else torch.from_numpy(own)
        pixels = to_pixels(images)
        self.model.load(weights)
        self._anchor.copy_(self.model.weights)
        self._velocity.zero_()
        for _ in range(self.settings.epochs):
            order = torch.from_numpy(rng.permutation(len(labels)))
            self._epoch(to_input(pixels[order]), targets[order], columns)
        return self.model.weights.numpy() - weights

    def _epoch(self, inputs: Tensor, targets: Tensor, columns: Tensor | None) -> None:
        """One pass over shuffled inputs; ``columns`` are the classes that the loss ranges over (None: all)."""
        batch = self.settings.batch
        for start in range(0, len(targets), batch):
            logits: Tensor = self.model.module(inputs[start : start + batch])
            if columns is not None:
                logits = logits[:, columns]
            self.model.gradient.zero_()
            cross_entropy(logits, targets[start : start + batch]).backward()  # type: ignore[no-untyped-call]
            self._step()

    def _step(self) -> None:
        """Clip, then SGD with momentum: v = mu v + g, w = w - eta v."""
        gradient = self.model.gradient
        if self.settings.proximal:
            pull = self.settings.proximal
            gradient.add_(self.model.weights, alpha=pull).sub_(self._anchor, alpha=pull)
        norm = float(gradient.norm())
        if norm > self.settings.clip_norm:
            gradient.mul_(self.settings.clip_norm / norm)
        self._velocity.mul_(self.settings.momentum).add_(gradient)
        self.model.weights.sub_(self._velocity, alpha=self.settings.learning_rate)
