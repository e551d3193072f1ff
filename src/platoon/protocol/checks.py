"""What is wrong with a peer's reply: a value that the round keeps, never an error of ours (STYLE 5)."""

from platoon.protocol.gather import NOT_MINE
from platoon.protocol.messages import Peer, TransactionReply, UpdateReply
from platoon.protocol.rules import TaskRules
from platoon.records.signing import recover_update_signer


def check_update(rules: TaskRules, round_number: int, peer: Peer, reply: object) -> str | None:
    """The fault of a vehicle's reply to a train request, or None.

    Refused are an update of another task, one whose sample count is not the registered one, and one that the
    vehicle itself did not sign; a reply of another round is passed over.
    """
    if not isinstance(reply, UpdateReply) or reply.round != round_number:
        return NOT_MINE
    signed = reply.signed
    if signed.round != round_number or signed.task != rules.task:
        return "signed for another round or task"
    if signed.vehicle != rules.vehicles[peer.number]:
        return "signed as another vehicle"
    if signed.samples != int(rules.samples[peer.number]):
        return f"claims {signed.samples} samples, registered are {int(rules.samples[peer.number])}"
    if recover_update_signer(signed) != signed.vehicle:
        return "bad signature"
    return None


def check_transaction(round_number: int, kind: str, reply: object) -> str | None:
    """The fault of an edge server's reply, or None; what the transaction does is for the contract to judge."""
    if not isinstance(reply, TransactionReply) or (reply.round, reply.answers) != (round_number, kind):
        return NOT_MINE
    return None
