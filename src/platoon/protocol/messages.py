"""What the parties of a round say to each other. Every message names its round, so that a late or repeated one
is recognised; every reply is signed by its sender or is a signed transaction."""

from dataclasses import dataclass
from typing import Literal

from platoon.nouns import Address, Digest, EdgeServerId, Instant, SignedUpdate, VehicleId
from platoon.records.agreements import Payment, Signed, TaskRequest, TaskResponse
from platoon.records.identity import Rotation
from platoon.records.local_block import LocalBlock


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Peer:
    """One party: the coordinator of the task, its publisher, an edge server, or a vehicle."""

    role: Literal["coordinator", "publisher", "edge server", "vehicle"]
    number: int


COORDINATOR = Peer(role="coordinator", number=0)
PUBLISHER = Peer(role="publisher", number=0)
SETUP = 0
"""The round of what is said before the first one."""


def edge_server_peer(edge_server: EdgeServerId) -> Peer:
    """The edge server as a party."""
    return Peer(role="edge server", number=edge_server)


def vehicle_peer(vehicle: VehicleId) -> Peer:
    """The vehicle as a party."""
    return Peer(role="vehicle", number=vehicle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A publisher's request, and the description whose digest it carries."""

    signed: Signed[TaskRequest]
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRequest:
    """To the publisher: say what you want learned."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferReply:
    """A publisher's offer."""

    round: int
    offer: Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """Bring this offer to the task's chain."""

    round: int
    offer: Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """Serve this task, if you find its offer in order."""

    round: int
    offer: Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    """To a vehicle: a task is offered; answer with what you have, and with what you think of others."""

    round: int
    offer: Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseReply:
    """A vehicle's signed answer."""

    round: int
    signed: Signed[TaskResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class RespondRequest:
    """Bring these answers of vehicles to the task's chain."""

    round: int
    responses: tuple[Signed[TaskResponse], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """To the publisher: your task has who it needs; order its payments."""

    round: int
    request: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReply:
    """A publisher's signed orders."""

    round: int
    orders: tuple[Signed[Payment], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayRequest:
    """Bring these orders to the task's chain."""

    round: int
    orders: tuple[Signed[Payment], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """Do what the packet says: train a model, and send the update before its deadline."""

    round: int
    """In clear, so that a late request is passed over; the packet binds it."""
    packet: bytes
    """A ``platoon.records.sealed.TaskOrder``, sealed to the vehicle by the coordinator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReply:
    """A vehicle's signed update, as it reached an edge server."""

    round: int
    signed: SignedUpdate
    edge_server: EdgeServerId | None = None
    """The edge server that received it; the network fills it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRequest:
    """You are of the round's committee of an edge server: check its local block, and sign it."""

    round: int
    block: LocalBlock
    updates: tuple[SignedUpdate, ...]
    """All that the block holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReply:
    """A committee member's signature of a local block."""

    round: int
    edge_server: Address
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSeals:
    """What a committee has signed, for its edge server; empty where no quorum of it did."""

    vehicles: tuple[Address, ...] = ()
    """The committee without the edge server, ascending."""
    seals: tuple[bytes, ...] = ()
    """Ascending by signer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewRequest:
    """Go on under a new pseudonym."""

    round: int
    packet: bytes
    """``RENEW``, sealed to the vehicle by the coordinator."""


RENEW = b"renew"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewReply:
    """A vehicle's new pseudonym."""

    round: int
    packet: bytes
    """A ``platoon.records.identity.Rotation``, sealed to the coordinator: nobody on the way learns the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalReply:
    """A vehicle did not do what it was asked."""

    round: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateRequest:
    """Bring these changes of pseudonym to the Registry."""

    round: int
    rotations: tuple[Rotation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """Record these updates, which reached you, on the task's chain, and anchor your local block of them."""

    round: int
    updates: tuple[SignedUpdate, ...]
    local: LocalSeals = LocalSeals()


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
class AppealRequest:
    """You were flagged: you may appeal."""

    round: int
    case: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRequest:
    """Judge a case a second time."""

    round: int
    """That is being played, not that of the case."""
    case: int
    since: Instant
    """What was measured after it is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionReply:
    """The signed transaction of an edge server, or of a vehicle that appeals, in answer to a request."""

    round: int
    answers: str
    """Name of the request's type."""
    transaction: bytes
    further: tuple[bytes, ...] = ()
    """Transactions of the same account that follow it in this order."""


Request = (
    OfferRequest
    | PublishRequest
    | JoinRequest
    | AnswerRequest
    | RespondRequest
    | OrderRequest
    | PayRequest
    | TrainRequest
    | SealRequest
    | RecordRequest
    | ScoreRequest
    | JudgeRequest
    | MergeRequest
    | SettleRequest
    | RenewRequest
    | RotateRequest
    | AppealRequest
    | ReviewRequest
)
Reply = (
    OfferReply
    | ResponseReply
    | OrderReply
    | UpdateReply
    | SealReply
    | TransactionReply
    | RenewReply
    | RefusalReply
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request or a reply under way."""

    sender: Peer
    receiver: Peer
    body: Request | Reply
