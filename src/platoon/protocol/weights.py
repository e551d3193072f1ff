"""Who weighs how much in a merge: a pure integer function of what is on record (DTB-FL eqs. 3 and 14)."""

from collections.abc import Mapping, Sequence
from typing import Literal

from platoon.ledger.task_chain import RecordedUpdate
from platoon.nouns import VehicleId
from platoon.records.rules import compute_weights


def merge_weights(
    updates: Sequence[RecordedUpdate], rule: Literal["trust", "samples"]
) -> Mapping[VehicleId, int]:
    """Integer weights that sum to 2^20, by vehicle; empty where no update may enter the model.

    ``trust`` is eq. 14, reputation before the round times samples; ``samples`` is FedAvg's.
    """
    merged = sorted((u for u in updates if u.merged), key=lambda u: u.vehicle)
    products = [u.samples * (u.reputation_before if rule == "trust" else 1) for u in merged]
    if not any(products):
        return {}
    return dict(zip((u.vehicle for u in merged), compute_weights(products), strict=True))
