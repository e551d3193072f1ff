"""What an update shows by itself, without any image: traces of how it came about.

Training leaves marks. Its updates differ from each other, are about as long as their peers', put much of their
length into few entries (kurtosis far above a Gaussian's 3), and rise and fall in about equal parts. Copies,
replays, noise, boosted updates and vectors that shift every entry to the same side do not. The limits lie
between what honest and false updates showed in ``bench/score_weights.py``; none of them asks what the update is
good for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from platoon.nouns import Bools, Floats, Weights

LEAST_PEAKEDNESS: Final = 6.0
"""Mean fourth power of the entries over the square of their mean second: 1.8 uniform noise, 3 Gaussian."""
MOST_ONE_SIDED: Final = 0.4
"""Cosine with a vector of ones, either way: ALIE and min-max shift all entries down."""
MOST_REPLAYED: Final = 0.8
"""Cosine with the last step of the global model."""
COPY: Final = 0.95
"""Cosine from which on two updates are one and the other's copy."""
OF_A_STEP: Final = 0.7
"""Part of the last step's length below which an update says nothing about how long updates are: a step is the mean
of updates that have little in common, so shorter than these. Else a majority of tiny updates would make the others
too long."""
MOST_LENGTHS: Final = 5.0
"""Lengths over the reference that are too many, but for who teaches what the model lacks (``forensic``); long
before that, length counts against an update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Of K updates."""

    lengths: Floats
    """(K,) over the reference: the median of those that look trained, copies counted once."""
    reference: float
    """That length, in parameter units; above 0."""
    peakedness: Floats
    """(K,)"""
    one_sided: Floats
    """(K,) in [0, 1]"""
    nearest: Floats
    """(K,) largest cosine with another update; -1 for a lone one."""
    replayed: Floats
    """(K,) cosine with the last step."""
    cosines: Floats
    """(K, K) of the updates with each other, -1 of each with itself."""
    shortened: Weights
    """(K, D) the updates, those longer than the reference shortened to it: a long one must not saturate a model."""

    @property
    def crafted(self) -> Bools:
        """(K,) no training leaves an update of this form; or, where it teaches nothing new, of this length."""
        return np.asarray(self.untrained | (self.lengths > MOST_LENGTHS))

    @property
    def untrained(self) -> Bools:
        """(K,) no training leaves an update of this form, whatever its length."""
        return _untrained(self.peakedness, self.one_sided, self.replayed)

    @property
    def copied(self) -> Bools:
        """(K,) another update is nearly the same; which was first, nobody can tell from the two."""
        return np.asarray(self.nearest > COPY)


def find_traces(updates: Weights, step: Weights | None = None) -> Traces:
    """The traces of updates (K, D), given what the last round added to the model (D,)."""
    products = (updates @ updates.T).astype(np.float64)
    lengths = np.sqrt(np.diag(products))
    inverse = np.divide(1.0, lengths, out=np.zeros(len(lengths)), where=lengths > 0.0)
    size = updates.shape[1]
    squares = updates * inverse[:, None].astype(np.float32)
    np.multiply(squares, squares, out=squares)
    peakedness = np.einsum("kd,kd->k", squares, squares).astype(np.float64) * size
    one_sided = np.abs(updates.sum(axis=1).astype(np.float64) * inverse) / np.sqrt(size)
    cosines = products * inverse * inverse[:, None]
    np.fill_diagonal(cosines, -1.0)
    replayed = np.zeros(len(updates))
    before = 0.0 if step is None else float(np.linalg.norm(step))
    if step is not None and before > 0.0:
        replayed = (updates @ step).astype(np.float64) * inverse / before
    untrained = _untrained(peakedness, one_sided, replayed)
    reference = _reference(lengths, cosines, untrained | (lengths < OF_A_STEP * before), untrained)
    factors = np.minimum(1.0, reference / np.maximum(lengths, 1e-12))
    return Traces(
        lengths=lengths / reference,
        reference=reference,
        peakedness=peakedness,
        one_sided=one_sided,
        nearest=cosines.max(axis=1),
        replayed=replayed,
        cosines=cosines,
        shortened=updates * factors[:, None].astype(np.float32),
    )


def _untrained(peakedness: Floats, one_sided: Floats, replayed: Floats) -> Bools:
    """A row of zeros has peakedness 0."""
    return np.asarray(
        (peakedness < LEAST_PEAKEDNESS) | (one_sided > MOST_ONE_SIDED) | (replayed > MOST_REPLAYED)
    )


def _reference(lengths: Floats, cosines: Floats, *left_out: Bools) -> float:
    """The median length of the updates that are not left out, of near-copies the shortest. Where all are left out,
    the next condition decides; of all updates, where none leaves anybody."""
    for out in (*left_out, np.zeros(len(lengths), dtype=bool)):
        kept: list[int] = []
        for row in np.argsort(lengths, kind="stable"):
            if not out[row] and all(cosines[row, other] <= COPY for other in kept):
                kept.append(int(row))
        if kept:
            break
    return max(float(np.median(lengths[kept])), 1e-12)
