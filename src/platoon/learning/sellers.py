"""What each seller's model adds to a buyer: Shapley values of the averaged ensemble's accuracy."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from platoon.learning.shapley import shapley_values, share_among_equals
from platoon.learning.transferability import check_labels, check_outputs
from platoon.nouns import Bools, Floats, Ints

TOGETHER: Final = 256
"""Coalitions that are tried in one go."""
GRID: Final = 2.0**24
"""Probabilities are rounded to its reciprocal, so that sums are exact in any order: ties fall alike everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerValues:
    """Shares of what K sellers' models reach together."""

    values: Floats
    """(K,) Shapley values in accuracy; they add up to ``together`` less ``nobody``. Negative: better left out."""
    alone: Floats
    """(K,) accuracy of each model by itself."""
    together: float
    """Accuracy of the ensemble of all."""
    nobody: float
    """Accuracy without any model: the share of the commonest label."""


def value_sellers(
    probabilities: Floats, labels: Ints, rng: np.random.Generator, pairs: int = 100
) -> SellerValues:
    """Value K models by their probabilities (K, n, classes) on the buyer's labelled images (n,).

    A coalition is worth the accuracy of the mean of its members' probabilities. The empty one is worth the share of
    the commonest label: that is what the buyer reaches with the labels alone, and with 1 / classes instead a model
    that always names the commonest class of a lopsided set would be paid for it. Exact for up to 12 sellers; above,
    ``rng`` draws ``pairs`` of orders, models with the same answers share equally, and efficiency holds exactly.

    Raises:
        ValueError: no sellers, no samples, labels that are no class, outputs that are no probabilities.
    """
    if probabilities.ndim != 3 or len(probabilities) == 0:
        raise ValueError(f"probabilities: shape {probabilities.shape}; allowed: (sellers, samples, classes)")
    truth = check_labels(labels)
    tables = np.rint(np.stack([check_outputs(table) for table in probabilities]) * GRID)
    if tables.shape[1] != len(truth):
        raise ValueError(f"probabilities: {tables.shape[1]} rows for {len(truth)} labels")
    if truth.max() >= tables.shape[2]:
        raise ValueError(f"labels: {truth.max()} is out of range; the models have {tables.shape[2]} classes")
    contents = [table.tobytes() for table in tables]
    order = sorted(range(len(tables)), key=contents.__getitem__)  # dice must not see the sellers' places
    nobody = float(np.bincount(truth).max() / len(truth))
    values = np.empty(len(tables))
    values[order] = shapley_values(
        lambda coalitions: _worth(tables[order], truth, nobody, coalitions), len(tables), rng, pairs
    )
    everybody = np.ones((1, len(tables)), dtype=np.bool_)
    return SellerValues(
        values=share_among_equals(values, contents),
        alone=_worth(tables, truth, nobody, np.eye(len(tables), dtype=np.bool_)),
        together=float(_worth(tables[order], truth, nobody, everybody)[0]),
        nobody=nobody,
    )


def _worth(tables: Floats, truth: Ints, nobody: float, coalitions: Bools) -> Floats:
    """(M,) accuracy of each coalition's (M, K) mean of probabilities."""
    worth = np.empty(len(coalitions))
    flat = tables.reshape(len(tables), -1)
    for start in range(0, len(coalitions), TOGETHER):
        some = coalitions[start : start + TOGETHER].astype(np.float64)
        answers = (some @ flat).reshape(len(some), *tables.shape[1:]).argmax(axis=2)
        worth[start : start + TOGETHER] = (answers == truth).mean(axis=1)
    worth[~coalitions.any(axis=1)] = nobody
    return worth
