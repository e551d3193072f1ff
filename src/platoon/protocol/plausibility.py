"""Physical plausibility (DTB-FL 4.3.4): movement and updates that do not go together are alleged on the chain.

The paper flags a group that is co-located or moves in a coordinated way *and* sends updates that are very similar
within it and far from all others; it gives no thresholds. Here two patterns are told apart. **Collusion**: vehicles
that drove within a convoy's length of each other and sent near-identical updates that the others' are unlike. A
platoon of honest trucks drives the same way, but each learns from its own data. **Sybils**: accounts that were
received at one place with one radio signal, closer than two vehicles can be; what they send does not matter.

Co-location is the twin's, similarity is learning's; here the two are put together, as values. Every edge server
does so by itself; the contract takes the majority. Measured on SUMO traffic: docs/twin.md, *Plausibility*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from platoon.ledger.model_plausibility import MOST_APART, MOST_MEMBERS
from platoon.ledger.plausibility import Allegation, Kind
from platoon.nouns import MILLION, Address, Bools, Digest, Floats, Ints, VehicleId
from platoon.records.encoding import compute_content_digest
from platoon.twin.company import ONE_PLACE_M, Company

ROAMED_M = 50.0
"""Who stood still is not compared by radio: at one place, two vehicles can be received alike by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlausibilityRules:
    """From where on movement and updates are implausible."""

    convoy_m: float
    """Vehicles that drove no farther apart, on average over a minute, drove together."""
    near: float
    """Cosine from which on two updates are near-identical."""
    gap: float
    """The others' mean cosine with a cluster must lie so far below ``near``."""
    one_device_db: float
    """Accounts that are received no more differently are one device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Vehicles that are alleged to collude, or to be one."""

    kind: Kind
    vehicles: tuple[VehicleId, ...]
    """Ascending."""
    apart_m: float
    """Mean distance between two of them."""
    similarity: float
    """Least cosine between two of their updates; 0 where fewer than two sent one."""


def find_together(rules: PlausibilityRules, company: Company) -> tuple[Bools, Bools]:
    """Pairs (M, M) that drove together, and pairs that are one device."""
    roamed = company.roamed >= ROAMED_M
    one = (company.apart <= ONE_PLACE_M) & (company.unlike_db <= rules.one_device_db)
    return company.apart <= rules.convoy_m, one & roamed[:, None] & roamed


def find_clusters(rules: PlausibilityRules, company: Company, similarity: Floats) -> tuple[Cluster, ...]:
    """The clusters among a round's vehicles, by their first member.

    ``similarity`` (K, K): cosines between the updates of the first K of ``company``'s vehicles (M).
    """
    senders = len(similarity)
    together, one_device = find_together(rules, company)
    sybils = [rows for rows in _components(one_device) if rows[0] < senders]
    same = np.zeros_like(one_device)
    for rows in sybils:
        same[np.ix_(rows, rows)] = True
    near = (similarity >= rules.near) & (together & ~same)[:senders, :senders]
    colluders = [rows for rows in _components(near) if _stands_out(rules, similarity, rows)]
    found = [(Kind.SYBIL, rows) for rows in sybils] + [(Kind.COLLUSION, rows) for rows in colluders]
    clusters = [
        _describe(kind, part, company, similarity)
        for kind, rows in found
        for part in np.array_split(rows, -(-len(rows) // MOST_MEMBERS))
    ]
    return tuple(sorted(clusters, key=lambda cluster: cluster.vehicles))


def judge_again(
    rules: PlausibilityRules, kind: Kind, company: Company, members: Ints, effects: Floats
) -> tuple[bool, float, float]:
    """Whether a flag is upheld, and the new measures: mean metres apart, least similarity.

    Collusion is upheld where the updates also do the same on this edge server's own probes (``effects`` (K, K):
    cosines of a round's updates there; ``members``: rows of those flagged). Sybils are upheld unless two of them
    have been received apart since (``company``: theirs, since the flag).
    """
    apart, similarity = _mean_apart(company.apart), _least(effects, members)
    if kind is Kind.COLLUSION:
        upheld = len(members) > 1 and similarity >= rules.near and _stands_out(rules, effects, members)
        return upheld, apart, similarity
    seen = np.isfinite(company.unlike_db) & (company.roamed >= ROAMED_M)
    moved_apart = seen & ((company.apart > ONE_PLACE_M) | (company.unlike_db > rules.one_device_db))
    return not moved_apart.any(), apart, similarity


def allege(clusters: Sequence[Cluster], accounts: Sequence[Address], evidence: Digest) -> list[Allegation]:
    """Clusters as they go on the chain: accounts, millimetres, parts per million."""
    return [
        Allegation(
            kind=cluster.kind,
            members=tuple(sorted(accounts[vehicle] for vehicle in cluster.vehicles)),
            apart=to_millimetres(cluster.apart_m),
            similarity=to_similarity(cluster.similarity),
            evidence=evidence,
        )
        for cluster in clusters
    ]


def compute_evidence_digest(company: Company, similarity: Floats) -> Digest:
    """What an edge server binds itself to: SHA-256 over rows, metres, dB, roaming and cosines, little endian."""
    columns = (company.apart, company.unlike_db, company.roamed, similarity)
    parts = [company.vehicles.astype("<i8"), *(column.astype("<f8") for column in columns)]
    return compute_content_digest(b"".join(part.tobytes() for part in parts))


def to_millimetres(metres: float) -> int:
    """As a case holds it; what is not known, or beyond all bounds, is the largest."""
    return round(min(metres * 1000, MOST_APART)) if np.isfinite(metres) else MOST_APART


def to_similarity(cosine: float) -> int:
    """Parts per million; a negative cosine is 0."""
    return round(min(max(cosine, 0.0), 1.0) * MILLION)


def _components(pairs: Bools) -> list[Ints]:
    """Rows that hang together by pairs, two at least, each component ascending."""
    _, label = connected_components(csr_array(pairs.astype(np.int8)), directed=False)
    groups = [np.flatnonzero(label == number) for number in np.unique(label)]
    return [rows for rows in groups if len(rows) > 1]


def _stands_out(rules: PlausibilityRules, similarity: Floats, rows: Ints) -> bool:
    """Whether the others' updates are unlike the cluster's; vacuously where there are no others."""
    others = np.setdiff1d(np.arange(len(similarity)), rows)
    if not len(others):
        return True
    return bool(similarity[np.ix_(rows, others)].mean() <= rules.near - rules.gap)


def _describe(kind: Kind, rows: Ints, company: Company, similarity: Floats) -> Cluster:
    vehicles = sorted(int(vehicle) for vehicle in company.vehicles[rows])
    return Cluster(
        kind=kind,
        vehicles=tuple(VehicleId(vehicle) for vehicle in vehicles),
        apart_m=_mean_apart(company.apart[np.ix_(rows, rows)]),
        similarity=_least(similarity, rows[rows < len(similarity)]),
    )


def _mean_apart(apart: Floats) -> float:
    """Over the pairs of which it is known; infinite where there is none."""
    known = apart[np.isfinite(apart)]
    return float(known.mean()) if len(known) else float("inf")


def _least(similarity: Floats, rows: Ints) -> float:
    """The least cosine between two of these rows; 0 where there are not two."""
    pairs = similarity[np.ix_(rows, rows)][~np.eye(len(rows), dtype=np.bool_)]
    return float(pairs.min()) if len(pairs) else 0.0
