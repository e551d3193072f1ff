"""Which images each vehicle trains on, with which labels, and which images each edge server probes with.

The scenario and its seed decide all of it; nothing is drawn twice, nothing depends on who asks or when.
"""

import hashlib

import numpy as np

from platoon.drivers.datasets import ImageData
from platoon.fleet import draw_malicious, find_authors
from platoon.learning.attacks import resolve_attack
from platoon.learning.images import Images
from platoon.learning.partition import Partitioner, draw_probes, hold_out
from platoon.nouns import Bools, Digest, Ints
from platoon.rng import stream
from platoon.scenario import Scenario


class FleetData:
    """A data set as it is spread over one scenario's fleet and edge servers."""

    def __init__(self, scenario: Scenario, data: ImageData) -> None:
        """
        Raises:
            UserError: the data set has too few images, or classes, for the partition or for the probes.
        """
        self.scenario = scenario
        self.data = data
        self.malicious: Bools = draw_malicious(scenario.fleet, scenario.seed)
        """(N,)"""
        self.authors: Ints = find_authors(scenario.fleet, scenario.seed)
        """(N,) whose update each vehicle sends."""
        self._attack = resolve_attack(scenario.fleet)
        self._held_out = hold_out(
            data.train_labels,
            data.train_groups,
            classes=data.classes,
            probes_per_class=scenario.trust.probes_per_class,
            seed=scenario.seed,
        )
        self._partitioner = Partitioner(
            scenario.partition,
            data.train_labels,
            pool=self._held_out.pool,
            classes=data.classes,
            seed=scenario.seed,
        )

    def indices(self, vehicle: int) -> Ints:
        """Indices of a vehicle's images among the training images, sorted."""
        return self._partitioner.indices(vehicle)

    def training_set(self, vehicle: int) -> tuple[Images, Ints]:
        """A vehicle's images, and their labels as it trains on them (false ones, if it is malicious)."""
        chosen = self.indices(vehicle)
        labels = self.data.train_labels[chosen]
        if self.malicious[vehicle]:
            rng = stream(self.scenario.seed, "attack", vehicle)
            labels = self._attack(labels, self.data.classes, rng)
        return self.data.train_images[chosen], np.asarray(labels)

    def probe_set(self, edge_server: int) -> tuple[Images, Ints]:
        """An edge server's probe images and their true labels."""
        chosen = draw_probes(
            self._held_out,
            self.data.train_labels,
            classes=self.data.classes,
            per_class=self.scenario.trust.probes_per_class,
            seed=self.scenario.seed,
            edge_server=edge_server,
        )
        return self.data.train_images[chosen], np.asarray(self.data.train_labels[chosen])

    def probe_digest(self, edge_server: int) -> Digest:
        """SHA-256 over an edge server's probe images and labels: what it commits to before it judges."""
        images, labels = self.probe_set(edge_server)
        content = images.tobytes() + labels.astype("<i8").tobytes()
        return Digest(hashlib.sha256(content).digest())

    def test_indices(self) -> Ints:
        """Indices of the test images used after a round: all, or ``task.test_samples`` of them, sorted."""
        total, wanted = len(self.data.test_labels), self.scenario.task.test_samples
        if wanted >= total:
            return np.arange(total)
        return np.sort(stream(self.scenario.seed, "test").choice(total, wanted, replace=False))
