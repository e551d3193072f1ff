"""Changes of pseudonym: after every so many rounds, the vehicles that were seen in them go on under other accounts.

They change together, so that whoever sees only who was recorded cannot tell which new account was which old one. A
vehicle that does not answer, or whose change is faulty, keeps its account; nothing else depends on it.
"""

from collections.abc import Mapping
from dataclasses import replace

from platoon.nouns import Address, Instant, VehicleId
from platoon.protocol.checks import check_renewal
from platoon.protocol.effects import Accounts, Consult, Steps, Unseal
from platoon.protocol.gather import Answer, gather
from platoon.protocol.messages import RENEW, Peer, RenewReply, RenewRequest, RotateRequest
from platoon.protocol.phases import lead, seal_all
from platoon.protocol.round_records import Settled
from platoon.protocol.task_rules import TaskRules, TaskState
from platoon.records.identity import Rotation, check_rotation

MOST = 128
"""Changes that the Registry takes at once."""


def renew(rules: TaskRules, state: TaskState, settled: Settled) -> Steps[Settled]:
    """After a settled round, where it is time: ask whoever was seen, and bring the changes to the Registry."""
    every = rules.pseudonym_rounds
    if every == 0 or state.round % every != 0:
        return settled
    cohort = settled.merged.judged.recorded.arrivals.cohort
    seen = {VehicleId(i) for i, last in enumerate(state.last_chosen) if last > state.round - every}
    asked = sorted({*cohort.vehicles, *seen})[:MOST]
    accounts = yield Consult(question=Accounts())
    packets = yield from seal_all(rules, state.round, asked, RENEW)
    gathered = yield from gather(
        {peer: RenewRequest(round=state.round, packet=packet) for peer, packet in packets.items()},
        now=settled.now,
        until=Instant(settled.now + rules.patience),
        retry_every=rules.retry_every,
        check=lambda _, reply: check_renewal(state.round, reply),
    )
    rotations = yield from _open(rules, state.round, accounts, gathered.answers)
    if not rotations:
        return replace(settled, now=gathered.now)
    request = RotateRequest(round=state.round, rotations=rotations)
    now = yield from lead(rules, gathered.now, state.round, request)
    return replace(settled, now=now)


def _open(
    rules: TaskRules, round_number: int, accounts: tuple[Address, ...], answers: Mapping[Peer, Answer]
) -> Steps[tuple[Rotation, ...]]:
    """The genuine changes among the answers."""
    rotations = []
    for peer, answer in answers.items():
        assert isinstance(answer.reply, RenewReply)  # as the check saw to
        mine, packet = accounts[peer.number], answer.reply.packet
        content = yield Unseal(task=rules.task, round=round_number, packet=packet, sender=mine)
        rotation = read_rotation(rules, mine, content)
        if isinstance(rotation, Rotation):
            rotations.append(rotation)
    return tuple(rotations)


def read_rotation(rules: TaskRules, account: Address, content: bytes | str) -> Rotation | str:
    """The change of pseudonym in an opened reply of the vehicle that uses ``account``, or what is wrong with it."""
    if isinstance(content, str):
        return content
    try:
        rotation = Rotation.decode(content)
    except ValueError as error:
        return str(error)
    if rotation.retired != account:
        return "a change of another vehicle's pseudonym"
    return check_rotation(rules.registry, rotation) or rotation
