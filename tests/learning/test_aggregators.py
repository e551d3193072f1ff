"""Aggregators by name: laws of every composition, what they bear in short rounds, and what is refused."""

import os
import subprocess
import sys

import numpy as np
import pytest

from platoon.errors import UserError
from platoon.learning import aggregators
from platoon.learning.aggregation import weighted_mean
from platoon.learning.aggregators import AGGREGATORS, PRE_AGGREGATIONS, resolve_aggregator
from platoon.learning.robust import krum, mix_nearest, trimmed_mean
from platoon.records.rules import WEIGHT_TOTAL
from platoon.rng import stream
from platoon.scenario import Aggregation
from platoon.testing import check_aggregator

PRE = ("none", *PRE_AGGREGATIONS, "clipping+nnm")


def resolve(rule="weighted_mean", participants=10, **settings):
    return resolve_aggregator(Aggregation(rule=rule, **settings), participants)


def make_round(count=10, size=30):
    updates = stream(count, "round").integers(-(2**24), 2**24, (count, size)).astype(np.int32)
    weights = np.full(count, WEIGHT_TOTAL // count)
    weights[0] += WEIGHT_TOTAL - weights.sum()
    return updates, weights


def bearable(rule, pre):
    """One of a cohort of seven, but for Bulyan of buckets, which does not bear as much of 30."""
    return 0.1 if (rule, pre) == ("bulyan", "bucketing") else 0.15


@pytest.mark.parametrize("pre", PRE)
@pytest.mark.parametrize("rule", AGGREGATORS)
def test_every_composition_keeps_the_laws(rule, pre):
    aggregate = resolve(rule, pre=pre, malicious_share=bearable(rule, pre), participants=30)
    check_aggregator(aggregate, shortens="clipping" in pre)


@pytest.mark.parametrize("pre", PRE)
@pytest.mark.parametrize("rule", AGGREGATORS)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_a_short_round_lowers_f_and_has_a_step(rule, pre, count):
    aggregate = resolve(rule, pre=pre, malicious_share=bearable(rule, pre), participants=30)
    step = aggregate(*make_round(count))
    assert step.shape == (30,)


def test_the_default_is_the_weighted_mean():
    updates, weights = make_round()
    assert np.array_equal(resolve()(updates, weights), weighted_mean(updates, weights))


def test_f_is_the_share_of_those_that_arrived():
    aggregate = resolve("trimmed_mean", malicious_share=0.3)
    for count, f in ((10, 3), (7, 2), (3, 0)):
        updates, weights = make_round(count)
        assert np.array_equal(aggregate(updates, weights), trimmed_mean(updates, f))


def test_updates_of_weight_0_do_not_count():
    updates, weights = make_round(9)
    outlier = np.full((1, 30), 2**30, dtype=np.int32)
    more = np.concatenate([updates, outlier]), np.append(weights, 0)
    for rule in AGGREGATORS:
        aggregate = resolve(rule, malicious_share=0.1)
        assert np.array_equal(aggregate(*more), aggregate(updates, weights)), rule


def test_pre_aggregations_come_in_the_order_of_their_names():
    updates, weights = make_round()
    aggregate = resolve("krum", pre="nnm", malicious_share=0.3)
    assert np.array_equal(aggregate(updates, weights), krum(mix_nearest(updates, 3), 3))
    one, other = (
        resolve(pre=pre, malicious_share=0.1)(updates, weights) for pre in ("clipping+nnm", "nnm+clipping")
    )
    assert not np.array_equal(one, other)


def test_clipping_keeps_the_weights_of_trust():
    updates = np.array([[100, 0], [0, 100], [10_000, 0]], dtype=np.int32)
    weights = np.array([WEIGHT_TOTAL // 2, WEIGHT_TOTAL // 4, WEIGHT_TOTAL // 4])
    step = resolve(pre="clipping")(updates, weights)
    assert np.abs(step - [75, 25]).max() <= 1  # the factor 1/100 is rounded down


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"rule": "krumm"},
            r"aggregation\.rule = 'krumm': .*did you mean 'krum'.*allowed: weighted_mean, median",
        ),
        ({"pre": "nmm"}, r"aggregation\.pre: 'nmm': .*did you mean 'nnm'.*allowed: none, clipping"),
        ({"pre": "clipping,nnm"}, "joined by"),
        (
            {"rule": "bulyan", "malicious_share": 0.3},
            r"malicious_share = 0\.3: 3 of 10 updates; 'bulyan' of 10 bears at most 1",
        ),
        (
            {"rule": "krum", "pre": "bucketing", "malicious_share": 0.3},
            r"3 of 10 updates; 'krum' of 5 bears at most 2",
        ),
    ],
)
def test_invalid_settings(settings, reason):
    with pytest.raises(UserError, match=reason):
        resolve(**settings)


class Point:
    """An installed package's entry point."""

    name, value = "theirs", "their_package:theirs"

    def __init__(self, thing):
        self.thing = thing

    def load(self):
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


def test_a_plug_in_aggregates(monkeypatch):
    monkeypatch.setattr(aggregators, "entry_points", lambda group: [Point(weighted_mean)])
    check_aggregator(resolve("theirs"))


def breaks(updates, weights):
    raise ZeroDivisionError("no weight")


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (ImportError("no such module"), "does not load"),
        (7, "is no function"),
        (breaks, "raised ZeroDivisionError"),
        (lambda updates, weights: updates.mean(axis=0), "gave a step of float64"),
        (lambda updates, weights: updates, "gave a step of int32"),
    ],
)
def test_a_plug_in_that_fails_is_named(monkeypatch, thing, reason):
    monkeypatch.setattr(aggregators, "entry_points", lambda group: [Point(thing)])
    with pytest.raises(UserError, match=f"'theirs'.*{reason}"):
        resolve("theirs")(*make_round())


EVERY_RULE = """
import hashlib
import numpy as np
from platoon.learning.aggregators import AGGREGATORS, PRE_AGGREGATIONS, resolve_aggregator
from platoon.records.rules import WEIGHT_TOTAL
from platoon.rng import stream
from platoon.scenario import Aggregation

updates = stream(0, "kernels").integers(-(2**30), 2**30, (8, 20_000)).astype(np.int32)
weights = np.full(8, WEIGHT_TOTAL // 8)
bits = hashlib.sha256()
for rule, pre in [(rule, "none") for rule in AGGREGATORS] + [("krum", pre) for pre in PRE_AGGREGATIONS]:
    settings = Aggregation(rule=rule, pre=pre, malicious_share=0.2)
    bits.update(resolve_aggregator(settings, participants=20 if pre == "bucketing" else 8)(updates, weights))
print(bits.hexdigest())
"""


@pytest.mark.long
def test_another_processors_kernels_give_the_same_bits():
    """OpenBLAS is told that the processor is another one; a product of floats then differs in its last bits."""
    found = [
        subprocess.run(
            [sys.executable, "-c", EVERY_RULE],
            env={**os.environ, "OPENBLAS_CORETYPE": kernel},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for kernel in ("Haswell", "Prescott")
    ]
    assert found[0] == found[1]
