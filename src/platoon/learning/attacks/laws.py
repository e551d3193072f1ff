"""The laws that every attack has to keep; ``platoon.testing`` offers them to plug-in authors."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from platoon.learning.attacks.data import DataTerms
from platoon.learning.attacks.rules import DataRule, UpdateRule
from platoon.learning.attacks.updates import Scene
from platoon.learning.images import Images
from platoon.nouns import Ints, Weights
from platoon.rng import stream

CLASSES = 4
SIDE = 8


def check_attack(rule: DataRule | UpdateRule) -> None:
    """Hold an attack to its laws, at its own strength and at both ends of what it allows.

    Results are finite, of the arguments' shapes and kinds, labels within [0, classes); the same dice give the same
    result; the arguments are left as they are; a vehicle without samples, a lone attacker, equal updates and
    updates of zeros are borne. An update attack does not depend on the order of the updates that it sees, but for
    which is the first (``mimic`` copies it).

    >>> from platoon.learning.attacks.rules import ATTACKS
    >>> check_attack(ATTACKS["alie"])
    """
    check: Callable[[float], None]
    if isinstance(rule, DataRule):
        data = rule

        def check(strength: float) -> None:
            _check_data(data, strength)
    else:
        update = rule

        def check(strength: float) -> None:
            _check_update(update, strength)

    low, high = rule.allowed
    assert low <= rule.strength <= high, f"the strength {rule.strength} is outside [{low}, {high}]"
    for strength in (low, rule.strength, high):
        check(strength)


def make_scene(rule: UpdateRule, *, attackers: int = 3, seen: int = 6, strength: float = 1.0) -> Scene:
    """A random scene; its judge lets pass what is not turned against the mean of what was seen."""
    rng = stream(attackers, "scene", seen)
    mean = rng.normal(0.0, 0.1, 40)
    others = (mean + rng.normal(0.0, 0.05, (seen, 40))).astype(np.float32)
    own = (mean + rng.normal(0.0, 0.05, (attackers, 40))).astype(np.float32)

    def judge(updates: Weights) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.asarray(updates.astype(np.float64) @ mean)

    return Scene(
        own=own,
        seen=others,
        step=(0.5 * mean).astype(np.float32),
        strength=strength,
        target_row=np.array([7, 8, 9, 38]),
        judge=judge if rule.judges else None,
    )


def _check_data(rule: DataRule, strength: float) -> None:
    rng = stream(0, "samples")
    terms = DataTerms(classes=CLASSES, strength=strength, source=2, target=1)
    for count in (40, 1, 0):
        images = rng.integers(0, 256, (count, SIDE, SIDE, 1)).astype(np.uint8)
        labels = rng.integers(0, CLASSES, count)
        before = images.copy(), labels.copy()
        first, second = (rule.attack(images, labels, terms, stream(1, "dice")) for _ in range(2))
        assert np.array_equal(before[0], images), "the attack changed its arguments"
        assert np.array_equal(before[1], labels), "the attack changed its arguments"
        same = np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
        assert same, "the same dice gave other samples"
        _check_samples(first, images, labels)


def _check_samples(poisoned: tuple[Images, Ints], images: Images, labels: Ints) -> None:
    assert poisoned[0].shape == images.shape, f"images have shape {poisoned[0].shape}, not {images.shape}"
    assert poisoned[0].dtype == np.uint8, f"images are {poisoned[0].dtype}, not uint8"
    assert poisoned[1].shape == labels.shape, f"labels have shape {poisoned[1].shape}, not {labels.shape}"
    assert np.issubdtype(poisoned[1].dtype, np.integer), "labels are whole numbers"
    assert ((poisoned[1] >= 0) & (poisoned[1] < CLASSES)).all(), "labels lie within [0, classes)"


def _check_update(rule: UpdateRule, strength: float) -> None:
    scene = make_scene(rule, strength=strength)
    before = [array.tobytes() for array in (scene.own, scene.seen, scene.step)]
    sent = _attack(rule, scene)
    after = [array.tobytes() for array in (scene.own, scene.seen, scene.step)]
    assert before == after, "the attack changed its scene"
    assert np.array_equal(sent, _attack(rule, scene)), "the same dice gave other updates"
    order = np.array([0, *range(len(scene.seen) - 1, 0, -1)])
    shuffled = _attack(rule, replace(scene, seen=scene.seen[order]))
    assert np.allclose(sent, shuffled, atol=1e-5), "the order of the updates seen matters"
    _attack(rule, make_scene(rule, attackers=1, seen=1, strength=strength))
    _attack(rule, replace(scene, seen=np.repeat(scene.seen[:1], 4, axis=0)))
    zeros = replace(scene, own=np.zeros_like(scene.own), seen=np.zeros_like(scene.seen))
    _attack(rule, replace(zeros, step=np.zeros_like(scene.step)))


def _attack(rule: UpdateRule, scene: Scene) -> Weights:
    sent = rule.attack(scene, stream(1, "dice"))
    assert sent.shape == scene.own.shape, f"the updates have shape {sent.shape}, not {scene.own.shape}"
    assert sent.dtype == np.float32, f"the updates are {sent.dtype}, not float32"
    assert np.isfinite(sent).all(), "an update is not finite"
    return sent
