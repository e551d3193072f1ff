"""The attacks by name, what their strength means, and how a scenario's attacks are checked."""

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, Literal

from platoon.errors import UserError
from platoon.fleet import ACTS_AS_ONE, list_attacks
from platoon.learning.attacks.data import DataAttack, backdoor, label_flip, targeted_flip
from platoon.learning.attacks.updates import (
    UpdateAttack,
    adaptive,
    alie,
    free_rider_random,
    free_rider_stale,
    free_rider_zero,
    gaussian,
    ipm,
    leave_row,
    mimic,
    min_max,
    scaling,
    sign_flip,
)
from platoon.scenario import Attack, Fleet, did_you_mean

Aim = Literal["source", "target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRule:
    """An attack on the data, and its strength where the scenario gives none."""

    attack: DataAttack
    strength: float = 1.0
    allowed: tuple[float, float] = (0.0, 1.0)
    """Least and largest strength."""
    aims: tuple[Aim, ...] = ()
    """Keys of the scenario by which it names classes: the data must have these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRule:
    """An attack on the updates, and its strength where the scenario gives none."""

    attack: UpdateAttack
    strength: float
    allowed: tuple[float, float]
    trains: bool = True
    """Needs the attackers' clean updates; free riders do not train at all."""
    judges: bool = False
    """Asks for a stand-in of the score."""
    aims: tuple[Aim, ...] = ()
    """As in ``DataRule``; of the target a ``Scene`` has the row of the last layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRule:
    """Groups that send one update in common; ``platoon.fleet`` says who, and how they drive."""

    strength: float = 0.01
    """Length of the noise by which copies differ, over the update's length."""
    allowed: tuple[float, float] = (0.0, 1.0)
    aims: tuple[Aim, ...] = ()


Rule = DataRule | UpdateRule | CopyRule

ATTACKS: Final[dict[str, Rule]] = {
    "label_flip": DataRule(attack=label_flip),
    "targeted_flip": DataRule(attack=targeted_flip, aims=("source", "target")),
    "backdoor": DataRule(attack=backdoor, strength=0.5, aims=("target",)),
    "sign_flip": UpdateRule(attack=sign_flip, strength=3.0, allowed=(0.0, 1000.0)),
    "scaling": UpdateRule(attack=scaling, strength=10.0, allowed=(0.0, 1000.0)),
    "gaussian": UpdateRule(attack=gaussian, strength=10.0, allowed=(0.0, 1000.0)),
    "alie": UpdateRule(attack=alie, strength=1.5, allowed=(-100.0, 100.0)),
    "ipm": UpdateRule(attack=ipm, strength=1.0, allowed=(0.0, 1000.0)),
    "min_max": UpdateRule(attack=min_max, strength=1.0, allowed=(0.0, 1.0)),
    "mimic": UpdateRule(attack=mimic, strength=0.0, allowed=(0.0, 1.0)),
    "free_rider_random": UpdateRule(
        attack=free_rider_random, strength=1e-3, allowed=(0.0, 1.0), trains=False
    ),
    "free_rider_zero": UpdateRule(attack=free_rider_zero, strength=0.0, allowed=(0.0, 0.0), trains=False),
    "free_rider_stale": UpdateRule(attack=free_rider_stale, strength=0.0, allowed=(0.0, 10.0), trains=False),
    "leave_row": UpdateRule(attack=leave_row, strength=0.0, allowed=(0.0, 1.0), aims=("target",)),
    "adaptive": UpdateRule(attack=adaptive, strength=0.05, allowed=(0.0, 1.0), judges=True),
    **{name: CopyRule() for name in ACTS_AS_ONE},
}
"""Strengths: shares of samples for data attacks; factors of lengths, means or deviations for update attacks (of
``min_max``, of the largest step; of ``leave_row``, of a row's move); the entries' range for ``free_rider_random``;
the margin above the threshold for ``adaptive``. ``alie`` takes 1.5 as ByzFL does, ``ipm`` 1 as the first study of
this project."""


def resolve_attack(name: str, key: str = "fleet.attack") -> Rule:
    """The rule of that name: one of ``ATTACKS``, or a plug-in's entry point in the group ``platoon.attacks``.

    Raises:
        UserError: there is none of that name, or the entry point is no rule; the message begins with ``key``.
    """
    if name in ATTACKS:
        return ATTACKS[name]
    plugins = {point.name: point for point in entry_points(group="platoon.attacks")}
    if name not in plugins:
        known = ["none", *ATTACKS, *plugins]
        raise UserError(f"{key} = {name!r}: no such attack; {did_you_mean(name, known)}")
    try:
        rule = plugins[name].load()
    except Exception as error:
        raise UserError(f"{key} = {name!r}: {plugins[name].value} does not load ({error})") from error
    if not isinstance(rule, DataRule | UpdateRule):
        raise UserError(f"{key} = {name!r}: {plugins[name].value} is no DataRule or UpdateRule")
    return rule


def strength_of(attack: Attack, rule: Rule) -> float:
    """The scenario's strength, or the rule's own."""
    return rule.strength if attack.strength is None else attack.strength


def check_attacks(fleet: Fleet) -> None:
    """Raises ``UserError`` where an attack of the scenario does not exist or its strength is out of its range."""
    copying = [attack.name for attack in list_attacks(fleet) if attack.name in ACTS_AS_ONE]
    if len(copying) > 1:
        raise UserError(
            f"fleet.attacks: {' and '.join(copying)} together; allowed: one of {', '.join(ACTS_AS_ONE)}"
        )
    for attack in list_attacks(fleet):
        rule = resolve_attack(attack.name, _key_of(fleet, attack, "name"))
        low, high = rule.allowed
        if not low <= strength_of(attack, rule) <= high:
            raise UserError(
                f"{_key_of(fleet, attack, 'strength')} = {attack.strength}: allowed for {attack.name}: "
                f"{f'{low:g} to {high:g}' if low < high else f'{low:g}'}"
            )


def _key_of(fleet: Fleet, attack: Attack, field: str) -> str:
    """The scenario's key of one of ``list_attacks``."""
    for number, listed in enumerate(fleet.attacks):
        if listed is attack:
            return f"fleet.attacks[{number}].{field}"
    return "fleet.attack" if field == "name" else "fleet.attack_strength"
