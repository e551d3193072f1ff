"""Several scores as one: a weighted mean of how far each lies above its own threshold."""

from collections.abc import Mapping

import numpy as np

from platoon.learning.scores.cohort import Cohort, ScoreRule
from platoon.nouns import Scores


def combine(parts: Mapping[ScoreRule, float]) -> ScoreRule:
    """A rule from rules and their weights, for plug-ins; its threshold is 0, its evidence the least of theirs.

    Raises:
        ValueError: no parts, or weights that are negative, not finite or all zero.
    """
    rules, weights = tuple(parts), np.array(list(parts.values()), dtype=np.float64)
    if not len(weights) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"weights {weights.tolist()}: allowed: some that are finite, not negative and not all zero"
        )
    shares = weights / weights.sum()

    def score(cohort: Cohort) -> Scores:
        judged = [rule.score(cohort) for rule in rules]
        above = [each.values - rule.threshold for each, rule in zip(judged, rules, strict=True)]
        return Scores(
            values=np.clip(shares @ np.stack(above), -1.0, 1.0),
            evidence=min(each.evidence for each in judged),
        )

    return ScoreRule(score=score, threshold=0.0)
