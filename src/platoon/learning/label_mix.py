"""Which labels a vehicle has, estimated from an update that it sent: nothing is asked of it, and no data are seen.

The gradient of the cross entropy by the offset of class c is the mean of p_c - y_c over the samples, so that the
offsets of the labels that are there rise in training and the others' fall (the sign by which iDLG, Zhao et al.
2020, reads labels; here only shares are wanted). Where a vehicle trains with the loss over its own classes, the
rows of all others in the last layer do not move at all, and the lengths of those that do are the better measure.
"""

import numpy as np

from platoon.learning.last_layer import measure_rows
from platoon.nouns import Floats, Weights

STILL = 1e-6
"""A row that moved less than this part of the most moved did not move."""


def estimate_label_mix(last_layers: Weights | Floats, classes: int) -> Floats:
    """(K, C) shares of the labels, from the updates of the last layers (K, classes x features + classes).

    A row is NaN where an update says nothing (zeros).
    """
    moved = measure_rows(last_layers, classes)
    most = moved.max(axis=1, keepdims=True)
    present = moved > STILL * most
    rising = np.maximum(np.asarray(last_layers, dtype=np.float64)[:, -classes:], 0.0)
    restricted = ~present.all(axis=1, keepdims=True)
    weight = np.where(restricted, np.where(present, moved, 0.0), rising)
    total = weight.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(weight, total, out=np.full_like(weight, np.nan), where=total > 0.0)
    return shares
