"""What the parties of a round say to each other. Every message names its round, so that a late or repeated one
is recognised; every reply is signed by its sender or is a signed transaction."""

from dataclasses import dataclass
from typing import Literal

from platoon.nouns import Digest, EdgeServerId, SignedUpdate, VehicleId


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Peer:
    """One party: the coordinator of the task, an edge server, or a vehicle."""

    role: Literal["coordinator", "edge server", "vehicle"]
    number: int


COORDINATOR = Peer(role="coordinator", number=0)


def edge_server_peer(edge_server: EdgeServerId) -> Peer:
    """The edge server as a party."""
    return Peer(role="edge server", number=edge_server)


def vehicle_peer(vehicle: VehicleId) -> Peer:
    """The vehicle as a party."""
    return Peer(role="vehicle", number=vehicle)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """Train this model and send your update before the round's deadline."""

    round: int
    model: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReply:
    """A vehicle's signed update, as it reached an edge server."""

    round: int
    signed: SignedUpdate
    edge_server: EdgeServerId | None = None
    """The edge server that received it; the network fills it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """Record these updates, which reached you, on the task's chain."""

    round: int
    updates: tuple[SignedUpdate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """Judge all recorded updates of the round on your probe set."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRequest:
    """Have the contract take the medians."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """Aggregate by yourself from what is on record, and vote the digest."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleRequest:
    """Have the contracts settle the round."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionReply:
    """An edge server's signed transaction, in answer to a request of the round."""

    round: int
    answers: str
    """Name of the request's type."""
    transaction: bytes


Request = TrainRequest | RecordRequest | ScoreRequest | JudgeRequest | MergeRequest | SettleRequest
Reply = UpdateReply | TransactionReply


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request or a reply under way."""

    sender: Peer
    receiver: Peer
    body: Request | Reply
