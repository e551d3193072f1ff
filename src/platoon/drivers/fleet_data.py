"""Which images each vehicle trains on, with which labels, and which images each edge server probes with.

The scenario and its seed decide all of it; nothing is drawn twice, nothing depends on who asks or when.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from platoon.drivers.datasets import ImageData
from platoon.errors import UserError
from platoon.fleet import draw_malicious, draw_members, is_on, list_attacks
from platoon.learning.attacks.data import DataTerms, label_flip
from platoon.learning.attacks.rules import DataRule, Rule, resolve_attack, strength_of
from platoon.learning.images import Images
from platoon.learning.partition import Partitioner, draw_missing_classes, draw_probes, hold_out
from platoon.nouns import Bools, Digest, Ints
from platoon.rng import stream
from platoon.scenario import Attack, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAttack:
    """One of the scenario's attacks, and who carries it out."""

    number: int
    """Its place among ``platoon.fleet.list_attacks``."""
    terms: Attack
    rule: Rule
    strength: float
    members: Bools
    """(N,)"""


class FleetData:
    """A data set as it is spread over one scenario's fleet and edge servers."""

    def __init__(self, scenario: Scenario, data: ImageData) -> None:
        """
        Raises:
            UserError: the data set has too few images, or classes, for the partition or for the probes.
        """
        if scenario.trust.probes_missing_classes >= data.classes:
            raise UserError(
                f"trust.probes_missing_classes = {scenario.trust.probes_missing_classes}: allowed: 0 to "
                f"{data.classes - 1}, so that {data.name} keeps a class"
            )
        self.scenario = scenario
        self.data = data
        self.malicious: Bools = draw_malicious(scenario.fleet, scenario.seed)
        """(N,)"""
        self.attacks: tuple[FleetAttack, ...] = _find_attacks(scenario, data.classes)
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

    def training_set(self, vehicle: int, round_number: int) -> tuple[Images, Ints]:
        """A vehicle's images and labels as it trains on them in a round: poisoned, if it attacks its data."""
        chosen = self.indices(vehicle)
        images, labels = self.data.train_images[chosen], np.asarray(self.data.train_labels[chosen])
        for attack in self.attacks:
            if (
                attack.members[vehicle]
                and isinstance(attack.rule, DataRule)
                and is_on(attack.terms, round_number)
            ):
                # the first is named as it was when there was one alone
                which = (attack.number,) if attack.number else ()
                rng = stream(self.scenario.seed, "attack", vehicle, *which)
                images, labels = attack.rule.attack(images, labels, self._data_terms(attack), rng)
        return images, labels

    def is_poisoned(self, vehicle: int, round_number: int) -> bool:
        """Whether an attack on the data changed a vehicle's samples in a round: a targeted flip leaves those alone
        that have nothing of its source class."""
        if not any(a.members[vehicle] and isinstance(a.rule, DataRule) for a in self.attacks):
            return False
        chosen = self.indices(vehicle)
        images, labels = self.training_set(vehicle, round_number)
        return not (
            np.array_equal(labels, self.data.train_labels[chosen])
            and np.array_equal(images, self.data.train_images[chosen])
        )

    def _data_terms(self, attack: FleetAttack) -> DataTerms:
        return DataTerms(
            classes=self.data.classes,
            strength=attack.strength,
            source=attack.terms.source,
            target=attack.terms.target,
        )

    def backdoor_target(self) -> int | None:
        """The class that a stamped trigger is to stand for; None where nobody plants a backdoor."""
        targets = [attack.terms.target for attack in self.attacks if attack.terms.name == "backdoor"]
        return targets[0] if targets else None

    def stand_in_set(self) -> tuple[Images, Ints]:
        """What attackers judge their own updates with: as many images of each class as an edge server has, as far
        as the attackers have them, with their true labels."""
        rows = [self.indices(int(vehicle)) for vehicle in np.flatnonzero(self.malicious)]
        pool = np.unique(np.concatenate(rows))
        rng, labels = stream(self.scenario.seed, "stand-in"), self.data.train_labels
        per_class = self.scenario.trust.probes_per_class
        chosen = [
            rng.permutation(pool[labels[pool] == label])[:per_class] for label in range(self.data.classes)
        ]
        indices = np.sort(np.concatenate(chosen))
        return self.data.train_images[indices], np.asarray(labels[indices])

    def probe_set(self, edge_server: int) -> tuple[Images, Ints]:
        """An edge server's probe images, and the labels that it takes for true: right ones of every class, unless
        the scenario says otherwise."""
        trust, seed = self.scenario.trust, self.scenario.seed
        chosen = draw_probes(
            self._held_out,
            self.data.train_labels,
            classes=self.data.classes,
            per_class=trust.probes_per_class,
            seed=seed,
            edge_server=edge_server,
            missing=draw_missing_classes(
                self.data.classes,
                trust.probes_missing_classes,
                alike=trust.probes_missing_alike,
                seed=seed,
                edge_server=edge_server,
            ).tolist(),
        )
        images, labels = self.data.train_images[chosen], np.asarray(self.data.train_labels[chosen])
        if not trust.probes_wrong_labels:
            return images, labels
        terms = DataTerms(classes=self.data.classes, strength=trust.probes_wrong_labels, source=0, target=0)
        return label_flip(images, labels, terms, stream(seed, "wrong-labels", edge_server))

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


def _find_attacks(scenario: Scenario, classes: int) -> tuple[FleetAttack, ...]:
    found = []
    for number, terms in enumerate(list_attacks(scenario.fleet)):
        rule = resolve_attack(terms.name)
        for key in rule.aims:
            if getattr(terms, key) >= classes:
                raise UserError(
                    f"fleet.attacks: {key} = {getattr(terms, key)} of {terms.name}: allowed: 0 to {classes - 1}, "
                    f"the classes of {scenario.task.data}"
                )
        members = draw_members(scenario.fleet, scenario.seed, number)
        strength = strength_of(terms, rule)
        found.append(FleetAttack(number=number, terms=terms, rule=rule, strength=strength, members=members))
    return tuple(found)
