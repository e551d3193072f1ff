"""What will happen, for studies: a copy of the traffic is driven ahead. No run that counts asks for it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from platoon.errors import UserError
from platoon.nouns import SECOND, Floats, Instant, Ints
from platoon.world.traffic import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What every vehicle would have to do."""

    now: Instant
    computed: Ints
    """(N,) instant at which each has trained."""
    bits: float
    """To upload, for the whole band."""
    until: Instant


def copy_traffic(traffic: Traffic, engine: str) -> Traffic:
    """Another traffic with the same future.

    Raises:
        UserError: the traffic is SUMO's, of which there is one in a process.
    """
    if engine == "sumo":
        raise UserError(
            "roads.engine = 'sumo': its future cannot be told, and round.selector = 'oracle' asks for it; "
            "allowed with it: roads.engine = 'walker' or 'trace'"
        )
    return copy.deepcopy(traffic)


def tell_arrivals(traffic: Traffic, rate: Callable[[Floats, Instant], Floats], errand: Errand) -> Floats:
    """(N,) seconds from now to each arrival, second by second; infinite where there is none in time.

    ``traffic`` stands at the next whole second and is driven on; ``rate`` gives bit/s (N, R) at places (N, 2) and
    an instant.
    """
    arrival = np.full(len(errand.computed), np.inf)
    left = np.full(len(errand.computed), errand.bits)
    begin = errand.now
    while begin < errand.until:
        end = Instant(min((begin // SECOND + 1) * SECOND, errand.until))
        fast = np.where(traffic.present, rate(traffic.positions, begin).max(axis=1), 0.0)
        begun = np.maximum(begin, errand.computed)
        sent = fast * np.clip(end - begun, 0, None) / SECOND
        done = np.isinf(arrival) & (sent >= left)
        spent = np.divide(left, fast, out=np.zeros_like(left), where=done)
        arrival = np.where(done, (begun - errand.now) / SECOND + spent, arrival)
        left = np.where(done, np.inf, left - sent)
        begin = end
        traffic.step()
    return arrival
