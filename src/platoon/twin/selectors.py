"""Who trains this round: plain functions from what is known of the fleet to at most K vehicles.

``utility`` is DTB-FL's eq. 10 with Algorithm 1; ``reactive`` and ``random`` are what its baselines VEC-FL and
FedAvg do, ``random_reputable`` what BC-FL does. DT-FL is ``utility`` with every reputation taken as 1.

**As written and as option.** The paper's Algorithm 1 takes the K largest utilities and nothing else, round after
round; the vehicles parked beside an RSU then train for ever and the others never. The option ``rest_rounds``
(0 as written) passes over whoever was chosen in the last so many rounds, in every selector alike, unless fewer
than K remain: then the longest rested come first. It never lets in anybody who is not eligible.

More selectors come by entry points of the group ``platoon.selectors``; ``platoon.testing.check_selector`` is the
law suite that all of them pass.
"""

from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from platoon.errors import UserError
from platoon.nouns import Bools, Floats, Forecasts, Ints
from platoon.scenario import did_you_mean

NEVER = -1
"""``last_chosen`` of a vehicle that never was."""
RETRY = 5
"""Rounds after which an excluded vehicle that was asked is asked again for its reputation's sake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """All that a selector may look at. Rows are vehicles (N)."""

    forecasts: Forecasts
    reputation: Floats
    """(N,) in [0, 1], from the ledger; ones where the method keeps none."""
    rho_min: float
    """Least reputation to take part, [0, 1]."""
    count: int
    """K: choose at most so many."""
    rng: np.random.Generator
    """Dice of this round; only the random selectors throw them."""
    round: int
    """This round's number, from 1."""
    last_chosen: Ints
    """(N,) round in which the vehicle was last chosen; ``NEVER`` (-1) if it never was."""
    balance: float = 0.5
    """alpha of eq. 10: link against compute, [0, 1]."""
    rest_rounds: int = 0
    """Rounds that a chosen vehicle rests; 0 is the paper as written."""
    pool: int = 0
    """Candidates among which the terms choose (``platoon.twin.terms``); 0: all."""
    coverage_weight: float = 0.0
    """Weight of balanced labels beside merit; 0: none."""
    position_weight: float = 0.0
    """Power with which an uncertain place lowers the merit; 0: not at all."""
    label_mix: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """(N, C) shares of the labels of each vehicle, estimated from its updates; NaN where it sent none yet."""
    truth: Floats | None = None
    """(N,) in a study only: seconds after which each update would arrive, infinite where it would not. The oracle
    alone looks at it."""


class Selector(Protocol):
    """Chooses the cohort of a round."""

    def __call__(self, candidates: Candidates) -> Ints:
        """Ids of at most ``candidates.count`` distinct vehicles, best first; fewer when fewer are eligible."""
        ...


def compute_utility(candidates: Candidates) -> Floats:
    """Utility (N,) of eq. 10: U = [ α r / R_max + (1 - α) f / F_max ] ρ.

    r: forecast rate, f: forecast cycles per second, ρ: reputation. R_max and F_max, "the largest reachable in
    the network", are the largest forecast among the eligible vehicles. Zero for who is not eligible.
    """
    eligible = is_eligible(candidates)
    rate, cpu_hz = candidates.forecasts.rate, candidates.forecasts.cpu_hz
    capacity = candidates.balance * _share(rate, eligible) + (1 - candidates.balance) * _share(
        cpu_hz, eligible
    )
    return capacity * np.where(eligible, candidates.reputation, 0.0)


def is_eligible(candidates: Candidates) -> Bools:
    """(N,) Algorithm 1, line 1: known to the twin, attested, in service, and of sufficient reputation."""
    forecasts = candidates.forecasts
    able = forecasts.known & forecasts.attested & (forecasts.edge_server >= 0)
    return able & (candidates.reputation >= candidates.rho_min)


def utility(candidates: Candidates) -> Ints:
    """DTB-FL, Algorithm 1: the K eligible vehicles of the largest utility, ties by id."""
    return _best(compute_utility(candidates), is_eligible(candidates), candidates)


def finish_reputation(candidates: Candidates) -> Ints:
    """The K eligible vehicles of the largest finish probability times reputation; ties by utility, then id.

    Probabilities are compared in steps of 0.01: finer differences are noise of the forecast.
    """
    probability = np.round(candidates.forecasts.finish_probability, 2)
    order = probability * candidates.reputation
    return _best(order, is_eligible(candidates), candidates, second=compute_utility(candidates))


def reactive(candidates: Candidates) -> Ints:
    """VEC-FL: the K best uplink rates as measured now, whoever it is."""
    rate = candidates.forecasts.measured_rate
    return _best(rate, _in_service(candidates) & (rate > 0.0), candidates)


def random(candidates: Candidates) -> Ints:
    """FedAvg: any K of the vehicles in service."""
    return _best(_dice(candidates), _in_service(candidates), candidates)


def random_reputable(candidates: Candidates) -> Ints:
    """BC-FL: any K of the vehicles in service with sufficient reputation."""
    reputable = candidates.reputation >= candidates.rho_min
    return _best(_dice(candidates), _in_service(candidates) & reputable, candidates)


def oracle(candidates: Candidates) -> Ints:
    """For study: of the eligible, the K that will finish, the soonest first; the others after them.

    Raises:
        UserError: nobody told what will happen, as in every run that is no study.
    """
    truth = candidates.truth
    if truth is None:
        raise UserError(
            "round.selector = 'oracle': it knows the future, so it is for studies with traffic whose future can be "
            "told; allowed: round.selector = 'oracle' together with roads.engine = 'walker'"
        )
    return _best(-truth, is_eligible(candidates), candidates)


