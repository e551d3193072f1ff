"""Aggregators by name: pre-aggregations and a rule, composed as ``[aggregation]`` of a scenario says.

Updates of weight 0 are left out first. Then come the pre-aggregations in the order in which they are named,
and the rule last. Trust weights (eq. 14 of DTB-FL) count in ``weighted_mean`` only; every other rule treats the
updates that were found valid as equals. Nothing is remembered between rounds.

A plug-in is an ``Aggregator``, published as an entry point of the group ``platoon.aggregators``;
``platoon.testing.check_aggregator`` holds the laws that it has to keep.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final

import numpy as np

from platoon.errors import UserError
from platoon.learning.aggregation import Aggregator, weighted_mean
from platoon.learning.robust import (
    bucket,
    bulyan,
    centred_clipping,
    clip_lengths,
    coordinate_median,
    geometric_median,
    krum,
    mix_nearest,
    most_faulty,
    most_faulty_bulyan,
    multi_krum,
    trimmed_mean,
)
from platoon.nouns import MILLION, FixedPoint, Ints, to_ppm
from platoon.scenario import Aggregation, did_you_mean

Rule = Callable[[FixedPoint, Ints, int, Aggregation], FixedPoint]
"""Updates (K, D), weights (K,), the number f of malicious updates to bear, settings; to the step (D,)."""
PreAggregation = Callable[[FixedPoint, Ints, int, Aggregation], tuple[FixedPoint, Ints]]
"""The same, to updates and weights that the next step takes."""

AGGREGATORS: Final[dict[str, Rule]] = {
    "weighted_mean": lambda updates, weights, _, __: weighted_mean(updates, weights),
    "median": lambda updates, _, __, ___: coordinate_median(updates),
    "trimmed_mean": lambda updates, _, f, __: trimmed_mean(updates, f),
    "geometric_median": lambda updates, _, __, settings: geometric_median(updates, settings.iterations),
    "krum": lambda updates, _, f, __: krum(updates, f),
    "multi_krum": lambda updates, _, f, __: multi_krum(updates, f),
    "bulyan": lambda updates, _, f, __: bulyan(updates, f),
    "centred_clipping": lambda updates, _, __, settings: centred_clipping(
        updates, coordinate_median(updates), settings.tau, settings.iterations
    ),
}
PRE_AGGREGATIONS: Final[dict[str, PreAggregation]] = {
    "clipping": lambda updates, weights, _, __: (clip_lengths(updates), weights),
    "nnm": lambda updates, weights, f, __: (mix_nearest(updates, f), weights),
    "bucketing": lambda updates, weights, _, settings: bucket(updates, weights, settings.bucket),
}
MOST_FAULTY: Final[dict[str, Callable[[int], int]]] = {
    "trimmed_mean": most_faulty,
    "krum": most_faulty,
    "multi_krum": most_faulty,
    "nnm": most_faulty,
    "bulyan": most_faulty_bulyan,
}
"""What f a step bears of so many updates, for those that ask for it."""


def resolve_aggregator(settings: Aggregation, participants: int) -> Aggregator:
    """The aggregator that a scenario's section asks for, in rounds of ``participants`` updates.

    Where fewer updates arrive, f falls with their number, and no step is asked for more than it bears of them.

    Raises:
        UserError: a name that is not known, a plug-in that does not load, or a share of malicious updates that
            the rule cannot bear of ``participants``.
    """
    before = [_find_pre_aggregation(name) for name in split_names(settings.pre)]
    rule = _find_rule(settings.rule)
    _require_bearable(settings, participants)

    def aggregate(updates: FixedPoint, weights: Ints) -> FixedPoint:
        rows, shares = updates[weights > 0], weights[weights > 0]
        f = count_faulty(settings, len(rows))
        for name, step in zip(split_names(settings.pre), before, strict=True):
            rows, shares = step(rows, shares, _bear(name, f, len(rows)), settings)
        return rule(rows, shares, _bear(settings.rule, f, len(rows)), settings)

    return aggregate


def split_names(pre: str) -> list[str]:
    """The pre-aggregations that ``aggregation.pre`` names.

    >>> split_names("clipping+nnm"), split_names("none")
    (['clipping', 'nnm'], [])
    """
    return [] if pre == "none" else pre.split("+")


def count_faulty(settings: Aggregation, count: int) -> int:
    """f: how many of ``count`` updates may be malicious, rounded down.

    >>> count_faulty(Aggregation(malicious_share=0.3), 10)
    3
    """
    return to_ppm(settings.malicious_share) * count // MILLION


def _bear(name: str, f: int, count: int) -> int:
    """f, or what the step bears of so many updates."""
    return min(f, MOST_FAULTY[name](count)) if name in MOST_FAULTY else f


def _require_bearable(settings: Aggregation, participants: int) -> None:
    f, count = count_faulty(settings, participants), participants
    for name in [*split_names(settings.pre), settings.rule]:
        if _bear(name, f, count) < f:
            raise UserError(
                f"aggregation.malicious_share = {settings.malicious_share:g}: {f} of {participants} updates; "
                f"{name!r} of {count} bears at most {_bear(name, f, count)}: take a smaller share, another rule, "
                "or more participants"
            )
        if name == "bucketing":
            count = -(-count // settings.bucket)


def _find_pre_aggregation(name: str) -> PreAggregation:
    if name not in PRE_AGGREGATIONS:
        raise UserError(
            f"aggregation.pre: {name!r}: no such pre-aggregation; "
            f"{did_you_mean(name, ['none', *PRE_AGGREGATIONS])}, several joined by '+'"
        )
    return PRE_AGGREGATIONS[name]


def _find_rule(name: str) -> Rule:
    if name in AGGREGATORS:
        return AGGREGATORS[name]
    plugins = {point.name: point for point in entry_points(group="platoon.aggregators")}
    if name not in plugins:
        raise UserError(
            f"aggregation.rule = {name!r}: no such aggregator; {did_you_mean(name, [*AGGREGATORS, *plugins])}"
        )
    try:
        plugin = plugins[name].load()
    except Exception as error:
        raise UserError(
            f"aggregation.rule = {name!r}: {plugins[name].value} does not load ({error})"
        ) from error
    if not callable(plugin):
        raise UserError(f"aggregation.rule = {name!r}: {plugins[name].value} is no function")
    return lambda updates, weights, _, __: _ask_plugin(name, plugin, updates, weights)


def _ask_plugin(name: str, plugin: Aggregator, updates: FixedPoint, weights: Ints) -> FixedPoint:
    """A plug-in's step; what it does wrong is said by its name, not by a traceback."""
    try:
        step = np.asarray(plugin(updates, weights))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"aggregation.rule = {name!r}: raised {type(error).__name__} ({error})") from error
    if step.dtype != np.int32 or step.shape != updates.shape[1:]:
        raise UserError(
            f"aggregation.rule = {name!r}: gave a step of {step.dtype} {step.shape}; allowed: int32 "
            f"{updates.shape[1:]}"
        )
    return step
