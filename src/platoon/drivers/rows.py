"""A played round as table rows: what stands in ``rounds``, ``updates`` and ``forecasts`` of a run directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from platoon.drivers.local_traffic import LinkUse
from platoon.drivers.run_directory import Rows
from platoon.drivers.tables import SCHEMAS
from platoon.ledger.task_chain import Conduct
from platoon.nouns import MILLION, SECOND, Bools, Floats, Ints, VehicleId
from platoon.protocol.round_records import RoundRecord
from platoon.records.rules import WEIGHT_TOTAL
from platoon.twin.card import Marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What one participant spent in a round, as the world knows it."""

    compute_s: float
    upload_s: float | None
    """None where the upload did not end."""
    energy_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What nobody in the protocol knows, kept beside the record for study."""

    honest: Bools
    """(N,)"""
    poisoned: frozenset[VehicleId]
    """Whose update of this round is not what honest training on honest data would have sent."""
    positions: Floats
    """(N, 2) at dispatch, metres."""
    efforts: Mapping[VehicleId, Effort]
    links: LinkUse
    """What the local chains sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How a round's simulated time is composed (DTB-FL 6.1.2), seconds."""

    distribution: float
    chain: float
    aggregation: float


def round_row(record: RoundRecord, truth: Truth, times: Times, head: bytes) -> Rows:
    """The row of ``rounds``. Training is what distribution, sealing, chain and aggregation leave of the whole."""
    settled, cohort, arrivals = record.settled, record.cohort, record.arrivals
    judged = settled.merged.judged.updates
    weights = settled.merged.weights
    total = (settled.now - cohort.started) / SECOND
    sealing = (settled.merged.judged.recorded.sealed - arrivals.now) / SECOND
    links = truth.links
    scores = [(u.vehicle, u.score) for u in judged if u.score is not None]
    return {
        "round": [cohort.round],
        "started_s": [cohort.started / SECOND],
        "ended_s": [settled.now / SECOND],
        "accuracy": [record.accuracy],
        "outcome": [record.outcome],
        "selected": [len(cohort.vehicles)],
        "arrived": [len(arrivals.updates)],
        "dropped": [len(cohort.vehicles) - len(arrivals.updates)],
        "valid": [sum(bool(update.valid) for update in judged)],
        "malicious_weight": [malicious_share(weights, truth.honest)],
        "poisoned_weight": [poisoned_share(weights, truth.poisoned)],
        "score_auc": [
            area_under_curve(
                np.array([score for _, score in scores], dtype=np.float64),
                np.array([vehicle not in truth.poisoned for vehicle, _ in scores], dtype=np.bool_),
            )
        ],
        "paid": [sum(settled.paid.values()) / MILLION],
        "escrow_left": [settled.escrow_left / MILLION],
        "distribution_s": [times.distribution],
        "training_s": [total - times.distribution - sealing - times.chain - times.aggregation],
        "sealing_s": [sealing],
        "chain_s": [times.chain],
        "aggregation_s": [times.aggregation],
        "energy_j": [sum(effort.energy_j for effort in truth.efforts.values())],
        "sealing_d2d": [links.d2d],
        "sealing_relayed": [links.relayed],
        "sealing_cellular": [links.cellular],
        "sealing_lost": [links.lost],
        "sealing_bytes": [links.size],
        "sealing_j": [links.joules],
        "head": [head.hex()],
    }


def update_rows(record: RoundRecord, truth: Truth, samples: Ints) -> Rows:
    """A row of ``updates`` for every chosen vehicle, whether its update arrived or not."""
    cohort = record.cohort
    rows = [_update_row(record, truth, vehicle, int(samples[vehicle])) for vehicle in cohort.vehicles]
    return {key: [row[key] for row in rows] for key in SCHEMAS["updates"].names}


def _update_row(record: RoundRecord, truth: Truth, vehicle: VehicleId, samples: int) -> Mapping[str, Any]:
    settled, cohort = record.settled, record.cohort
    arrived = record.arrivals.updates.get(vehicle)
    judged = {u.vehicle: u for u in settled.merged.judged.updates}.get(vehicle)
    effort = truth.efforts.get(vehicle, Effort(compute_s=0.0, upload_s=None, energy_j=0.0))
    return {
        "round": cohort.round,
        "vehicle": int(vehicle),
        "edge_server": -1 if arrived is None else int(arrived.reply.edge_server or 0),
        "samples": samples,
        "arrived": arrived is not None,
        "refused": record.arrivals.refused.get(vehicle),
        "score": None if judged is None or judged.score is None else judged.score / MILLION,
        "evidence": None if judged is None or judged.evidence is None else judged.evidence / MILLION,
        "valid": None if judged is None else bool(judged.valid),
        "probation": vehicle in cohort.probation,
        "weight": settled.merged.weights.get(vehicle, 0) / WEIGHT_TOTAL,
        "reputation_before": (
            int(cohort.reputations[vehicle]) if judged is None else judged.reputation_before
        )
        / MILLION,
        "reputation_after": int(settled.reputations[vehicle]) / MILLION,
        "reward": settled.paid.get(vehicle, 0) / MILLION,
        "finish_probability": float(cohort.forecasts.finish_probability[vehicle]),
        "predicted_s": finite_or_none(cohort.forecasts.finish_seconds[vehicle]),
        "actual_s": None if arrived is None else (arrived.at - cohort.started) / SECOND,
        "compute_s": effort.compute_s,
        "upload_s": effort.upload_s,
        "energy_j": effort.energy_j,
        "x": float(truth.positions[vehicle, 0]),
        "y": float(truth.positions[vehicle, 1]),
        "honest": bool(truth.honest[vehicle]),
        "poisoned": vehicle in truth.poisoned,
    }