SELECTORS: dict[str, Selector] = {
    "utility": utility,
    "finish_reputation": finish_reputation,
    "reactive": reactive,
    "random": random,
    "random_reputable": random_reputable,
    "oracle": oracle,
}
BASELINE_SELECTORS = frozenset({"reactive", "random", "random_reputable"})
"""What DTB-FL is compared with: methods that select by them do so as they are."""
STUDY_SELECTORS = frozenset({"oracle"})
"""They are told what will happen: for studies, never for a run whose results count."""


def find_selector(name: str) -> Selector:
    """The selector of that name, ours or an installed package's.

    Raises:
        UserError: there is none; the message says what there is.
    """
    if name in SELECTORS:
        return SELECTORS[name]
    plugins = {point.name: point for point in entry_points(group="platoon.selectors")}
    if name in plugins:
        try:
            selector: Selector = plugins[name].load()
        except Exception as error:
            raise UserError(f"selector = {name!r}: {plugins[name].value} does not load ({error})") from error
        return selector
    raise UserError(f"selector = {name!r}: unknown; {did_you_mean(name, [*SELECTORS, *sorted(plugins)])}")


def guard_selector(name: str) -> Selector:
    """The selector of that name; what a plug-in does wrong is said by its name, not by a traceback.

    Raises:
        UserError: as ``find_selector``; and, when it is called, where a plug-in raises or does not give at most K
            distinct rows of vehicles in service.
    """
    selector = find_selector(name)
    if name in SELECTORS:
        return selector

    def guarded(candidates: Candidates) -> Ints:
        try:
            chosen = np.asarray(selector(candidates))
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"selector = {name!r}: raised {type(error).__name__} ({error}) in round {candidates.round}"
            ) from error
        if (fault := find_fault(chosen, candidates)) is not None:
            raise UserError(f"selector = {name!r}: {fault} in round {candidates.round}")
        return chosen.astype(np.int64)

    return guarded


def find_fault(chosen: NDArray[Any], candidates: Candidates) -> str | None:
    """What is wrong with a selector's answer, or None."""
    if chosen.ndim != 1 or (len(chosen) and not np.issubdtype(chosen.dtype, np.integer)):
        return "gave no row of whole numbers"
    if len(chosen) > candidates.count:
        return f"chose {len(chosen)} vehicles; allowed: at most {candidates.count}"
    if len(set(chosen.tolist())) < len(chosen):
        return "chose a vehicle twice"
    if ((chosen < 0) | (chosen >= len(candidates.reputation))).any():
        return f"chose a vehicle that is not there; allowed: 0 to {len(candidates.reputation) - 1}"
    if (candidates.forecasts.edge_server[chosen.astype(np.int64)] < 0).any():
        return "chose a vehicle out of service"
    return None


def probationers(  # noqa: PLR0917
    reputation: Floats, rho_min: float, last_asked: Ints, slots: int, forecasts: Forecasts, round_number: int
) -> Ints:
    """Excluded vehicles that are scored this round without being merged, ids (<= slots).

    Of those below ``rho_min`` that could take part (known, attested, in service), two queues take turns. In one
    stands first who waits longest since it was last asked (``last_asked`` (N,), ``NEVER`` first), so that everybody
    is asked in the end, ties by id. In the other stands first who lost least, behind it who was asked in the last
    ``RETRY`` rounds: whoever was accused by mistake soon comes back, however many attackers wait beside it, and
    who stays silent goes to the end of both. Without this an excluded vehicle is never scored again and cannot
    recover.
    """
    able = forecasts.known & forecasts.attested & (forecasts.edge_server >= 0)
    rows = np.flatnonzero(able & (reputation < rho_min))
    waiting = rows[np.argsort(last_asked[rows], kind="stable")]
    just_asked = (last_asked[rows] != NEVER) & (last_asked[rows] >= round_number - RETRY)
    promising = rows[np.lexsort((last_asked[rows], -reputation[rows], just_asked))]
    queues = (promising, waiting) if round_number % 2 == 0 else (waiting, promising)
    order = np.stack(queues, axis=1).ravel()
    _, first = np.unique(order, return_index=True)
    return order[np.sort(first)][:slots]


def _best(value: Floats, eligible: Bools, candidates: Candidates, second: Floats | None = None) -> Ints:
    """The ``count`` eligible rows that rest no longer, by value, then by ``second``, then by id."""
    rested = np.where(
        candidates.last_chosen == NEVER, candidates.rest_rounds, candidates.round - candidates.last_chosen - 1
    )
    still_resting = np.maximum(candidates.rest_rounds - rested, 0)
    rows = np.flatnonzero(eligible)
    keys = [-value[rows], still_resting[rows]]
    if second is not None:
        keys.insert(0, -second[rows])
    return rows[np.lexsort(keys)][: candidates.count]


def _in_service(candidates: Candidates) -> Bools:
    return candidates.forecasts.edge_server >= 0


def _dice(candidates: Candidates) -> Floats:
    """A throw per vehicle of the fleet, so that who is in service changes nobody else's dice."""
    return candidates.rng.random(len(candidates.reputation))


def _share(value: Floats, eligible: Bools) -> Floats:
    """Value over its largest among the eligible; zero where nobody has any."""
    largest = float(np.max(value, initial=0.0, where=eligible & np.isfinite(value)))
    return (
        np.where(eligible & np.isfinite(value), value, 0.0) / largest
        if largest > 0.0
        else np.zeros(len(value))
    )
