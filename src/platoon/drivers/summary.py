"""The summary of a run, DESIGN section 10: one JSON object with the same keys for every method."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions, version
from typing import Any

import numpy as np

from platoon.drivers.rows import area_under_curve
from platoon.fleet import list_attacks
from platoon.ledger.block_faults import count_named
from platoon.scenario import Scenario

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Accuracies whose first simulated second is reported, besides the scenario's own target."""
LINKS = ("d2d", "relayed", "cellular", "lost")
"""What becomes of a message of a local chain (``platoon.world.links``)."""
LIBRARIES = ("platoon", "torch", "numpy", "libsumo", "pyrevm", "coincurve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a run has left behind, as columns."""

    scenario: Scenario
    rounds: Mapping[str, Sequence[Any]]
    vehicles: Mapping[str, Any]
    updates: Mapping[str, Sequence[Any]]
    edge_servers: Mapping[str, Sequence[Any]]
    forecast: Mapping[str, object]
    achieved_speed_kmh: float
    ledger: Mapping[str, Any]
    """engine, blocks, transactions, head, verified."""
    contracts: str
    format: int
    model_digest: str
    backdoor_success: float | None
    cpu_seconds: Mapping[str, float]
    wall_seconds: float
    cases: Sequence[Mapping[str, Any]]
    """What was flagged, as ``platoon.ledger.history`` tells it."""
    block_faults: Sequence[Mapping[str, Any]]
    """What the record shows of tampered local blocks, as ``verify`` tells it."""
    selector: str
    study: str | None
    """Why the results are no measure of a deployment; None where they are."""
    ended: str


def summarise(played: Played) -> dict[str, Any]:
    """The content of ``summary.json``."""
    rounds, scenario = played.rounds, played.scenario
    begun = rounds["started_s"][0] if rounds["round"] else 0.0
    seconds = [ended - begun for ended in rounds["ended_s"]]
    accuracy = list(rounds["accuracy"])
    targets = sorted({*TARGETS, *([scenario.task.target_accuracy] if scenario.task.target_accuracy else [])})
    return {
        "scenario": scenario.name,
        "method": scenario.method,
        "seed": scenario.seed,
        "selector": played.selector,
        "study": played.study,
        "rounds": len(accuracy),
        "ended": played.ended,
        "accuracy": accuracy,
        "final_accuracy": accuracy[-1] if accuracy else None,
        "simulated_seconds": seconds[-1] if seconds else 0.0,
        "wall_seconds": played.wall_seconds,
        "seconds_to": {f"{target:g}": first_reached(accuracy, seconds, target) for target in targets},
        "reputation": _reputation(played.vehicles),
        "score_auc": list(rounds["score_auc"]),
        "malicious_weight": list(rounds["malicious_weight"]),
        "poisoned_weight": list(rounds["poisoned_weight"]),
        "attacks": [attack.name for attack in list_attacks(scenario.fleet)],
        "backdoor_success": played.backdoor_success,
        "dropped": list(rounds["dropped"]),
        "rewards": _rewards(played),
        "edge_servers": _edge_servers(played.edge_servers),
        "tampering": summarise_tampering(played.edge_servers, played.updates, played.block_faults),
        "plausibility": _plausibility(played.cases, played.vehicles["honest"]),
        "sealing": _sealing(rounds),
        "forecast": dict(played.forecast),
        "achieved_speed_kmh": played.achieved_speed_kmh,
        "ledger": dict(played.ledger),
        "model_digest": played.model_digest,
        "format": played.format,
        "contracts": played.contracts,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES if is_installed(name)},
        },
        "cpu_seconds": dict(played.cpu_seconds),
    }


def is_installed(distribution: str) -> bool:
    """SUMO is not, where walkers or a trace drive."""
    return next(iter(distributions(name=distribution)), None) is not None


def _plausibility(cases: Sequence[Mapping[str, Any]], honest: Sequence[bool]) -> dict[str, int]:
    """Cases, and the vehicles that stood in one which was not lifted."""
    standing = {vehicle for case in cases if case["status"] != "lifted" for vehicle in case["members"]}
    return {
        "cases": len(cases),
        "lifted": sum(case["status"] == "lifted" for case in cases),
        "flagged": len(standing),
        "flagged_honest": sum(bool(honest[vehicle]) for vehicle in standing),
    }


