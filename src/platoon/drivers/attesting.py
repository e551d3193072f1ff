"""Attestation in a simulation: edge servers ask, vehicles really hash and sign, edge servers really check.

Times come from the world, at each vehicle's true speed; the chains are short, and each of their steps stands for a
share of ``twin.attestation_cycles``. Whoever's answer is wrong has not passed, however fast it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from platoon.nouns import Address, Attestations, Bools, Digest, EdgeServerId, Instant, Ints, VehicleId
from platoon.protocol.messages import Peer, edge_server_peer, vehicle_peer
from platoon.records.attestation import MARKS, Challenge, SignedAnswers, answer_challenges, check_answers
from platoon.records.signing import Account
from platoon.rng import stream, stream_bytes
from platoon.scenario import Scenario
from platoon.twin.compute import find_overclaims
from platoon.twin.twin import Twin
from platoon.world.sensing import ATTEMPTS
from platoon.world.world import World

SEGMENTS = 6
"""Of the 16 segments of a chain an edge server computes so many anew: who left out half of one chain passes in 3 of
1000 cases, who left out a quarter in 12 of 100."""

AnswerTo = Callable[[Account, Sequence[Challenge]], SignedAnswers]
"""How a vehicle answers; an honest one by ``answer_challenges``."""


def attest(
    scenario: Scenario,
    world: World,
    accounts: Mapping[Peer, Account],
    task: Digest,
    vehicles: Ints,
    *,
    round: int,
    answer: AnswerTo = answer_challenges,
) -> Attestations:
    """Ask these vehicles, as far as an edge server serves them; passed is who was right, and in time."""
    timed = world.attest(vehicles)
    serving = world.serving()
    right = np.zeros(len(timed.asked), dtype=np.bool_)
    for vehicle in np.flatnonzero(timed.passed):
        server = accounts[edge_server_peer(EdgeServerId(int(serving[vehicle])))].address
        account = accounts[vehicle_peer(VehicleId(int(vehicle)))]
        asked = make_challenges(
            scenario, task, server, account.address, round=round, at=world.now, vehicle=int(vehicle)
        )
        segments = stream(scenario.seed, "segments", world.now, int(vehicle)).choice(
            MARKS, SEGMENTS, replace=False
        )
        right[vehicle] = check_answers(asked, answer(account, asked), segments.tolist()) is None
    passed = timed.passed & right
    return replace(timed, passed=passed, cpu_hz=np.where(passed, timed.cpu_hz, np.nan))


def make_challenges(
    scenario: Scenario,
    task: Digest,
    edge_server: Address,
    account: Address,
    *,
    round: int,
    at: Instant,
    vehicle: int,
) -> list[Challenge]:
    """The attempts of one attestation, each with a nonce of its own."""
    return [
        Challenge(
            task=task,
            edge_server=edge_server,
            vehicle=account,
            round=round,
            attempt=attempt,
            steps=scenario.twin.attestation_steps,
            nonce=stream_bytes(scenario.seed, "attestation nonce", at, vehicle, attempt),
        )
        for attempt in range(ATTEMPTS)
    ]


def find_honest_claims(scenario: Scenario, twin: Twin, world: World) -> Bools:
    """(N,) who has not been caught claiming a faster processor than it attests."""
    claimed = world.processors.claimed_hz
    return ~find_overclaims(twin.attested_hz(), claimed, scenario.twin.claim_tolerance)
