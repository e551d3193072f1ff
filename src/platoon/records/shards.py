"""Reputations across task chains: what a task chain (a shard) reports of its vehicles, and what follows from all.

A report names a round of the shard and holds a word per vehicle; a quorum of the shard's edge servers signs it, and
``contracts/Shards.vy`` on the main chain takes it. The global reputation is the mean of the shards', each weighted
by the evidence it rests on: who is unknown in a shard has none there. Sources: DESIGN section 6 (reputations are
aggregated across shards on the main chain); that evidence adds up is Josang and Ismail 2002, "The Beta Reputation
System" (15th Bled Electronic Commerce Conference).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from platoon.nouns import MILLION, Address, Digest
from platoon.records.abi import Arguments
from platoon.records.encoding import encode_word, keccak
from platoon.records.rules import MAX_GATHERED, Rule, Rules

MAX_SHARDS = 16
"""Shards that a main chain lists at most, closed ones included."""
MAX_ROWS = 128
"""Vehicles of one report at most; a larger fleet takes several."""
MAX_EVIDENCE = MAX_GATHERED
"""Evidence that a row holds, or a global reputation rests on, at most, ppm of an observation."""
_REPORT_TYPE = keccak(b"Standings(bytes32 task,uint64 round,bytes32 rows)")
_ROWS = Arguments([{"type": "uint256[]"}])
_UINT64 = 2**64


class Reputation(NamedTuple):
    """A reputation, and what it rests on."""

    value: int
    """ppm."""
    evidence: int = 0
    """ppm of one full observation; 0 where nothing was seen."""


class Row(NamedTuple):
    """A vehicle in a shard's report."""

    vehicle: Address
    """The account that it uses on the main chain."""
    reputation: Reputation
    """After the round, on the shard."""


def pack_row(row: Row) -> int:
    """A word of a report: vehicle << 96 | evidence << 32 | reputation."""
    value, evidence = row.reputation
    return int.from_bytes(row.vehicle, "big") << 96 | evidence << 32 | value


def compute_report_digest(task: Digest, round: int, rows: Sequence[int]) -> Digest:
    """What the shard's edge servers sign, in the domain of their own task (EIP-712).

    Raises:
        ValueError: a round that is not a uint64.
    """
    if not 0 <= round < _UINT64:
        raise ValueError(f"round {round}: not a uint64")
    words = (_REPORT_TYPE, task, encode_word(round), keccak(_ROWS.encode([rows])))
    return keccak(b"\x19\x01" + task + keccak(b"".join(words)))


def compute_evidence(rules: Rules, gathered: int) -> int:
    """What the reputation of a vehicle that a shard has judged rests on, ppm of one full observation.

    The evidence rule keeps it: the weights w = e d of the vehicle's updates, older ones discounted (``gathered``,
    as ``compute_next_standing`` leaves it; the start counts for nothing here, so it is in no weight). The rules as
    written and default keep none; a moving average with memory beta rests on something between one observation
    and 1 / (1 - beta), so such a shard speaks with one, of every vehicle alike. Where nothing is scored a
    reputation is the start value that everybody was given, and rests on nothing.

    >>> [compute_evidence(Rules(rule=rule), 2_500_000) for rule in (Rule.EVIDENCE, Rule.DEFAULT, Rule.NONE)]
    [2500000, 1000000, 0]
    """
    if rules.rule is Rule.EVIDENCE:
        return gathered
    return 0 if rules.rule is Rule.NONE else MILLION


def compute_most_counted(rules: Rules) -> int:
    """The evidence of one shard that counts at most, ppm of one observation: what updates as far from the threshold
    as can be gather under these rules. A shard that claims more gains nothing by it.

    >>> compute_most_counted(Rules(rule=Rule.EVIDENCE))
    20000000
    """
    if rules.memory == MILLION:
        return MAX_EVIDENCE
    heaviest = max(rules.severity, MILLION)
    return min(heaviest * MILLION // (MILLION - rules.memory), MAX_EVIDENCE)


def merge_reputations(shards: Iterable[Reputation], *, start: int, most: int) -> Reputation:
    """The global reputation: mean of the shards', weighted by evidence up to ``most`` each (floor), and its sum.

    ``start``: of whom no shard has evidence, ppm. The order of the shards does not matter.

    >>> half, good = Reputation(500_000, 1_000_000), Reputation(900_000, 3_000_000)
    >>> merge_reputations([half, good, Reputation(0, 0)], start=500_000, most=20_000_000)
    Reputation(value=800000, evidence=4000000)
    """
    counted = [(shard.value, min(shard.evidence, most)) for shard in shards]
    total = sum(evidence for _, evidence in counted)
    if total == 0:
        return Reputation(start)
    mean = sum(value * evidence for value, evidence in counted) // total
    return Reputation(mean, min(total, MAX_EVIDENCE))
