"""What auctions earn over many profiles at once: the revenue of whatever was sold, and its error."""

from dataclasses import dataclass

import numpy as np

from platoon.market.auction.batched import execute_tables
from platoon.nouns import MILLION, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Sales:
    """What P auctions of the same size came to."""

    bundles: Ints
    """(P, n) what each buyer gets, a bit mask over models."""
    payments: Ints
    """(P, n) what each buyer pays, 10^-6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revenue:
    """Mean revenue of one auction, in units of value (1.0 is the largest value of one model)."""

    plain: float
    """E sum_i p_i."""
    plain_error: float
    """Its standard error."""
    weighted: float
    """E sum_i r(g_i) p_i, r(g_i) being the mean reputation of the models that buyer i gets."""
    weighted_error: float
    profiles: int


def maximise(values: Ints, bundle: Ints, unsold: Ints) -> Sales:
    """Run the affine maximiser on values (P, n, m) with boosts (2^m,), or (P, 2^m) of each profile's own.

    ``bundle`` is what a buyer's bundle adds (its entry 0 is 0), ``unsold`` what the unsold models add.
    """
    bundles, payments = execute_tables(values, np.atleast_2d(bundle), np.atleast_2d(unsold))
    return Sales(bundles=bundles, payments=payments)


def estimate_revenue(sales: Sales, reputations: Ints) -> Revenue:
    """Mean and standard error over profiles; reputations are (P, m) ppm."""
    plain = sales.payments.sum(axis=1) / MILLION
    weighted = (mean_reputations(sales.bundles, reputations) * sales.payments).sum(axis=1) / MILLION
    root = np.sqrt(len(plain))
    return Revenue(
        plain=float(plain.mean()),
        plain_error=float(plain.std() / root),
        weighted=float(weighted.mean()),
        weighted_error=float(weighted.std() / root),
        profiles=len(plain),
    )


def mean_reputations(bundles: Ints, reputations: Ints) -> Floats:
    """(P, n) mean reputation in [0, 1] of the models in bundles (P, n); 0 for who gets nothing."""
    inside = (bundles[:, :, None] >> np.arange(reputations.shape[1])) & 1
    sums = np.einsum("pnm,pm->pn", inside, reputations)
    return np.asarray(sums / np.maximum(inside.sum(axis=2), 1) / MILLION)
