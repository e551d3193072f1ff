"""Effects and events: the only way in which the protocol meets the world.

Protocol code is generators. What costs time, bytes or I/O is an effect that they yield; a driver carries it out
and sends the answer back (h11 and dask's worker state machine are the models). Effects are imperative, events
past tense. Nothing here knows a clock: time comes with the events.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from platoon.ledger.task_chain import Call, Receipt
from platoon.nouns import Address, Digest, Duration, EdgeServerId, Instant, Outcomes, VehicleId
from platoon.protocol.messages import Message, Peer
from platoon.records.agreements import Agreement, Opinion
from platoon.records.local_block import LocalBlock

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Put messages on the network, which may lose, delay, repeat and reorder them. Answer: None."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Wait for the next message, at most until an instant. Answer: ``Received`` or ``TimeReached``."""

    until: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Wait for the next message, however long it takes (vehicles, edge servers). Answer: ``Received``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message arrived."""

    message: Message
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeReached:
    """Nothing arrived until the instant that was waited for."""

    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Ask the twin what it expects of the fleet. Answer: ``platoon.nouns.Forecasts``."""

    horizon: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretell:
    """In a study: when each vehicle's update would arrive. Answer: seconds (N,), infinite where it would not."""

    horizon: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateLabels:
    """Which labels the senders of these updates have. Answer: shares (K, C), NaN where an update says nothing."""

    updates: tuple[Digest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn:
    """Tell the twin what happened (phase 7). Answer: None."""

    outcomes: Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Sign a contract call as a transaction of the actor's own account. Answer: the transaction's bytes."""

    call: Call
    ahead: int = 0
    """Transactions of this account that were signed before it and are not submitted yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpdate:
    """Sign an update with the vehicle's own key (EIP-712). Answer: ``platoon.nouns.SignedUpdate``."""

    round: int
    digest: Digest
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignBlock:
    """Sign a local block with the actor's own key (EIP-712). Answer: the signature, 65 bytes."""

    block: LocalBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class SignAgreement:
    """Sign a request, a response or an order of payment with the actor's own key (EIP-712). Answer: the signature,
    65 bytes."""

    agreement: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeStock:
    """A vehicle looks at what it has, and at how others have dealt with it. Answer: ``Stock``."""

    vehicle: VehicleId


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What a vehicle says of itself and of others: a claim, which nobody has to believe."""

    clock: int
    """Cycles per second."""
    samples: int
    rate: int
    """Uplink, bit/s."""
    opinions: tuple[Opinion, ...]
    """Ascending by subject, at most ``MOST_OPINIONS``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Encrypt contents to their receivers' keys and sign them with the actor's own. Answer: tuple of bytes.

    Sealing and opening need a private key, so they are effects, as signing is.
    """

    task: Digest
    round: int
    receivers: tuple[Peer, ...]
    contents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseal:
    """Open a message with the actor's own key. Answer: its contents (bytes), or why it is refused (str)."""

    task: Digest
    round: int
    packet: bytes
    sender: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePseudonym:
    """Make a new account and sign the change with the old one and the new. Answer: ``Rotation``. The actor goes on
    under the old one until the Registry has taken the new."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Have the ledger execute signed transactions in this order, as one block. Answer: ``Submitted``."""

    round: int
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The ledger took a block."""

    receipts: tuple[Receipt, ...]
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Consult:
    """Read from the ledger. Answer: what the question's docstring says."""

    question: "Question"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reputations:
    """Reputation of every vehicle, (N,) integers in parts per million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The account that each vehicle uses now: tuple of addresses, by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Whether each vehicle has answered the task's request: (N,) bools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """The recorded updates of a round and, once judged, their verdicts:
    tuple of ``platoon.ledger.task_chain.RecordedUpdate`` in the contract's order."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowLeft:
    """What the publisher's escrow still holds, in 10^-6 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDigest:
    """Digest of the model that a majority voted for in a round, or None without a majority."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalGround:
    """What the round's local blocks stand on: ``platoon.ledger.task_chain.Ground``."""

    vehicles: tuple[Address, ...]
    """Whose standings are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConductOf:
    """What each edge server did in a settled round, by id: tuple of ``platoon.ledger.task_chain.Conduct``."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCases:
    """Clusters that are flagged or under appeal: tuple of ``platoon.ledger.plausibility.Case``, by number."""


Question = (
    Accounts
    | Answered
    | OpenCases
    | Reputations
    | Verdicts
    | EscrowLeft
    | ModelDigest
    | LocalGround
    | ConductOf
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """A vehicle trains the model on its own data and stores its update. Answer: ``Trained``."""

    round: int
    vehicle: VehicleId
    model: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A local training is done; the update lies in the store under its digest."""

    digest: Digest
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """An edge server judges updates on its own probe set. Answer: ``platoon.nouns.Scores``."""

    round: int
    edge_server: EdgeServerId
    model: Digest
    vehicles: tuple[VehicleId, ...]
    """Whose updates they are: two may have the same bytes."""
    updates: tuple[Digest, ...]
    samples: tuple[int, ...]
    """Sizes of the local data sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """Ask the twin who kept company with these vehicles. Answer: ``platoon.twin.company.Company``, these first."""

    vehicles: tuple[VehicleId, ...]
    since: Instant | None = None
    """Only what was measured after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """How alike updates are. Answer: cosines, (K, K) floats."""

    round: int
    """Of the updates."""
    edge_server: EdgeServerId
    updates: tuple[Digest, ...]
    on_probes_with: Digest | None = None
    """Compare what they do to this model on the edge server's own probes, instead of their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Merge updates into a model by integer weights that sum to 2^20, and store it. Answer: its ``Digest``."""

    round: int
    edge_server: EdgeServerId
    model: Digest
    updates: tuple[Digest, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Measure a model on the test set. Answer: accuracy, [0, 1]."""

    model: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRound:
    """Make the round durable: the run's single commit point. Answer: None."""

    state: Any
    record: Any


Effect = (
    Send
    | Wait
    | Listen
    | Forecast
    | Foretell
    | EstimateLabels
    | Learn
    | Sign
    | SignUpdate
    | SignBlock
    | SignAgreement
    | TakeStock
    | Seal
    | Unseal
    | ChangePseudonym
    | Submit
    | Consult
    | Train
    | Score
    | Companions
    | Compare
    | Aggregate
    | Evaluate
    | CommitRound
)

Steps = Generator[Effect, Any, T]
"""A part of the protocol: yields effects, is sent their answers, returns a T."""
