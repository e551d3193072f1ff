"""The calibrated task of DTB-FL 3.2.3: a challenge that only work answers, its answer, and its check.

The task is a chain of SHA-256: each link hashes the one before, so that no number of processors is faster than
one, and every link costs the same. It starts from a hash of task, edge server, round, attempt, the vehicle's
account and a nonce that the edge server draws when it asks: nothing can be computed before, and what another
vehicle computed, or this one for another attempt, is of no use. The vehicle hands over marks along the chain and
signs them.

The check is by sample: an edge server computes a few segments between marks anew, chosen after it has the answer.
Who left out f of the ``MARKS`` segments of a chain passes k checks with probability C(MARKS - f, k) / C(MARKS,
k). All segments are the known answer.

What it cannot tell is *whose* processor answered: an accomplice may, if the vehicle gives it its key or relays.
That costs the accomplice's round trip, and the deadline bounds it (docs/twin.md).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from platoon.nouns import Address, Digest
from platoon.records.encoding import encode_word, keccak
from platoon.records.signing import Account, recover

MARKS = 16
"""Marks along a chain, the last of them its end."""
_CHALLENGE_TYPE = keccak(
    b"Challenge(bytes32 task,address edgeServer,address vehicle,"
    b"uint64 round,uint64 attempt,uint64 steps,bytes32 nonce)"
)
_ATTESTATION_TYPE = keccak(b"Attestation(bytes32[] challenges,bytes32[] marks)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One calibrated task for one vehicle."""

    task: Digest
    edge_server: Address
    vehicle: Address
    round: int
    attempt: int
    """Best of several counts: each has its own nonce."""
    steps: int
    """Hashes in the chain: a multiple of ``MARKS``."""
    nonce: bytes
    """32 bytes, drawn by the edge server when it asks."""

    @property
    def start(self) -> Digest:
        """Where the chain starts; raises ``ValueError`` for a number out of bounds or a nonce of another length."""
        if (
            self.steps < MARKS
            or self.steps % MARKS
            or len(self.nonce) != 32
            or min(self.round, self.attempt) < 0
        ):
            raise ValueError(f"no challenge: {self}")
        numbers = (self.round, self.attempt, self.steps)
        words = (_CHALLENGE_TYPE, self.task, self.edge_server, self.vehicle, *numbers, self.nonce)
        return keccak(b"".join([encode_word(word) for word in words]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAnswers:
    """What a vehicle sends back for the attempts of one attestation."""

    marks: tuple[tuple[bytes, ...], ...]
    """For each attempt ``MARKS`` links of its chain, evenly spaced, the end last."""
    signature: bytes
    """65 bytes, of the vehicle, over challenges and marks."""


def compute_marks(challenge: Challenge) -> tuple[bytes, ...]:
    """Do the task."""
    return _mark(challenge.start, challenge.steps)


def answer_challenges(account: Account, challenges: Sequence[Challenge]) -> SignedAnswers:
    """Do every attempt, and sign."""
    starts = [challenge.start for challenge in challenges]
    marks = tuple(_mark(start, each.steps) for start, each in zip(starts, challenges, strict=True))
    digest = compute_answers_digest(challenges[0].task, starts, marks)
    return SignedAnswers(marks=marks, signature=account.sign(digest))


def check_answers(
    challenges: Sequence[Challenge], answers: SignedAnswers, segments: Iterable[int] = range(MARKS)
) -> str | None:
    """What is wrong with the answers to one vehicle's challenges, or None.

    ``segments`` are those to compute anew in every chain, drawn by the edge server after the answer came; all of
    them make the check exact.
    """
    chosen = sorted(set(segments))
    if len(answers.marks) != len(challenges) or any(len(marks) != MARKS for marks in answers.marks):
        return "not an answer to every challenge"
    starts = [challenge.start for challenge in challenges]
    digest = compute_answers_digest(challenges[0].task, starts, answers.marks)
    if recover(digest, answers.signature) != challenges[0].vehicle:
        return "bad signature"
    for challenge, start, marks in zip(challenges, starts, answers.marks, strict=True):
        links = (bytes(start), *marks)
        if any(_walk(links[k], challenge.steps // MARKS) != links[k + 1] for k in chosen):
            return "wrong answer"
    return None


def compute_answers_digest(
    task: Digest, starts: Sequence[Digest], marks: Sequence[Sequence[bytes]]
) -> Digest:
    """What a vehicle signs: the task, where its chains started, and all marks along them."""
    begun = keccak(b"".join(starts))
    done = keccak(b"".join([link for chain in marks for link in chain]))
    return keccak(b"\x19\x01" + task + keccak(_ATTESTATION_TYPE + begun + done))


def _walk(link: bytes, steps: int) -> bytes:
    for _ in range(steps):
        link = hashlib.sha256(link).digest()
    return link


def _mark(start: Digest, steps: int) -> tuple[bytes, ...]:
    link, marks = bytes(start), []
    for _ in range(MARKS):
        link = _walk(link, steps // MARKS)
        marks.append(link)
    return tuple(marks)
