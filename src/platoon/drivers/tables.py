"""The tables of a run directory: their columns, types and units. Every file is written with these schemas, so
that a column is there, and of its type, even where a run has no value for it."""

import pyarrow as pa

_F, _I, _B, _S = pa.float64(), pa.int64(), pa.bool_(), pa.string()

SCHEMAS: dict[str, pa.Schema] = {
    # A row per round. Simulated seconds; tokens; joules. ``sealing_``: messages of the local chains by the link
    # that carried them, their bytes, and what vehicles radiated for them (``energy_j`` is that of ``updates``).
    "rounds": pa.schema(
        {
            "round": _I,
            "started_s": _F,
            "ended_s": _F,
            "accuracy": _F,
            "outcome": _S,
            "selected": _I,
            "arrived": _I,
            "dropped": _I,
            "valid": _I,
            "malicious_weight": _F,
            "poisoned_weight": _F,
            "score_auc": _F,
            "paid": _F,
            "escrow_left": _F,
            "distribution_s": _F,
            "training_s": _F,
            "sealing_s": _F,
            "chain_s": _F,
            "aggregation_s": _F,
            "energy_j": _F,
            "sealing_d2d": _I,
            "sealing_relayed": _I,
            "sealing_cellular": _I,
            "sealing_lost": _I,
            "sealing_bytes": _I,
            "sealing_j": _F,
            "head": _S,
        }
    ),
    # A row per chosen vehicle and round, whether its update arrived or not.
    "updates": pa.schema(
        {
            "round": _I,
            "vehicle": _I,
            "edge_server": _I,
            "samples": _I,
            "arrived": _B,
            "refused": _S,
            "score": _F,
            "evidence": _F,
            "valid": _B,
            "probation": _B,
            "weight": _F,
            "reputation_before": _F,
            "reputation_after": _F,
            "reward": _F,
            "finish_probability": _F,
            "predicted_s": _F,
            "actual_s": _F,
            "compute_s": _F,
            "upload_s": _F,
            "energy_j": _F,
            "x": _F,
            "y": _F,
            "honest": _B,
            "poisoned": _B,
        }
    ),
    # A row per edge server and round. Mean distance of its scores from the medians; tokens. ``named``: why it lost
    # of its stake ("scores", "vote", "scores and vote"); ``missed``: what it was absent from; null where nothing.
    # ``tampered`` is no record but the truth of a simulation: what became of a local block that it tampered with
    # ("given up": its committee did not seal it; "sent" to the chain); null where it did not.
    "edge_servers": pa.schema(
        {
            "round": _I,
            "edge_server": _I,
            "updates": _I,
            "deviation": _F,
            "missed": _S,
            "named": _S,
            "taken": _F,
            "stake": _F,
            "tampered": _S,
        }
    ),
    # What the twin expected, a row per round and vehicle that it knew, and what became of it: arrived and actual_s
    # are null for who was not chosen. Bit/s, Hz, metres, seconds.
    "forecasts": pa.schema(
        {
            "round": _I,
            "vehicle": _I,
            "edge_server": _I,
            "rate": _F,
            "measured_rate": _F,
            "cpu_hz": _F,
            "x": _F,
            "y": _F,
            "finish_probability": _F,
            "finish_seconds": _F,
            "position_sigma": _F,
            "chosen": _B,
            "arrived": _B,
            "actual_s": _F,
        }
    ),
    # Forecasts made in practice, with what was measured when they were due: a sample of the fleet. Seconds of
    # simulated time; metres; standard deviation per axis; dB of the best RSU, null out of service.
    "practice": pa.schema(
        {
            "made_s": _F,
            "horizon_s": _F,
            "vehicle": _I,
            "x": _F,
            "y": _F,
            "sigma": _F,
            "x_then": _F,
            "y_then": _F,
            "link_db": _F,
            "link_stays_db": _F,
            "link_then_db": _F,
        }
    ),
    # Every vehicle at the end.
    "vehicles": pa.schema(
        {
            "vehicle": _I,
            "honest": _B,
            "reputation": _F,
            "chosen": _I,
            "judged": _I,
            "reward": _F,
            "energy_j": _F,
        }
    ),
}
ROUND_TABLES = ("rounds", "updates", "edge_servers", "forecasts", "practice")
"""Tables that grow with every round."""
