"""Eq. 11 of DTB-FL, exactly as written: how much an update agrees with all others."""

from typing import Final

import numpy as np

from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.rows import unit_rows
from platoon.nouns import Scores

COSINE_THRESHOLD: Final = 0.3
"""Q_min of DTB-FL 4.3."""


def cosine(cohort: Cohort) -> Scores:
    """Eq. 11 of DTB-FL: mean cosine of an update with every other one; in [-1, 1].

    An update of zeros has cosine 0 with everything. A lone update has no peers: it gets Q_min of the paper, 0.3,
    with evidence 0, which moves no reputation.
    """
    count = len(cohort.updates)
    if count < 2:
        return Scores(values=np.full(count, COSINE_THRESHOLD), evidence=0.0)
    units = unit_rows(cohort.updates)
    cosines = units @ units.T
    np.fill_diagonal(cosines, 0.0)
    return Scores(values=np.clip(cosines.sum(axis=1) / (count - 1), -1.0, 1.0), evidence=1.0)
