"""Sections on the vehicles: how many there are, and what the malicious among them do."""

from typing import Literal

from pydantic import Field

from platoon.scenario.section import Count, Section, Share


class Attack(Section):
    """One attack of a part of the attackers, in some of the rounds."""

    name: str = Field(description="attack by name (docs/attacks.md)")
    share: Share = Field(
        1.0, description="share of the attackers; shares are laid one after another round their circle"
    )
    start_round: Count = Field(1, description="first round of the attack; honest before")
    rounds_on: Count = Field(1, description="rounds of attack in a row, for rounds_off above 0")
    rounds_off: int = Field(0, ge=0, description="rounds of honesty after them; 0: always on")
    strength: float | None = Field(None, description="not set: the attack's own")
    source: int = Field(5, ge=0, description="class that targeted_flip relabels")
    target: int = Field(3, ge=0, description="class that targeted_flip, backdoor and leave_row aim at")
    knowledge: Literal["own", "cohort"] = Field(
        "cohort", description="clean updates that attackers know: their own, or those of all honest ones"
    )


class Fleet(Section):
    """The vehicles and who among them is malicious."""

    vehicles: int = Field(60, ge=1, le=100_000, description="N (DTB-FL: 200)")
    malicious_share: Share = Field(0.3, description="share of attackers, drawn once (DTB-FL: 0 to 0.4)")
    attack: str = Field(
        "label_flip",
        description="what every attacker does, by name (docs/attacks.md), or none; label_flip: labels replaced by "
        "uniformly random wrong ones; collusion, sybil: groups send copies of one update, and drive in convoy, or "
        "are one device's accounts",
    )
    attack_strength: float | None = Field(
        None, description="its strength; not set: the attack's own (label_flip: share of flipped labels, 1)"
    )
    attacks: tuple[Attack, ...] = Field(
        (), description='what attackers do besides, as in [{name = "alie", share = 0.5, start_round = 10}]'
    )
    group: int = Field(
        5, ge=2, le=64, description="attackers that act as one, for attack = collusion or sybil"
    )
    platoon: int = Field(
        0, ge=0, description="honest vehicles that drive in convoy, as trucks in a platoon do"
    )


class Faults(Section):
    """Edge servers and committee members that malfunction or lie (Two-layer's case study)."""

    edge_servers: int = Field(0, ge=0, le=64, description="how many, drawn once; 0: none")
    behaviour: Literal[
        "scores", "model", "both", "proposal", "omission", "root", "update", "alone", "second", "committee"
    ] = Field(
        "both",
        description="scores: the best update gets that of the worst and so on; model: a vote for noise; or both; "
        "the others tamper with local blocks (docs/ledger/local-chain.md)",
    )
    members: Share = Field(
        0.0, description="share of vehicles that malfunction in committees, drawn once; 0: none"
    )
    member_behaviour: Literal["refuse", "equivocate"] = Field(
        "refuse", description="they seal no local block; or every one that they are shown, two of a round too"
    )


def malicious_count(fleet: Fleet) -> int:
    """Number of attackers: the share of the fleet, rounded to nearest (0 without an attack)."""
    if fleet.attack == "none" and not fleet.attacks:
        return 0
    return round(fleet.malicious_share * fleet.vehicles)


def refuse_attacks(fleet: Fleet) -> str | None:
    """What is wrong with the shares of ``fleet.attacks``, or None."""
    covered = sum(attack.share for attack in fleet.attacks)
    if fleet.attack == "none" and fleet.attacks and covered < 1.0 - 1e-9:
        return (
            f"fleet.attacks: shares sum to {covered:g}, so that some attackers never attack; allowed: at least 1, "
            "or fleet.attack beside them"
        )
    if any(attack.name == "none" for attack in fleet.attacks):
        return "fleet.attacks: 'none' is no attack; allowed: leave it out"
    return None
