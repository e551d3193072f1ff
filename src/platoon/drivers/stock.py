"""What simulated vehicles answer a task's request with: what they have, and how edge servers have served them.

A vehicle claims a clock (``Processors.claimed_hz``: it boasts), its samples and its uplink's rate. Its opinion of
an edge server is the share of the seconds before the task in which that one served it. All of it is a claim: the
twin measures what vehicles have, and no opinion moves a reputation.
"""

from collections.abc import Mapping

import numpy as np

from platoon.nouns import MILLION, EdgeServerId, Floats, Ints, VehicleId
from platoon.protocol.effects import Stock
from platoon.protocol.messages import Peer, edge_server_peer
from platoon.records.agreements import MOST_OPINIONS, Opinion
from platoon.records.signing import Account
from platoon.world.world import World


def take_stocks(
    world: World, accounts: Mapping[Peer, Account], samples: Ints, served: Floats
) -> dict[VehicleId, Stock]:
    """Every vehicle's. ``samples``: (N,); ``served``: (N, R) share of the seconds watched in which each RSU served
    each vehicle."""
    positions, serving = world.positions(), world.serving()
    snr = world.channel.snr_db(positions)[np.arange(len(serving)), serving]
    rates = np.where(serving >= 0, world.channel.rate(snr), 0.0)
    return {
        VehicleId(i): Stock(
            clock=round(float(world.processors.claimed_hz[i])),
            samples=int(samples[i]),
            rate=round(float(rates[i])),
            opinions=_form_opinions(served[i], accounts),
        )
        for i in range(len(serving))
    }


def _form_opinions(shares: Floats, accounts: Mapping[Peer, Account]) -> tuple[Opinion, ...]:
    """Of the edge servers that served the vehicle at all, the most first."""
    best = [i for i in np.argsort(-shares, kind="stable")[:MOST_OPINIONS].tolist() if shares[i] > 0]
    opinions = [
        Opinion(
            subject=accounts[edge_server_peer(EdgeServerId(i))].address,
            reputation=round(float(shares[i]) * MILLION),
        )
        for i in best
    ]
    return tuple(sorted(opinions, key=lambda opinion: opinion.subject))
