"""Law suites for plug-ins: what every entry of a kind must keep, ours and yours.

    from platoon.testing import check_selector

    def test_my_selector():
        check_selector(my_selector)

Each raises ``AssertionError`` with the law that was broken.
"""

from dataclasses import replace

import numpy as np

from platoon.learning.attacks.laws import check_attack
from platoon.learning.laws import check_aggregator, check_score
from platoon.market.auction.laws import check_auction
from platoon.nouns import Floats, Forecasts, Instant, Ints, seconds
from platoon.rng import stream
from platoon.twin.selectors import NEVER, Candidates, Selector

__all__ = [
    "check_aggregator",
    "check_attack",
    "check_auction",
    "check_score",
    "check_selector",
    "make_candidates",
]


def check_selector(selector: Selector, *, trusts_reputation: bool = False, trials: int = 50) -> None:
    """Laws of a selector, on random fleets of 1 to 40 vehicles.

    It returns at most K distinct ids of vehicles in service, as whole numbers; nobody where nobody is in service;
    the same ids for the same candidates and dice; and it leaves its input alone. With ``trusts_reputation``
    nobody below ``rho_min`` is chosen, and everybody eligible when there are no more than K of them.
    """
    for trial in range(trials):
        candidates = make_candidates(trial)
        before = _copy(candidates.forecasts, candidates.reputation, candidates.last_chosen)
        chosen = selector(candidates)
        again = selector(replace(candidates, rng=stream(trial, "dice")))
        after = _copy(candidates.forecasts, candidates.reputation, candidates.last_chosen)
        assert before == after, "a selector must not change its input"
        _check_ids(chosen, candidates)
        assert np.array_equal(chosen, again), "the same candidates and dice must give the same cohort"
        if trusts_reputation:
            _check_reputation(chosen, candidates)
        out_of_service = replace(candidates.forecasts, edge_server=np.full(len(before[1]) // 8, -1))
        nobody = selector(replace(candidates, forecasts=out_of_service, rng=stream(trial, "dice")))
        assert len(nobody) == 0, "nobody is in service, so nobody can be chosen"


def make_candidates(trial: int) -> Candidates:
    """A random fleet for trials: some unknown, unattested, out of service, of poor reputation."""
    rng = stream(trial, "candidates")
    vehicles = int(rng.integers(1, 41))
    return Candidates(
        forecasts=_make_forecasts(rng, vehicles),
        reputation=np.round(rng.random(vehicles), 1),
        rho_min=0.4,
        count=int(rng.integers(1, 12)),
        rng=stream(trial, "dice"),
        round=10,
        last_chosen=rng.integers(NEVER, 10, vehicles),
        rest_rounds=int(rng.integers(0, 4)),
    )


def _make_forecasts(rng: np.random.Generator, vehicles: int) -> Forecasts:
    served = rng.random(vehicles) < 0.8
    rate = np.round(rng.uniform(0, 8e7, vehicles), -7)  # coarse, so that there are ties
    return Forecasts(
        at=Instant(0),
        horizon=seconds(20),
        known=rng.random(vehicles) < 0.9,
        attested=rng.random(vehicles) < 0.9,
        edge_server=np.where(served, rng.integers(0, 4, vehicles), -1),
        measured_rate=np.where(served, rate, 0.0),
        rate=np.where(served, rate, 0.0),
        cpu_hz=np.round(rng.uniform(1.5e9, 2.5e9, vehicles), -8),
        position=rng.uniform(0, 2000, (vehicles, 2)),
        position_sigma=rng.uniform(0, 150, vehicles),
        finish_probability=np.round(rng.random(vehicles), 1),
        finish_seconds=rng.uniform(1, 20, vehicles),
    )


def _check_ids(chosen: Ints, candidates: Candidates) -> None:
    vehicles = len(candidates.reputation)
    assert np.issubdtype(np.asarray(chosen).dtype, np.integer), "ids are whole numbers"
    assert len(chosen) <= candidates.count, "at most K are chosen"
    assert len(set(chosen.tolist())) == len(chosen), "nobody is chosen twice"
    assert ((chosen >= 0) & (chosen < vehicles)).all(), "ids are rows of the fleet"
    assert (candidates.forecasts.edge_server[chosen] >= 0).all(), "only vehicles in service are chosen"


def _check_reputation(chosen: Ints, candidates: Candidates) -> None:
    assert (candidates.reputation[chosen] >= candidates.rho_min).all(), "nobody below rho_min is chosen"
    forecasts = candidates.forecasts
    served = forecasts.known & forecasts.attested & (forecasts.edge_server >= 0)
    eligible = int((served & (candidates.reputation >= candidates.rho_min)).sum())
    assert len(chosen) >= min(candidates.count, eligible), "as many as are eligible, up to K"


def _copy(forecasts: Forecasts, reputation: Floats, last_chosen: Ints) -> tuple[bytes, bytes, bytes]:
    columns = [forecasts.known, forecasts.attested, forecasts.edge_server, forecasts.rate, forecasts.cpu_hz]
    columns += [forecasts.measured_rate, forecasts.finish_probability, forecasts.finish_seconds]
    return b"".join(column.tobytes() for column in columns), reputation.tobytes(), last_chosen.tobytes()
