"""Who weighs how much in a merge: a pure integer function of what is on record (DTB-FL eqs. 3 and 14)."""

from collections.abc import Mapping, Sequence

from platoon.ledger.task_chain import RecordedUpdate
from platoon.nouns import MILLION, VehicleId
from platoon.records.committee import discount_unsealed
from platoon.records.rules import Rules, compute_products, compute_weights


def merge_weights(
    updates: Sequence[RecordedUpdate], rules: Rules, unsealed_weight: int = MILLION
) -> Mapping[VehicleId, int]:
    """Integer weights that sum to 2^20, by vehicle in id order; empty where no update may enter.

    ``unsealed_weight``: what updates of unsealed local blocks count, ppm.
    """
    updates = sorted(updates, key=lambda update: update.vehicle)
    products = compute_products(
        rules,
        [update.reputation_before for update in updates],
        [update.samples for update in updates],
        [update.merged for update in updates],
        [update.score for update in updates],
    )
    products = discount_unsealed(products, [update.sealed for update in updates], unsealed_weight)
    if not any(products):
        return {}
    weights = zip(updates, compute_weights(products), strict=True)
    return {update.vehicle: weight for update, weight in weights if update.merged}
