"""What a scenario asks of a task chain: the integer rules of its contracts, and the digest that binds it all."""

import json

from platoon.nouns import Digest, to_ppm
from platoon.records.encoding import compute_content_digest
from platoon.records.rules import Payment, Rule, Rules, WeightRule
from platoon.scenario import Scenario


def compute_rules(scenario: Scenario, *, judged: bool, weights: WeightRule, threshold: float) -> Rules:
    """The integer rules that a scenario and a method give; ``threshold`` is the score's Q_min, resolved."""
    if weights is WeightRule.TRUST and scenario.trust.weights == "verdict":
        weights = WeightRule.VERDICT
    trust, reward = scenario.trust, scenario.reward
    scored = {"default": Rule.DEFAULT, "as_written": Rule.AS_WRITTEN, "evidence": Rule.EVIDENCE}[trust.rule]
    return Rules(
        rule=scored if judged else Rule.NONE,
        weights=weights,
        payment=Payment.POOL if reward.formula == "pool" else Payment.BASE_BONUS,
        beta=to_ppm(trust.beta),
        rho_min=to_ppm(trust.rho_min),
        start=to_ppm(trust.start if trust.newcomers == "start" else trust.rho_min),
        threshold=to_ppm(threshold),
        penalty=to_ppm(trust.penalty),
        severity=to_ppm(trust.severity),
        memory=to_ppm(trust.memory),
        prior=to_ppm(trust.prior),
        pool=to_ppm(reward.pool_tokens),
        base=to_ppm(reward.base_tokens),
        bonus=to_ppm(reward.bonus_tokens),
        mean_tolerance=to_ppm(scenario.stake.mean_tolerance),
        single_tolerance=to_ppm(scenario.stake.single_tolerance),
        most_samples=scenario.partition.samples,
        description=int.from_bytes(describe_scenario(scenario), "big"),
    )


def describe_scenario(scenario: Scenario) -> Digest:
    """SHA-256 of a scenario's description."""
    return compute_content_digest(write_description(scenario))


def write_description(scenario: Scenario) -> bytes:
    """Everything in a scenario that a run depends on, as JSON: not the number of workers, nor which engine keeps
    the ledger and where, nor whether its own traffic was recorded and is replayed. What a publisher asks for."""
    engine = {"engine": True, "url": True, "deadline_s": True, "confirmations": True}
    described = scenario.model_dump(
        mode="json", exclude={"workers": True, "ledger": engine, "roads": {"replay": True}}
    )
    return json.dumps(described, sort_keys=True).encode()
