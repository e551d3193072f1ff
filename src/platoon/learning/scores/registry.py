"""The scores by name, and how plug-ins become scores."""

from importlib.metadata import entry_points
from typing import Final

from platoon.errors import UserError
from platoon.learning.scores.cohort import Cohort, ScoreRule
from platoon.learning.scores.cosine import COSINE_THRESHOLD, cosine
from platoon.learning.scores.forensic import NEUTRAL, forensic
from platoon.learning.scores.probes import class_cone, probe_margin, probe_recall
from platoon.learning.scores.valuation import fltrust, shapley, validation_loss
from platoon.nouns import Scores
from platoon.scenario import did_you_mean

ORACLE: Final = "oracle"
"""Is told which updates are false: what other scores are compared with. The simulated driver answers for it."""
STUDY_SCORES: Final = frozenset({ORACLE})
"""Scores that know what nobody can."""

# Thresholds of the probe scores: measured on MNIST, two classes per vehicle, 30 % label flippers, 25 rounds, near
# equal rates of lost honest and passed malicious updates. class_cone and probe_recall only separate (and were only
# measured) with the loss over all classes; probe_margin and forensic with the loss over own classes. Those of
# validation_loss, fltrust and shapley are where their papers draw the line: harm, or no agreement.
SCORES: Final[dict[str, ScoreRule]] = {
    "cosine": ScoreRule(score=cosine, threshold=COSINE_THRESHOLD),
    "class_cone": ScoreRule(score=class_cone, threshold=0.75),
    "probe_recall": ScoreRule(score=probe_recall, threshold=0.8),
    "probe_margin": ScoreRule(score=probe_margin, threshold=0.25),
    "validation_loss": ScoreRule(score=validation_loss, threshold=0.0),
    "fltrust": ScoreRule(score=fltrust, threshold=0.01),
    "shapley": ScoreRule(score=shapley, threshold=0.0),
    "forensic": ScoreRule(score=forensic, threshold=NEUTRAL),
}


def resolve_score(name: str) -> ScoreRule:
    """The rule of that name: one of ``SCORES``, or a plug-in's entry point in the group ``platoon.scores``.

    Raises:
        UserError: there is none of that name, or the entry point is no ``ScoreRule``.
    """
    if name in SCORES:
        return SCORES[name]
    if name == ORACLE:
        return ScoreRule(score=_ask_the_oracle, threshold=NEUTRAL)
    plugins = {point.name: point for point in entry_points(group="platoon.scores")}
    if name not in plugins:
        raise UserError(f"trust.score = {name!r}: no such score; {did_you_mean(name, [*SCORES, *plugins])}")
    try:
        rule = plugins[name].load()
    except Exception as error:
        raise UserError(f"trust.score = {name!r}: {plugins[name].value} does not load ({error})") from error
    if not isinstance(rule, ScoreRule):
        raise UserError(
            f"trust.score = {name!r}: {plugins[name].value} is no platoon.learning.scores.ScoreRule"
        )
    return rule


def _ask_the_oracle(cohort: Cohort) -> Scores:  # noqa: ARG001
    raise UserError(
        f"trust.score = {ORACLE!r}: only a simulation knows which updates are false, so nobody else can judge by "
        f"it; allowed here: {', '.join(SCORES)}"
    )
