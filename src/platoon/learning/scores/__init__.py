"""Scores: how an edge server judges the updates of a round (docs/scores.md).

A score is a plain function from a cohort to one value per update (larger is better) and to the evidence: how far
the model at hand can tell honest from malicious at all. ``cosine`` is eq. 11 of DTB-FL as written; the others use
a small set of labelled images that the edge server trusts. ``forensic`` also looks at the update itself.

A plug-in is a function with a default threshold, published as an entry point of the group ``platoon.scores``;
``platoon.testing.check_score`` holds the laws that it has to keep.
"""

from platoon.learning.scores.cohort import Cohort, ProbeModel, Score, ScoreRule
from platoon.learning.scores.combine import combine
from platoon.learning.scores.cosine import COSINE_THRESHOLD, cosine
from platoon.learning.scores.forensic import forensic
from platoon.learning.scores.probes import class_cone, probe_margin, probe_recall
from platoon.learning.scores.registry import ORACLE, SCORES, STUDY_SCORES, resolve_score
from platoon.learning.scores.valuation import fltrust, shapley, validation_loss

__all__ = [
    "COSINE_THRESHOLD",
    "ORACLE",
    "SCORES",
    "STUDY_SCORES",
    "Cohort",
    "ProbeModel",
    "Score",
    "ScoreRule",
    "class_cone",
    "combine",
    "cosine",
    "fltrust",
    "forensic",
    "probe_margin",
    "probe_recall",
    "resolve_score",
    "shapley",
    "validation_loss",
]
