"""Methods: what DTB-FL compares, each a composition of the same parts (DTB-FL section 6.1.4)."""

from dataclasses import dataclass

from platoon.errors import UserError
from platoon.records.rules import WeightRule
from platoon.scenario import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Which parts a method is composed of."""

    name: str
    selector: str
    """Name of a selector, ``platoon.twin.selectors``."""
    judged: bool
    """Updates are scored, reputations move, invalid updates stay out, probation applies, and the round waits for
    the chain. Without it the ledger only keeps the books, outside simulated time."""
    weights: WeightRule
    """Eq. 14, with the verdict where the scenario's ``trust.weights`` says so; or by samples."""


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(name="dtb-fl", selector="utility", judged=True, weights=WeightRule.TRUST),
        Method(name="fedavg", selector="random", judged=False, weights=WeightRule.SAMPLES),
        Method(name="vec-fl", selector="reactive", judged=False, weights=WeightRule.SAMPLES),
        Method(name="bc-fl", selector="random_reputable", judged=True, weights=WeightRule.TRUST),
        Method(name="dt-fl", selector="utility", judged=False, weights=WeightRule.SAMPLES),
    )
}


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UserError: there is none; the message says what there is.

    >>> find_method("fedavg").selector
    'random'
    """
    if name not in METHODS:
        raise UserError(f"method = {name!r}: unknown; {did_you_mean(name, list(METHODS))}")
    return METHODS[name]
