"""How alike updates are: by their numbers, and by what they do on probes."""

import numpy as np

from platoon.learning.images import Images
from platoon.learning.scores import ProbeModel
from platoon.nouns import FixedPoint, Floats, Weights


def compute_cosines(updates: FixedPoint | Weights | Floats) -> Floats:
    """(K, K) cosines between updates (K, D), in [-1, 1]; 0 with an update of zeros.

    >>> compute_cosines(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    units = np.asarray(updates, dtype=np.float64)
    lengths = np.linalg.norm(units, axis=1, keepdims=True)
    units = np.divide(units, lengths, out=np.zeros_like(units), where=lengths > 0)
    cosines: Floats = np.clip(units @ units.T, -1.0, 1.0)
    return cosines


def compare_effects(model: ProbeModel, weights: Weights, updates: Weights, probes: Images) -> Floats:
    """(K, K) cosines between what each update (K, D) changes of a model's (D,) logits on probe images."""
    candidates = np.concatenate([weights[None], weights + updates])
    logits = model.logits(candidates, probes)
    return compute_cosines((logits[1:] - logits[0]).reshape(len(updates), -1))
