"""Many networks of linear layers at once: what scores ask of a model, for all candidates of a round in one go.

A network that is nothing but linear layers with ReLUs between them needs no automatic differentiation: its logits
and gradients are a handful of matrix products, batched over the candidates. An edge server judges ten updates by a
few dozen small images each, so one by one the calls would cost more than the arithmetic. The plain way, by
``torch.autograd``, stands in ``models``; tests hold the two equal.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseStack:
    """Linear layers, with ReLUs between them, whose parameters lie one after another in flat weights (D,)."""

    shapes: tuple[tuple[int, int], ...]
    """(outputs, inputs) of each layer; its matrix comes first, row by row, then its offsets."""

    def forward(self, candidates: Tensor, inputs: Tensor) -> list[Tensor]:
        """What each layer sees, (M, n, inputs), and at the end the logits (M, n, classes): of candidates (M, D) on
        inputs (n, inputs), or (M, n, inputs) if each has its own. The first entry is ``inputs`` itself."""
        seen = [inputs]
        for matrix, offsets in self._layers(candidates):
            if len(seen) > 1:
                seen[-1].relu_()
            seen.append(torch.matmul(seen[-1], matrix.transpose(1, 2)).add_(offsets[:, None]))
        return seen

    def pull_back(self, weights: Tensor, inputs: Tensor, errors: Tensor) -> Tensor:
        """(B, D) gradients by the weights (D,) of the sum of errors (B, n, classes) times logits on inputs
        (n, inputs). Images whose errors are zero cost nothing."""
        counts = (errors != 0).any(dim=2)
        most = max(1, int(counts.sum(dim=1).max()))
        kept = counts.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        flowing = torch.gather(errors, 1, kept[:, :, None].expand(-1, -1, errors.shape[2]))
        seen = self.forward(weights[None], inputs)
        result = torch.empty(len(errors), weights.numel())
        end = weights.numel()
        for place, (matrix, _) in reversed(list(enumerate(self._layers(weights[None])))):
            outputs, width = self.shapes[place]
            layer = seen[place] if place == 0 else seen[place][0]
            start = end - outputs * (width + 1)
            part = result[:, start : end - outputs].view(-1, outputs, width)
            torch.bmm(flowing.transpose(1, 2), layer[kept], out=part)
            torch.sum(flowing, dim=1, out=result[:, end - outputs : end])
            if place > 0:
                flowing = torch.matmul(flowing, matrix[0]).mul_(layer[kept] > 0)
            end = start
        return result

    def input_gradients(self, candidates: Tensor, inputs: Tensor, wanted: Tensor) -> Tensor:
        """(M, C', inputs) by how much the log-probability of each wanted class (M, C') rises with each input,
        summed over inputs (n, inputs), of candidates (M, D)."""
        seen = self.forward(candidates, inputs)
        chosen = nn.functional.one_hot(wanted, seen[-1].shape[2]).to(inputs.dtype)
        flowing = chosen[:, :, None] - seen[-1].softmax(dim=2)[:, None]
        for place, (matrix, _) in reversed(list(enumerate(self._layers(candidates)))):
            if place == 0:
                return torch.bmm(flowing.sum(dim=2), matrix)
            flowing = torch.matmul(flowing, matrix[:, None]).mul_((seen[place] > 0)[:, None])
        raise AssertionError("a stack has layers")

    def _layers(self, candidates: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Matrix (M, outputs, inputs) and offsets (M, outputs) of each layer: views of candidates (M, D)."""
        layers, start = [], 0
        for outputs, width in self.shapes:
            middle, end = start + outputs * width, start + outputs * (width + 1)
            matrix = candidates[:, start:middle].view(-1, outputs, width)
            layers.append((matrix, candidates[:, middle:end]))
            start = end
        return layers


def find_dense_stack(module: nn.Sequential) -> DenseStack | None:
    """The stack that a network is; None if it is more than flattened images through linear layers and ReLUs."""
    first, *layers = module
    alternate = [nn.Linear if place % 2 == 0 else nn.ReLU for place in range(len(layers))]
    if (
        not isinstance(first, nn.Flatten)
        or len(layers) % 2 == 0
        or any(not isinstance(layer, kind) for layer, kind in zip(layers, alternate, strict=True))
    ):
        return None
    shapes = tuple(
        (layer.out_features, layer.in_features) for layer in layers if isinstance(layer, nn.Linear)
    )
    return DenseStack(shapes=shapes)
