"""From a scenario to what its parts are built with: accounts, participants, contract rules, task rules."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from platoon.incentive.rewards import compute_round_price
from platoon.learning.scores import resolve_score
from platoon.learning.server_step import ServerStep
from platoon.ledger.task_chain import Participants, Stake, TaskChain
from platoon.ledger.task_rules import compute_rules, write_description
from platoon.nouns import MILLION, Bools, EdgeServerId, Instant, Ints, Tokens, VehicleId, seconds, to_ppm
from platoon.protocol.agreeing import TaskTerms
from platoon.protocol.messages import COORDINATOR, PUBLISHER, Peer, edge_server_peer, vehicle_peer
from platoon.protocol.methods import Method
from platoon.protocol.plausibility import PlausibilityRules
from platoon.protocol.task_rules import TaskRules
from platoon.records.certificates import compute_initial_reputation
from platoon.records.committee import CommitteeRules
from platoon.records.rules import Rules
from platoon.records.signing import Account, simulated_account
from platoon.rng import stream_bytes
from platoon.scenario import Scenario
from platoon.twin.selectors import BASELINE_SELECTORS, STUDY_SELECTORS, guard_selector

ADMITTED_AT_ONCE = 256
"""Newcomers in one transaction at most."""
RSRP_STEP_DB = 1.0
"""Power is reported in steps of so much (3GPP TS 36.133), which adds the variance of an even spread."""
OBSERVE_S = 10
"""Seconds that the twin watches the traffic before round 1."""


def account_seed(scenario: Scenario) -> int:
    """What simulated accounts are derived from: the one seed, or another for each run of it on one network."""
    if not scenario.ledger.accounts:
        return scenario.seed
    return int.from_bytes(stream_bytes(scenario.seed, "accounts", scenario.ledger.accounts), "big")


def simulated_accounts(scenario: Scenario) -> dict[Peer, Account]:
    """Keys of everybody in a simulation, by party; the coordinator's is the operator's."""
    seed = account_seed(scenario)
    accounts = {
        COORDINATOR: simulated_account(seed, "operator", 0),
        PUBLISHER: simulated_account(seed, "publisher", 0),
    }
    for i in range(scenario.radio.rsus):
        accounts[edge_server_peer(EdgeServerId(i))] = simulated_account(seed, "edge server", i)
    for i in range(scenario.fleet.vehicles):
        accounts[vehicle_peer(VehicleId(i))] = simulated_account(seed, "vehicle", i)
    return accounts


def participants(scenario: Scenario, accounts: Mapping[Peer, Account]) -> Participants:
    """Who sets the task up: in a simulation this process holds all accounts."""
    return Participants(
        operator=accounts[COORDINATOR],
        publisher=accounts[PUBLISHER],
        edge_servers=tuple(accounts[edge_server_peer(EdgeServerId(i))] for i in range(scenario.radio.rsus)),
        vehicles=tuple(accounts[vehicle_peer(VehicleId(i))].address for i in range(scenario.fleet.vehicles)),
    )


def contract_rules(scenario: Scenario, method: Method) -> Rules:
    """The integer rules that a scenario and a method come to."""
    threshold = scenario.trust.threshold
    if threshold is None:
        threshold = resolve_score(scenario.trust.score).threshold
    return compute_rules(scenario, judged=method.judged, weights=method.weights, threshold=threshold)


def server_step(scenario: Scenario) -> ServerStep:
    """How a scenario's edge servers take the merged step."""
    config = scenario.aggregation
    return ServerStep.of(
        config.server_rate,
        config.server_momentum,
        config.server_optimiser,
        config.server_memory,
        config.server_adaptivity,
    )


def committee_rules(scenario: Scenario, method: Method) -> CommitteeRules:
    """Who seals local blocks. A method without a chain only keeps the books: its edge servers anchor alone."""
    config = scenario.committee
    return CommitteeRules(
        size=config.size if method.judged else 0,
        floor=to_ppm(config.floor),
        full_share=to_ppm(config.full_share),
        unsealed_weight=to_ppm(config.unsealed_weight) if method.judged else MILLION,
        reward=to_ppm(scenario.reward.sealing_tokens) // scenario.radio.rsus if method.judged else 0,
    )


def sealing_budget(scenario: Scenario, method: Method) -> Tokens:
    """What the publisher puts aside for local blocks: the reward of every block of the task."""
    blocks = scenario.task.rounds * scenario.radio.rsus
    return Tokens(blocks * committee_rules(scenario, method).reward)


def task_terms(scenario: Scenario, method: Method, chain: TaskChain, now: Instant) -> TaskTerms:
    """What the publisher of a scenario wants, and what it pays into escrow and the budget of local blocks."""
    at = chain.ledger.contracts.addresses
    return TaskTerms(
        content=write_description(scenario),
        vehicles=scenario.round.participants,
        samples=scenario.partition.samples,
        cycles=round(scenario.compute.cycles_per_sample),
        deadline=Instant(now + seconds(scenario.task.answer_s)),
        payments=(
            (at["Escrow"], Tokens(to_ppm(scenario.task.escrow_tokens))),
            (at["Sealing"], sealing_budget(scenario, method)),
        ),
    )


