"""What a task chain says: updates, local chains, and what a round's local blocks stand on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platoon.nouns import Address, Digest, EdgeServerId, Tokens, VehicleId
from platoon.records.abi import Arguments
from platoon.records.committee import Standing
from platoon.records.encoding import EMPTY_DIGEST, keccak

_NOTHING = Tokens(0)
_UPDATES = Arguments([{"type": "uint256[]"}, {"type": "bytes32[]"}])


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedUpdate:
    """An update on the chain, with what has become of it so far."""

    vehicle: VehicleId
    address: Address
    edge_server: EdgeServerId
    """Which one recorded it."""
    digest: Digest
    samples: int
    reputation_before: int
    """Before the round, ppm."""
    probation: bool
    """Its vehicle is below rho_min under the default rule: scored, never merged, never paid."""
    score: int | None = None
    """Lower median of the edge servers' scores, ppm; None until judged, and where nothing is scored."""
    evidence: int | None = None
    """Lower median of how far the edge servers could tell honest from malicious, ppm; None as ``score``."""
    valid: bool | None = None
    """None until judged."""
    merged: bool = False
    """Enters the model and is paid; False until judged."""
    reputation_after: int | None = None
    """None until settled, ppm."""
    reward: Tokens = _NOTHING
    """Paid at settlement."""
    sealed: bool = False
    """Its edge server anchored the round's local block with a committee's seals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTip:
    """Where an edge server's local chain stands."""

    edge_server: Address
    height: int = 0
    """Blocks anchored so far."""
    digest: Digest = Digest(EMPTY_DIGEST)  # noqa: RUF009 - a constant
    """Of the last one; zeros before the first."""
    unsealed: int = 0
    """Blocks that the edge server signed alone so far."""
    forked: bool = False
    """Two signed blocks for one height (of one round) were reported: the chain is not extended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a round's local blocks stand on: from it all make the same blocks and draw the same committees."""

    head: Digest
    """Hash of the last global block: the seed of the draw."""
    tips: tuple[LocalTip, ...]
    """By edge server."""
    standings: Mapping[Address, Standing]
    """Of the vehicles that were asked about."""


def compute_updates_digest(updates: Sequence[RecordedUpdate]) -> Digest:
    """The hash that names the set of updates that a score judges; ``updates`` in the contract's order."""
    heads = [
        int.from_bytes(update.address, "big") << 88 | update.samples << 56 | update.edge_server
        for update in updates
    ]
    return keccak(_UPDATES.encode([heads, [update.digest for update in updates]]))
