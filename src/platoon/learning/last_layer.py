"""The last layer in a network's flat parameters: a row of weights for every class, row by row, then all offsets."""

import numpy as np

from platoon.nouns import Floats, Ints, Weights


def measure_rows(last_layers: Weights | Floats, classes: int) -> Floats:
    """(K, classes) length of every class's row, its offset in it, of last layers (K, classes x features + classes)
    or of what updates add to them."""
    parts = np.asarray(last_layers, dtype=np.float64)
    rows = parts[:, :-classes].reshape(len(parts), classes, -1)
    lengths: Floats = np.linalg.norm(np.concatenate([rows, parts[:, -classes:, None]], axis=2), axis=2)
    return lengths


def find_row(last_layer: slice, classes: int, label: int) -> Ints:
    """(features + 1,) the entries of flat parameters that are a class's row, its offset the last of them.

    >>> find_row(slice(10, 18), 2, 1).tolist()
    [13, 14, 15, 17]
    """
    features = (last_layer.stop - last_layer.start) // classes - 1
    first = last_layer.start + label * features
    return np.append(np.arange(first, first + features), last_layer.stop - classes + label)
