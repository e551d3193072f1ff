"""How a task comes about: the publisher's request, the vehicles' responses, orders of payment. Signed typed data.

Two-layer's registration step: a publisher sends edge servers what the task is and needs; receivers check it against
its key; vehicles answer with what they have and with what they think of others; payments are ordered and signed.
Each is an EIP-712 structure in the domain of a Registry, where the signers are registered, and each ``check_`` says
what is wrong with one, or None. Whether the signer has the role that it acts in, the Registry alone knows.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from platoon.nouns import MILLION, Address, Digest, Instant
from platoon.records.encoding import compute_content_digest, encode_word, keccak
from platoon.records.signing import Account, recover

_REQUEST_TYPE = keccak(
    b"TaskRequest(address publisher,bytes32 content,uint64 vehicles,uint64 samples,uint64 cycles,"
    b"uint64 deadline,uint64 budget,uint64 serial)"
)
_OPINION_TYPE = keccak(b"Opinion(address subject,uint64 reputation)")
_RESPONSE_TYPE = keccak(
    b"TaskResponse(bytes32 request,address vehicle,uint64 clock,uint64 samples,uint64 rate,Opinion[] opinions)"
    b"Opinion(address subject,uint64 reputation)"
)
_PAYMENT_TYPE = keccak(
    b"Payment(bytes32 request,address payer,address receiver,uint64 amount,uint64 round,uint64 serial)"
)
_MAX_NUMBER = 2**63 - 1
MOST_OPINIONS = 4
"""In one response: what a contract takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """What a publisher wants learned."""

    publisher: Address
    content: Digest
    """SHA-256 of the task's description (a scenario, for one), which travels beside."""
    vehicles: int
    """Participants of a round."""
    samples: int
    """Least size of a local data set."""
    cycles: int
    """Of a processor, per sample and epoch."""
    deadline: Instant
    """Responses count until then."""
    budget: int
    """10^-6 token, to be put in escrow."""
    serial: int
    """The publisher gives each number once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one vehicle thinks of another."""

    subject: Address
    reputation: int
    """ppm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResponse:
    """What a vehicle has to offer. All of it is a claim; the twin measures."""

    request: Digest
    """Digest of the request that it answers."""
    vehicle: Address
    clock: int
    """Cycles per second."""
    samples: int
    rate: int
    """Uplink, bit/s."""
    opinions: tuple[Opinion, ...]
    """Ascending by subject, never of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """An order to pay."""

    request: Digest
    payer: Address
    receiver: Address
    amount: int
    """10^-6 token."""
    round: int
    serial: int
    """The payer gives each number once."""


Agreement = TaskRequest | TaskResponse | Payment
Kind = TypeVar("Kind", TaskRequest, TaskResponse, Payment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(Generic[Kind]):
    """An agreement as it travels."""

    agreement: Kind
    signature: bytes
    """65 bytes, of the publisher, the vehicle or the payer that it names."""


def compute_agreement_digest(separator: Digest, agreement: Agreement) -> Digest:
    """What its author signs; ``separator`` is that of the Registry's domain.

    Raises:
        ValueError: a number that is negative or above 2^63 - 1.
    """
    match agreement:
        case TaskRequest():
            numbers: tuple[int, ...] = (agreement.vehicles, agreement.samples, agreement.cycles)
            numbers += (agreement.deadline, agreement.budget, agreement.serial)
            words = [_REQUEST_TYPE, agreement.publisher, agreement.content, *map(_encode_number, numbers)]
        case TaskResponse():
            numbers = (agreement.clock, agreement.samples, agreement.rate)
            opinions = keccak(b"".join([_hash_opinion(opinion) for opinion in agreement.opinions]))
            words = [
                _RESPONSE_TYPE,
                agreement.request,
                agreement.vehicle,
                *map(_encode_number, numbers),
                opinions,
            ]
        case Payment():
            numbers = (agreement.amount, agreement.round, agreement.serial)
            parties = (agreement.payer, agreement.receiver)
            words = [_PAYMENT_TYPE, agreement.request, *parties, *map(_encode_number, numbers)]
    return keccak(b"\x19\x01" + separator + keccak(b"".join([encode_word(word) for word in words])))


def _encode_number(value: int) -> bytes:
    if not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"a number out of bounds: {value}; allowed: 0 to 2^63 - 1")
    return encode_word(value)


def _hash_opinion(opinion: Opinion) -> Digest:
    return keccak(_OPINION_TYPE + encode_word(opinion.subject) + _encode_number(opinion.reputation))


def sign_agreement(account: Account, separator: Digest, agreement: Agreement) -> bytes:
    """The author's signature."""
    return account.sign(compute_agreement_digest(separator, agreement))


def check_request(
    separator: Digest, request: TaskRequest, signature: bytes, content: bytes, now: Instant
) -> str | None:
    """What is wrong with a request and the description that came with it, or None."""
    if compute_content_digest(content) != request.content:
        return "its content is not what was signed"
    if request.vehicles < 1 or request.deadline <= now:
        return "asks for nobody" if request.vehicles < 1 else "its deadline is over"
    return _check_signer(separator, request, request.publisher, signature)


def check_response(
    separator: Digest, response: TaskResponse, signature: bytes, request: TaskRequest
) -> str | None:
    """What is wrong with a response to a request, or None."""
    if response.request != compute_agreement_digest(separator, request):
        return "answers another request"
    if response.samples < request.samples:
        return f"offers {response.samples} samples, {request.samples} are needed"
    fault = _find_opinion_fault(response)
    return fault or _check_signer(separator, response, response.vehicle, signature)


def _find_opinion_fault(response: TaskResponse) -> str | None:
    subjects = [opinion.subject for opinion in response.opinions]
    if len(subjects) > MOST_OPINIONS:
        return f"{len(subjects)} opinions, {MOST_OPINIONS} are taken"
    if subjects != sorted(set(subjects)):
        return "opinions not ascending"
    if response.vehicle in subjects:
        return "an opinion of itself"
    if any(not 0 <= opinion.reputation <= MILLION for opinion in response.opinions):
        return "reputation out of bounds"
    return None


def check_payment(separator: Digest, payment: Payment, signature: bytes, request: TaskRequest) -> str | None:
    """What is wrong with an order to pay for a request, or None; a serial is used once, as the payee sees to."""
    if payment.request != compute_agreement_digest(separator, request):
        return "pays for another request"
    if payment.payer != request.publisher:
        return "not the publisher's"
    if not 0 < payment.amount <= request.budget:
        return "amount out of bounds"
    return _check_signer(separator, payment, payment.payer, signature)


def _check_signer(separator: Digest, agreement: Agreement, author: Address, signature: bytes) -> str | None:
    try:
        digest = compute_agreement_digest(separator, agreement)
    except ValueError as error:
        return str(error)
    return None if recover(digest, signature) == author else "bad signature"
