"""A million attempts to gain by lying, and an auction that admits it, which shows that the attempts find it."""

import numpy as np
import pytest

from platoon.market.auction import deviations
from platoon.market.auction.deviations import LIES, Attempt, try_deviations
from platoon.market.auction.tables import BoostTable, reserve_table
from platoon.rng import stream


def draw_table(rng, models):
    """Boosts as large as values, of any sign: truthfulness does not depend on what was learned."""
    size = 1 << models
    return BoostTable(
        bundle=(0, *rng.integers(-400_000, 400_001, size - 1).tolist()),
        unsold=tuple(rng.integers(-200_000, 1_500_001, size).tolist()),
    )


def attempt(buyers, models, profiles, seed):
    """Every lie in every profile, additive values and bundle values half and half, coarse ones (ties) too."""
    rng = stream(seed, "deviations", buyers, models)
    table = draw_table(rng, models)
    step = int(rng.choice([1, 1, 250_000]))
    additive = rng.integers(0, 1_000_001, (profiles // 2, buyers, models)) // step * step
    bundles = rng.integers(0, 2_000_001, (profiles // 2, buyers, 1 << models)) // step * step
    bundles[:, :, 0] = 0
    parts = [try_deviations(rng, additive, table), try_deviations(rng, bundles, table)]
    return Attempt(
        tried=sum(part.tried for part in parts),
        profitable=sum(part.profitable for part in parts),
        negative=sum(part.negative for part in parts),
        largest_gain=max(part.largest_gain for part in parts),
    )


def test_no_deviation_is_profitable():
    for buyers, models in ((1, 1), (2, 2), (3, 3), (8, 5)):
        found = attempt(buyers, models, 100, seed=1)
        assert found.tried == 100 * len(LIES)
        assert (found.profitable, found.negative, found.largest_gain) == (0, 0, 0)


@pytest.mark.long
def test_no_deviation_of_a_million_is_profitable():
    tried = 0
    for buyers in range(1, 9):
        for models in range(1, 6):
            for seed in range(4):
                found = attempt(buyers, models, 800, seed)
                assert (found.profitable, found.negative, found.largest_gain) == (0, 0, 0)
                tried += found.tried
    assert tried >= 1_000_000


def test_an_auction_that_can_be_cheated_is_found_out(monkeypatch):
    """First price: whoever wins pays its bid, so to bid less pays."""

    def first_price(bids, table):
        winners = bids[:, :, 1].argmax(axis=1)
        bundles = np.zeros(bids.shape[:2], dtype=np.int64)
        rows = np.arange(len(bids))
        bundles[rows, winners] = 1
        payments = np.where(bundles == 1, bids[:, :, 1], 0)
        return bundles, payments

    monkeypatch.setattr(deviations, "execute_batch", first_price)
    rng = stream(1, "first price")
    found = try_deviations(rng, rng.integers(0, 1_000_001, (200, 2, 1)), reserve_table(1, 0))
    assert found.profitable > 100
    assert found.largest_gain > 0
