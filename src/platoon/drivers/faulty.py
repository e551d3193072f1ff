"""What malfunctioning edge servers answer in a simulation: scores upside down, votes for a model that is none.

The protocol does not know of it. A median of scores bears a minority of them, a majority of votes too; the contract
names whoever lies far off or votes otherwise, and takes of its stake. What others do with their local blocks stands
in ``platoon.drivers.tampering``.
"""

import hashlib

import numpy as np

from platoon.fleet import draw_faulty
from platoon.nouns import Digest, Scores
from platoon.scenario import Scenario


class FaultyServers:
    """The scenario's faulty edge servers."""

    def __init__(self, scenario: Scenario) -> None:
        self._members = draw_faulty(scenario)
        self._behaviour = scenario.faults.behaviour

    def score(self, edge_server: int, scores: Scores) -> Scores:
        """The scores that it signs: a faulty one gives the best update that of the worst, and so on."""
        if edge_server not in self._members or self._behaviour not in ("scores", "both"):
            return scores
        ranks = np.argsort(np.argsort(scores.values, kind="stable"), kind="stable")
        return Scores(values=np.sort(scores.values)[::-1][ranks], evidence=scores.evidence)

    def spoils(self, edge_server: int) -> bool:
        """Whether it votes another model than it should."""
        return edge_server in self._members and self._behaviour in ("model", "both")

    def spoil(self, edge_server: int, round_number: int, model: Digest) -> Digest:
        """The digest that it votes instead; nobody else has such a model."""
        return Digest(hashlib.sha256(b"noise %d %d " % (edge_server, round_number) + model).digest())