def first_reached(accuracy: Sequence[float], seconds: Sequence[float], target: float) -> float | None:
    """Simulated seconds until the accuracy first reached a target, or None.

    >>> first_reached([0.3, 0.6, 0.5], [9.0, 18.0, 27.0], 0.5)
    18.0
    """
    return next((second for value, second in zip(accuracy, seconds, strict=True) if value >= target), None)


def _reputation(vehicles: Mapping[str, Any]) -> dict[str, float | None]:
    """Of the vehicles that were judged at least once: a reputation without an observation says nothing."""
    judged = np.asarray(vehicles["judged"]) > 0
    reputation = np.asarray(vehicles["reputation"], dtype=np.float64)[judged]
    honest = np.asarray(vehicles["honest"], dtype=np.bool_)[judged]
    return {
        "auc": area_under_curve(reputation, honest),
        "honest_mean": float(reputation[honest].mean()) if honest.any() else None,
        "malicious_mean": float(reputation[~honest].mean()) if (~honest).any() else None,
    }


def _rewards(played: Played) -> dict[str, float]:
    updates, rounds = played.updates, played.rounds
    rewards = list(zip(updates["reward"], updates["honest"], strict=True))
    return {
        "paid": float(sum(rounds["paid"])),
        "to_malicious": float(sum(reward for reward, honest in rewards if not honest)),
        "escrow_left": float(rounds["escrow_left"][-1])
        if rounds["round"]
        else float(played.scenario.task.escrow_tokens),
    }


def _sealing(rounds: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """What the local chains sent in all rounds: messages by link, bytes, simulated seconds, joules."""
    counts = {name: int(sum(rounds[f"sealing_{name}"])) for name in (*LINKS, "bytes")}
    return {
        **counts,
        "seconds": float(sum(rounds["sealing_s"])),
        "joules": float(sum(rounds["sealing_j"])),
    }


def _edge_servers(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """How often each edge server was named or absent, by its id; only those that were."""
    named: dict[str, int] = {}
    absent: dict[str, int] = {}
    for server, why, missed in zip(rows["edge_server"], rows["named"], rows["missed"], strict=True):
        for counts, is_counted in ((named, why is not None), (absent, missed is not None)):
            if is_counted:
                counts[str(server)] = counts.get(str(server), 0) + 1
    return {"named": named, "absent": absent, "taken": float(sum(rows["taken"]))}


def summarise_tampering(
    servers: Mapping[str, Sequence[Any]],
    updates: Mapping[str, Sequence[Any]],
    faults: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Local blocks that edge servers tampered with, and who found them: a simulation's truth beside the record.

    ``refused_by``: the committee did not seal it, and it was given up; the contract refused it, or the record that
    it is of; the audit names it. ``unnoticed``: none of these. ``updates_lost``: arrived at an edge server that
    tampered, and were not recorded. ``named``: by edge server, rounds in which contract or audit found fault with
    it, tampered or not.
    """
    found: dict[tuple[int, int], set[str]] = {}
    for fault in faults:
        found.setdefault((fault["round"], fault["edge_server"]), set()).add(fault["found_by"])
    rows = zip(servers["round"], servers["edge_server"], servers["tampered"], strict=True)
    tampered = {(number, server): fate for number, server, fate in rows if fate is not None}
    by = [_who_refused(fate, found.get(place, set())) for place, fate in tampered.items()]
    places = zip(updates["round"], updates["edge_server"], updates["arrived"], updates["valid"], strict=True)
    return {
        "blocks": len(tampered),
        "refused_by": {who: by.count(who) for who in ("committee", "contract", "audit")},
        "unnoticed": by.count(None),
        "updates_lost": sum(
            arrived and valid is None and (number, server) in tampered
            for number, server, arrived, valid in places
        ),
        "named": count_named(faults),
    }


def _who_refused(fate: str, found_by: set[str]) -> str | None:
    """The first line that a tampered block did not pass."""
    if fate == "given up":
        return "committee"
    return next((who for who in ("contract", "audit") if who in found_by), None)
