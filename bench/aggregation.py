"""CPU seconds of every aggregator and pre-aggregation on the updates of one round.

    python -m bench aggregation

prints a table and writes ``bench/out/aggregation.json``. Ten updates of 300,000 entries of normal noise, f = 3 (1
for Bulyan, which bears no more); the peer is ByzFL on the same values in float64, where it has the rule. Median and
spread over the repetitions, in which the two sides take turns; a pre-aggregation's row holds a weighted mean too.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.byzfl import load_byzfl
from bench.rows import Row, keep, row
from platoon.learning.aggregation import SCALE
from platoon.learning.aggregators import AGGREGATORS, PRE_AGGREGATIONS, resolve_aggregator
from platoon.records.rules import WEIGHT_TOTAL
from platoon.rng import stream
from platoon.scenario import Aggregation

REPETITIONS = 7
UPDATES, SIZE = 10, 300_000
SHARE = {"bulyan": 0.1}


def main() -> None:
    updates = np.rint(stream(0, "bench").normal(0.0, 0.02, (UPDATES, SIZE)) * SCALE).astype(np.int32)
    weights = np.array([WEIGHT_TOTAL - 9 * 100_000, *[100_000] * 9])
    peers = make_peers(load_byzfl("aggregators"))
    rows = [measure(name, "none", updates, weights, peers) for name in AGGREGATORS]
    rows += [measure("weighted_mean", name, updates, weights, peers) for name in PRE_AGGREGATIONS]
    keep("aggregation", rows)
    for kept in rows:
        peer = f"{kept['peer']}: {kept['peer_value']:.3f}" if kept["peer"] else ""
        print(f"{kept['name']:36} {kept['value']:8.4f} {kept['unit']:6} +- {kept['spread']:.4f}  {peer}")


def measure(
    rule: str,
    pre: str,
    updates: np.ndarray[Any, Any],
    weights: np.ndarray[Any, Any],
    peers: dict[str, Callable[[Any], Any]],
) -> Row:
    """The row of one rule."""
    name = rule if pre == "none" else pre
    settings = Aggregation(rule=rule, pre=pre, malicious_share=SHARE.get(rule, 0.3))
    aggregate = resolve_aggregator(settings, UPDATES)
    values = updates / SCALE
    ours, theirs = [], []
    for _ in range(REPETITIONS):
        ours.append(cpu_seconds(lambda: aggregate(updates, weights)))
        if name in peers:
            theirs.append(cpu_seconds(lambda: peers[name](values.copy())))
    peer = ("ByzFL, CPU s", statistics.median(theirs)) if theirs else (None, None)
    return row(f"{name}_cpu_s", ours, "CPU s", *peer)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process, all its threads."""
    before = time.process_time()
    work()
    return time.process_time() - before


def make_peers(theirs: Any) -> dict[str, Callable[[Any], Any]]:
    """ByzFL's rules under our names, with the same f and as many iterations."""
    return {
        "weighted_mean": theirs.Average(),
        "median": theirs.Median(),
        "trimmed_mean": theirs.TrMean(3),
        "geometric_median": theirs.GeometricMedian(nu=1e-6, T=16),
        "krum": theirs.Krum(3),
        "multi_krum": theirs.MultiKrum(3),
        "centred_clipping": theirs.CenteredClipping(L=16, tau=10.0),
        "clipping": theirs.Clipping(10.0),
        "nnm": theirs.NNM(3),
        "bucketing": theirs.Bucketing(2),
    }
