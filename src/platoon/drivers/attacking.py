"""A round's training with its attackers: clean updates from the pool, false ones in their place.

Honest vehicles and attackers train alike (free riders do not); then each update attack of the scenario turns the
attackers' updates into what they send, in the scenario's order; then those who act as one copy their leader's. All
of it follows from the seed, the round, the cohort and the last two global models, so that a resumed run does the
same.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from platoon.drivers.fleet_data import FleetAttack
from platoon.drivers.workers import TrainedUpdate, TrainingPool
from platoon.errors import UserError
from platoon.fleet import find_authors, is_on
from platoon.learning.aggregation import dequantise, quantise
from platoon.learning.attacks.rules import CopyRule, UpdateRule
from platoon.learning.attacks.updates import Judge, Scene, copy_with_noise
from platoon.learning.last_layer import find_row
from platoon.learning.models import FlatModel
from platoon.learning.scores import STUDY_SCORES, resolve_score
from platoon.nouns import FixedPoint, Floats, Ints, Weights
from platoon.rng import stream
from platoon.scenario import Scenario, Trust


class Attackers:
    """What the fleet's attackers do to the updates of a round."""

    def __init__(self, scenario: Scenario, pool: TrainingPool, samples: Ints) -> None:
        self._scenario = scenario
        self._pool = pool
        self._samples = samples
        self._authors = find_authors(scenario.fleet, scenario.seed)
        data = pool.fleet.data
        self._model = FlatModel(scenario.task.model, data.shape, data.classes)

    def train(
        self, round_number: int, model: FixedPoint, former: FixedPoint, vehicles: Sequence[int]
    ) -> list[TrainedUpdate]:
        """The updates that the vehicles send in a round, in their order.

        Args:
            model: (D,) the global model that was sent out.
            former: (D,) the one of the round before; the same in the first.

        Raises:
            UserError: a training diverged, or a plug-in's attack breaks its contract.
        """
        acting = [attack for attack in self._pool.fleet.attacks if is_on(attack.terms, round_number)]
        acting = [attack for attack in acting if attack.members[list(vehicles)].any()]
        if all(not isinstance(attack.rule, UpdateRule | CopyRule) for attack in acting):
            return self._pool.train(round_number, model, vehicles)
        authors = self._find_authors(acting, vehicles)
        clean = self._train_clean(round_number, model, acting, sorted(set(authors)))
        sent = self._craft(round_number, model, former, acting, clean)
        return [
            self._deliver(
                round_number, acting, sent[author], int(vehicle), first=author not in authors[:place]
            )
            for place, (vehicle, author) in enumerate(zip(vehicles, authors, strict=True))
        ]

    def _find_authors(self, acting: Sequence[FleetAttack], vehicles: Sequence[int]) -> list[int]:
        copying = any(isinstance(attack.rule, CopyRule) for attack in acting)
        return [int(self._authors[vehicle]) if copying else int(vehicle) for vehicle in vehicles]

    def _train_clean(
        self, round_number: int, model: FixedPoint, acting: Sequence[FleetAttack], authors: Sequence[int]
    ) -> dict[int, TrainedUpdate]:
        """Updates before any update attack, by author; zeros of those who do not train."""
        idle = np.zeros(len(self._samples), dtype=np.bool_)
        for attack in acting:
            if isinstance(attack.rule, UpdateRule) and not attack.rule.trains:
                idle |= attack.members
        trained = self._pool.train(round_number, model, [author for author in authors if not idle[author]])
        nothing = np.zeros_like(model)
        resting = [
            TrainedUpdate(
                vehicle=author,
                update=nothing,
                samples=int(self._samples[author]),
                cpu_seconds=0.0,
                poisoned=True,
            )
            for author in authors
            if idle[author]
        ]
        return {update.vehicle: update for update in [*trained, *resting]}

    def _craft(
        self,
        round_number: int,
        model: FixedPoint,
        former: FixedPoint,
        acting: Sequence[FleetAttack],
        clean: dict[int, TrainedUpdate],
    ) -> dict[int, TrainedUpdate]:
        """What each author sends, after every update attack in the scenario's order."""
        honest = [author for author in sorted(clean) if not any(a.members[author] for a in acting)]
        step = dequantise(model) - dequantise(former)
        sent = dict(clean)
        for attack in acting:
            rows = [author for author in sorted(sent) if attack.members[author]]
            if not isinstance(attack.rule, UpdateRule) or not rows:
                continue
            own = _stack(sent, rows)
            knows = attack.terms.knowledge == "cohort" and honest
            seen = _stack(clean, honest) if knows else own
            judge = self._make_judge(model, former, seen) if attack.rule.judges else None
            scene = Scene(
                own=own,
                seen=seen,
                step=step,
                strength=attack.strength,
                target_row=self._find_target_row(attack),
                judge=judge,
            )
            rng = stream(self._scenario.seed, "craft", attack.number, round_number)
            for author, update in zip(rows, _carry_out(attack, scene, rng), strict=True):
                sent[author] = replace(sent[author], update=quantise(update))
        return {author: _mark(update, clean[author]) for author, update in sent.items()}

    def _find_target_row(self, attack: FleetAttack) -> Ints:
        if "target" not in attack.rule.aims:
            return np.zeros(0, dtype=np.int64)
        return find_row(self._model.last_layer, self._model.classes, attack.terms.target)

    def _make_judge(self, model: FixedPoint, former: FixedPoint, seen: Weights) -> Judge:
        """The scenario's score among the updates seen, on samples of the attackers' own, over its threshold."""
        trust = self._scenario.trust
        if trust.score in STUDY_SCORES:
            # nobody passes it: they aim at what a deployment would have in its place
            trust = Trust()
        rule = resolve_score(trust.score)
        threshold = rule.threshold if trust.threshold is None else trust.threshold

        def judge(updates: Weights) -> Floats:
            cohort = quantise(np.concatenate([seen, updates]))
            scores, _ = self._pool.score_stand_in(trust.score, model, cohort, former)
            return scores.values[len(seen) :] - threshold

        return judge

    def _deliver(
        self,
        round_number: int,
        acting: Sequence[FleetAttack],
        update: TrainedUpdate,
        vehicle: int,
        *,
        first: bool,
    ) -> TrainedUpdate:
        """The author's update as the vehicle sends it; its training is booked once."""
        content = update.update
        poisoned = update.poisoned
        if vehicle != update.vehicle:
            poisoned = True
            (strength,) = (attack.strength for attack in acting if isinstance(attack.rule, CopyRule))
            rng = stream(self._scenario.seed, "disguise", round_number, vehicle)
            content = quantise(copy_with_noise(dequantise(content), strength, rng))
        spent = update.cpu_seconds if first else 0.0
        return replace(update, vehicle=vehicle, update=content, cpu_seconds=spent, poisoned=poisoned)


def _mark(sent: TrainedUpdate, clean: TrainedUpdate) -> TrainedUpdate:
    """What is sent, poisoned where it is not what was trained: attackers that wait send that. Compared as floats,
    as they were attacked, since quantised updates may hold more digits."""
    if np.array_equal(dequantise(sent.update), dequantise(clean.update)):
        return sent
    return replace(sent, poisoned=True)


def _stack(updates: dict[int, TrainedUpdate], authors: Sequence[int]) -> Weights:
    return np.stack([dequantise(updates[author].update) for author in authors])


def _carry_out(attack: FleetAttack, scene: Scene, rng: np.random.Generator) -> Weights:
    """Raises ``UserError`` where a plug-in does not give finite updates of the right shape."""
    assert isinstance(attack.rule, UpdateRule)
    sent = attack.rule.attack(scene, rng)
    if np.shape(sent) != scene.own.shape or not np.isfinite(sent).all():
        raise UserError(
            f"attack {attack.terms.name!r}: gave updates of shape {np.shape(sent)}; allowed: finite ones of "
            f"shape {scene.own.shape}"
        )
    return np.asarray(sent, dtype=np.float32)