def purse_of(scenario: Scenario, method: Method) -> Tokens:
    """What the publisher needs for all of it."""
    return Tokens(to_ppm(scenario.task.escrow_tokens) + sealing_budget(scenario, method))


def stake_of(scenario: Scenario) -> Stake:
    """What every edge server of a scenario deposits."""
    stake = scenario.stake
    return Stake(tokens=Tokens(to_ppm(stake.tokens)), share=to_ppm(stake.share))


def ledger_summary(chain: TaskChain, engine: str) -> dict[str, Any]:
    """The part ``ledger`` of a summary."""
    return {
        "engine": engine,
        "blocks": chain.ledger.height,
        "transactions": sum(len(block.transactions) for block in chain.ledger.blocks()),
        "head": chain.head.hex(),
        "local_blocks": sum(tip.height for tip in chain.local_tips()),
        "unsealed_blocks": sum(tip.unsealed for tip in chain.local_tips()),
        "verified": None,
    }


def sample_counts(scenario: Scenario) -> Ints:
    """(N,) size of each vehicle's local data set: every partitioner gives all of them the same."""
    return np.full(scenario.fleet.vehicles, scenario.partition.samples, dtype=np.int64)


def attested_reputation(scenario: Scenario) -> int:
    """What a newcomer starts with that passed the attestation, ppm (eq. 13)."""
    trust = scenario.trust
    return compute_initial_reputation(
        certified=None,
        attested=True,
        neutral=to_ppm(trust.start),
        bonus=to_ppm(trust.newcomer_bonus),
        rho_min=to_ppm(trust.rho_min),
    )


def admissions(
    chain: TaskChain, accounts: Mapping[Peer, Account], passed: Bools, serving: Ints, at: Instant
) -> list[bytes]:
    """The transactions by which each edge server admits the newcomers that it serves and that passed, signed."""
    signed = []
    for server in range(chain.edge_servers):
        account = accounts[edge_server_peer(EdgeServerId(server))]
        mine = [chain.vehicles[i] for i in np.flatnonzero(passed & (serving == server))]
        for number, start in enumerate(range(0, len(mine), ADMITTED_AT_ONCE)):
            call = chain.membership.admit_attested(at, mine[start : start + ADMITTED_AT_ONCE])
            signed.append(chain.sign(account, call, ahead=number))
    return signed


def selector_name(scenario: Scenario, method: Method) -> str:
    """The scenario's own selector, or the method's."""
    return scenario.round.selector or method.selector


def has_terms(scenario: Scenario, method: Method) -> bool:
    """Whether coverage and position have a say: not where a baseline selects by its own rule, which is what it is
    compared for."""
    return scenario.round.selector is not None or method.selector not in BASELINE_SELECTORS


def plausibility_rules(scenario: Scenario, method: Method) -> PlausibilityRules | None:
    """From where on a cluster is implausible; None where nobody judges, or nobody is to look."""
    settings = scenario.plausibility
    if not (method.judged and settings.check):
        return None
    noise_db = math.sqrt(2.0 * (scenario.radio.snr_sigma_db**2 + RSRP_STEP_DB**2 / 12.0))
    return PlausibilityRules(
        convoy_m=settings.convoy_m,
        near=settings.near,
        gap=settings.gap,
        one_device_db=settings.one_device * noise_db,
    )


def task_rules(
    scenario: Scenario, method: Method, chain: TaskChain, retry_s: float | None = None
) -> TaskRules:
    """The rules of the task's rounds. ``retry_s``: the silent are asked again after so long; a network that
    loses nothing needs no second question before the deadline."""
    config, trust = scenario.round, scenario.trust
    probation = trust.probation_slots if trust.rule != "as_written" and method.judged else 0
    limit = scenario.task.deadline_s
    return TaskRules(
        seed=scenario.seed,
        task=chain.task,
        registry=chain.registry,
        coordinator=chain.ledger.contracts.operator,
        publisher=chain.publisher,
        pseudonym_rounds=trust.pseudonym_rounds,
        samples=sample_counts(scenario),
        edge_servers=scenario.radio.rsus,
        participants=config.participants,
        select=guard_selector(selector_name(scenario, method)),
        rho_min=trust.rho_min if method.judged else 0.0,
        balance=scenario.twin.utility_balance,
        rest_rounds=config.rest_rounds,
        candidate_pool=config.candidate_pool,
        coverage_weight=config.coverage_weight if has_terms(scenario, method) else 0.0,
        position_weight=config.position_weight if has_terms(scenario, method) else 0.0,
        is_study=selector_name(scenario, method) in STUDY_SELECTORS,
        probation_slots=probation,
        judged=method.judged,
        formulas=contract_rules(scenario, method),
        committee=chain.committee,
        plausibility=plausibility_rules(scenario, method),
        seal_patience=seconds(scenario.committee.patience_s),
        policy=config.policy,
        deadline=seconds(config.deadline_s),
        retry_every=seconds(config.deadline_s if retry_s is None else retry_s),
        patience=seconds(config.deadline_s),
        rounds=scenario.task.rounds,
        target_accuracy=scenario.task.target_accuracy,
        time_limit=None if limit is None else Instant(seconds(OBSERVE_S) + seconds(limit)),
        round_price=compute_round_price(contract_rules(scenario, method), config.participants),
    )