def edge_server_rows(round_number: int, conduct: Sequence[Conduct]) -> Rows:
    """A row of ``edge_servers`` for every edge server that takes part."""
    return {
        "round": [round_number] * len(conduct),
        "edge_server": [int(row.edge_server) for row in conduct],
        "updates": [row.updates for row in conduct],
        "deviation": [None if row.deviation is None else row.deviation / MILLION for row in conduct],
        "missed": [" and ".join(row.missed) or None for row in conduct],
        "named": [" and ".join(row.named) or None for row in conduct],
        "taken": [row.taken / MILLION for row in conduct],
        "stake": [row.stake / MILLION for row in conduct],
    }


def forecast_rows(record: RoundRecord) -> Rows:
    """A row of ``forecasts`` for every vehicle that the twin knew."""
    forecasts = record.cohort.forecasts
    rows = np.flatnonzero(forecasts.known)
    return {
        "round": [record.cohort.round] * len(rows),
        "vehicle": rows,
        "edge_server": forecasts.edge_server[rows],
        "rate": forecasts.rate[rows],
        "measured_rate": forecasts.measured_rate[rows],
        "cpu_hz": forecasts.cpu_hz[rows],
        "x": forecasts.position[rows, 0],
        "y": forecasts.position[rows, 1],
        "finish_probability": forecasts.finish_probability[rows],
        "finish_seconds": forecasts.finish_seconds[rows],
        "position_sigma": forecasts.position_sigma[rows],
        "chosen": np.isin(rows, record.cohort.vehicles),
        "arrived": [_arrived(record, vehicle) for vehicle in rows.tolist()],
        "actual_s": [_actual_seconds(record, vehicle) for vehicle in rows.tolist()],
    }


def practice_rows(marked: Sequence[Marked]) -> Rows:
    """A row of ``practice`` for every forecast that was marked in a round."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMAS["practice"].names}
    for practice in marked:
        count = len(practice.vehicle)
        values = {
            "made_s": [practice.made / SECOND] * count,
            "horizon_s": [(practice.due - practice.made) / SECOND] * count,
            "vehicle": practice.vehicle.tolist(),
            "x": practice.position[:, 0].tolist(),
            "y": practice.position[:, 1].tolist(),
            "sigma": practice.sigma.tolist(),
            "x_then": practice.was[:, 0].tolist(),
            "y_then": practice.was[:, 1].tolist(),
            "link_db": [finite_or_none(value) for value in practice.best_db],
            "link_stays_db": [finite_or_none(value) for value in practice.stays_db],
            "link_then_db": [finite_or_none(value) for value in practice.was_db],
        }
        for name, column in values.items():
            columns[name] += column
    return columns


def _arrived(record: RoundRecord, vehicle: int) -> bool | None:
    return VehicleId(vehicle) in record.arrivals.updates if vehicle in record.cohort.vehicles else None


def _actual_seconds(record: RoundRecord, vehicle: int) -> float | None:
    arrived = record.arrivals.updates.get(VehicleId(vehicle))
    return None if arrived is None else (arrived.at - record.cohort.started) / SECOND


def malicious_share(weights: Mapping[VehicleId, int], honest: Bools) -> float | None:
    """Share of the weight that attackers got, or None where nothing was merged."""
    if not weights:
        return None
    return sum(weight for vehicle, weight in weights.items() if not honest[vehicle]) / sum(weights.values())


def poisoned_share(weights: Mapping[VehicleId, int], poisoned: frozenset[VehicleId]) -> float | None:
    """Share of the weight that false updates got, or None where nothing was merged."""
    if not weights:
        return None
    return sum(weight for vehicle, weight in weights.items() if vehicle in poisoned) / sum(weights.values())


def area_under_curve(values: Floats, honest: Bools) -> float | None:
    """Probability that an honest value lies above a malicious one, ties counted half; None without both.

    >>> area_under_curve(np.array([0.9, 0.4, 0.4]), np.array([True, True, False]))
    0.75
    """
    good, bad = values[honest], values[~honest]
    if not len(good) or not len(bad):
        return None
    above = (good[:, None] > bad).sum() + 0.5 * (good[:, None] == bad).sum()
    return float(above / (len(good) * len(bad)))


def finite_or_none(value: float) -> float | None:
    """The number, or None for NaN and infinity, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


def vehicle_rows(updates: Mapping[str, Sequence[Any]], reputations: Ints, honest: Bools) -> Rows:
    """The table ``vehicles``: every vehicle at the end of the run."""
    count = len(reputations)
    rows = np.asarray(updates["vehicle"], dtype=np.int64)
    scored = np.array([score is not None for score in updates["score"]], dtype=np.float64)
    return {
        "vehicle": np.arange(count),
        "honest": honest,
        "reputation": reputations / MILLION,
        "chosen": np.bincount(rows, minlength=count),
        "judged": np.bincount(rows, weights=scored, minlength=count).astype(np.int64),
        "reward": np.bincount(rows, weights=np.asarray(updates["reward"], dtype=np.float64), minlength=count),
        "energy_j": np.bincount(
            rows, weights=np.asarray(updates["energy_j"], dtype=np.float64), minlength=count
        ),
    }
