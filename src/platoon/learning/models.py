"""Networks whose parameters are one flat vector.

Everything that travels, is signed, merged or judged is a flat vector of weights, so a network here is a small
``torch`` module whose parameters (and gradients) are views of one contiguous float32 buffer: loading a model is
one copy, an optimiser's step is three operations whatever the number of layers, and an update is one
subtraction (the resident model of pfl-research).

``cnn`` is the network of DTB-FL 6.1: 298k parameters, 1.2 MB, on CIFAR-10. ``small_cnn`` trains fast on one
core, ``mlp`` is the size of a telemetry model.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from platoon.errors import UserError
from platoon.learning.dense import find_dense_stack
from platoon.learning.images import Images, Shape
from platoon.nouns import Floats, Ints, Weights
from platoon.rng import stream
from platoon.scenario import did_you_mean


def _cnn(shape: Shape, classes: int) -> nn.Sequential:
    features = [
        nn.Conv2d(shape[2], 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    ]
    width = _width(features, shape)
    return nn.Sequential(*features, nn.Linear(width, 350), nn.ReLU(), nn.Linear(350, classes))


def _small_cnn(shape: Shape, classes: int) -> nn.Sequential:
    """A stride in the first layer instead of pooling: half the CPU time of ``cnn`` on MNIST."""
    features = [
        nn.Conv2d(shape[2], 16, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    ]
    width = _width(features, shape)
    return nn.Sequential(*features, nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, classes))


def _mlp(shape: Shape, classes: int) -> nn.Sequential:
    width = shape[0] * shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, classes))


def _width(features: Sequence[nn.Module], shape: Shape) -> int:
    """Number of values that the feature layers make of one image."""
    with torch.no_grad():
        return int(nn.Sequential(*features)(torch.zeros(1, shape[2], shape[0], shape[1])).numel())


MODELS: Final[dict[str, Callable[[Shape, int], nn.Sequential]]] = {
    "cnn": _cnn,
    "small_cnn": _small_cnn,
    "mlp": _mlp,
}


def to_pixels(images: Images) -> Tensor:
    """Images (n, height, width, channels) as float32 in the same layout, scaled to [-1, 1]."""
    return torch.from_numpy(images.astype(np.float32)).mul_(1 / 127.5).sub_(1.0)


def to_input(pixels: Tensor) -> Tensor:
    """A view of pixels as networks take them: (n, channels, height, width).

    The memory stays channels-last, with which the convolutions cost half the CPU time forwards and four fifths
    in training (measured on one thread: small_cnn and cnn, 28 x 28 and 32 x 32).
    """
    return pixels.permute(0, 3, 1, 2)


class FlatModel:
    """A network with flat weights, resident in a process.

    ``weights`` (D,) and ``gradient`` (D,) are the live buffers: the module's parameters and their gradients are
    views of them. The methods that take flat weights load them first.
    """

    def __init__(self, name: str, shape: Shape, classes: int) -> None:
        """
        Raises:
            UserError: no network of that name.
        """
        if name not in MODELS:
            raise UserError(f"task.model = {name!r}: no such network; {did_you_mean(name, list(MODELS))}")
        self.module = MODELS[name](shape, classes)
        self.classes = classes
        parameters = list(self.module.parameters())
        self.size = sum(parameter.numel() for parameter in parameters)
        self.weights = torch.zeros(self.size)
        self.gradient = torch.zeros(self.size)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.data = self.weights[start:end].view(parameter.shape)
            parameter.grad = self.gradient[start:end].view(parameter.shape)
            start = end
        last = self.module[-1]
        assert isinstance(last, nn.Linear)
        self.last_layer = slice(self.size - (last.in_features + 1) * classes, self.size)
        """The last layer's matrix (classes, features), row by row, then its offsets (classes,)."""
        self.dense = find_dense_stack(self.module)
        """Many candidates at once, where the network allows it; None: one by one."""

    def load(self, weights: Weights) -> None:
        """Copy flat weights (D,) into the network."""
        self.weights.copy_(torch.from_numpy(weights))

    def logits(self, candidates: Weights, images: Images) -> Floats:
        """Logits (M, n, classes) of each candidate model (M, D) on the images (n, height, width, channels)."""
        pixels = to_pixels(images)
        if self.dense is not None:
            return self._dense_logits(candidates, pixels)
        return self._logits(candidates, [pixels] * len(candidates))

    def logits_each(self, candidates: Weights, images: Images) -> Floats:
        """Logits (M, n, classes) of each candidate (M, D) on its own images (M, n, height, width, channels)."""
        pixels = to_pixels(images)
        if self.dense is not None:
            return self._dense_logits(candidates, pixels)
        return self._logits(candidates, list(pixels))

    def _logits(self, candidates: Weights, pixels: Sequence[Tensor]) -> Floats:
        logits = np.empty((len(candidates), len(pixels[0]) if len(pixels) else 0, self.classes))
        with torch.inference_mode():
            for row, weights in enumerate(candidates):
                self.load(weights)
                logits[row] = self.module(to_input(pixels[row])).numpy()
        return logits

    def _dense_logits(self, candidates: Weights, pixels: Tensor) -> Floats:
        assert self.dense is not None
        logits = self.dense.forward(torch.from_numpy(candidates), _flatten(pixels))[-1]
        return np.asarray(logits.numpy(), dtype=np.float64)

    def features(self, weights: Weights, images: Images) -> Floats:
        """What the last layer sees: (n, features), for one model (D,)."""
        self.load(weights)
        with torch.inference_mode():
            return np.asarray(self.module[:-1](to_input(to_pixels(images))).numpy(), dtype=np.float64)

    def loss_gradient(self, weights: Weights, images: Images, targets: Floats) -> Weights:
        """Gradient (D,) of the mean cross entropy over the images, for one model (D,).

        ``targets`` (n, classes) are the shares that the softmax should give: one 1 per row for plain labels.
        """
        self.load(weights)
        self.gradient.zero_()
        logits: Tensor = self.module(to_input(to_pixels(images)))
        nn.functional.cross_entropy(logits, torch.from_numpy(targets.astype(np.float32))).backward()  # type: ignore[no-untyped-call]
        return self.gradient.numpy().copy()

    def pull_back(self, weights: Weights, images: Images, errors: Floats) -> Weights:
        """Gradients (B, D) of the sum of errors (B, n, classes) times logits on the images (n, height, width,
        channels), for one model (D,): of any loss whose slope by the logits the errors are."""
        slopes, pixels = torch.from_numpy(errors.astype(np.float32)), to_pixels(images)
        if self.dense is not None:
            return self.dense.pull_back(torch.from_numpy(weights), _flatten(pixels), slopes).numpy()
        self.load(weights)
        gradients = np.empty((len(errors), self.size), dtype=np.float32)
        for row, slope in enumerate(slopes):
            some = slope.any(dim=1)
            self.gradient.zero_()
            self.module(to_input(pixels[some])).backward(slope[some])
            gradients[row] = self.gradient.numpy()
        return gradients

    def input_gradients(self, candidates: Weights, images: Images, wanted: Ints) -> Floats:
        """By how much the log-probability of each wanted class (M, C') rises with each input, scaled to [-1, 1], of
        each candidate model (M, D): (M, C', height, width, channels), summed over images (n, height, width,
        channels)."""
        pixels = to_pixels(images)
        height, width, channels = images.shape[1:]
        if self.dense is not None:
            flat = self.dense.input_gradients(
                torch.from_numpy(candidates), _flatten(pixels), torch.from_numpy(wanted)
            )
            planes = flat.view(*wanted.shape, channels, height, width).permute(0, 1, 3, 4, 2)
            return np.asarray(planes.numpy())
        gradients = np.empty((*wanted.shape, height, width, channels), dtype=np.float32)
        pixels.requires_grad_()
        for row, weights in enumerate(candidates):
            self.load(weights)
            logs = torch.log_softmax(self.module(to_input(pixels)), dim=1)
            for column, label in enumerate(wanted[row]):
                (slope,) = torch.autograd.grad(logs[:, label].sum(), pixels, retain_graph=True)
                gradients[row, column] = slope.sum(dim=0).numpy()
        return gradients


def _flatten(pixels: Tensor) -> Tensor:
    """Pixels (..., height, width, channels) as a network's first linear layer sees them: (..., inputs)."""
    return pixels.movedim(-1, -3).flatten(-3)


def initial_weights(name: str, shape: Shape, classes: int, seed: int) -> Weights:
    """Weights (D,) of an untrained network: uniform within +-1/sqrt(inputs of the unit).

    >>> initial_weights("cnn", (32, 32, 3), 10, seed=1).shape
    (297908,)
    """
    rng = stream(seed, "initial weights")
    parts: list[Weights] = []
    bound = 1.0
    for parameter in FlatModel(name, shape, classes).module.parameters():
        if parameter.dim() > 1:  # an offset follows its matrix and shares the matrix's bound
            bound = 1.0 / np.sqrt(parameter[0].numel())
        parts.append(rng.uniform(-bound, bound, parameter.numel()).astype(np.float32))
    return np.concatenate(parts)
