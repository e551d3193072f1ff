"""Attacks on the updates that malicious vehicles send.

An update attack gets a ``Scene``: the clean updates of the M vehicles that carry it out in this round, and what
they know of others; it gives the M updates that they send instead. Means and deviations are taken in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from platoon.nouns import Floats, Ints, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the attackers of a round know."""

    own: Weights
    """(M, D) what each would send without this attack, in id order: clean, or what the attack before it made;
    zeros where ``UpdateRule.trains`` is false."""
    seen: Weights
    """(n, D) updates that statistics are taken of: the clean ones of the round's honest vehicles where the
    attackers know all (``knowledge = "cohort"``) and there are any; else ``own``, with what an attack before made
    of them. At least one row."""
    step: Weights
    """(D,) what the last round added to the global model; zeros before there was one."""
    strength: float
    target_row: Ints
    """(R,) entries of the last layer's row, its offset among them, of the attack's ``target`` class; none where it
    does not aim at one (``UpdateRule.aims``)."""
    judge: "Judge | None"
    """Stand-in for the edge servers' score; None where the attack has not asked for it (``UpdateRule.judges``)."""


Judge = Callable[[Weights], Floats]
"""Updates (M, D), to how far each passes the threshold of the score among the updates seen, on samples of the
attackers' own: (M,), negative if rejected."""


class UpdateAttack(Protocol):
    """A scene to the updates (M, D) that are sent; the scene is left as it is."""

    def __call__(self, scene: Scene, rng: np.random.Generator) -> Weights: ...


def sign_flip(scene: Scene, rng: np.random.Generator) -> Weights:  # noqa: ARG001
    """-strength times the own update (Li et al. 2019)."""
    return _single(-scene.strength * scene.own.astype(np.float64))


def scaling(scene: Scene, rng: np.random.Generator) -> Weights:  # noqa: ARG001
    """strength times the own update: boosts whatever was poisoned before it (Bagdasaryan et al. 2020)."""
    return _single(scene.strength * scene.own.astype(np.float64))


def gaussian(scene: Scene, rng: np.random.Generator) -> Weights:
    """The own update plus Gaussian noise of strength times its length."""
    return _add_noise(scene.own, scene.strength * np.linalg.norm(scene.own, axis=1), rng)


def alie(scene: Scene, rng: np.random.Generator) -> Weights:  # noqa: ARG001
    """A little is enough: mean - strength * deviation, entry by entry (Baruch et al. 2019); the deviation
    with n - 1, zero for a lone update."""
    return _repeat(_mean(scene) - scene.strength * _deviation(scene), scene)


def ipm(scene: Scene, rng: np.random.Generator) -> Weights:  # noqa: ARG001
    """Inner product manipulation: -strength * mean (Xie et al. 2020)."""
    return _repeat(-scene.strength * _mean(scene), scene)


def min_max(scene: Scene, rng: np.random.Generator) -> Weights:  # noqa: ARG001
    """mean - strength * gamma * deviation with the largest gamma for which no update seen is farther away than the
    two farthest are from each other (Shejwalkar and Houmansadr 2021, perturbation "inverse standard
    deviation"; their search by halving is here the root of a quadratic equation per update)."""
    mean, away = _mean(scene), -_deviation(scene)
    seen = scene.seen.astype(np.float64)
    products = seen @ seen.T
    squares = np.diag(products)
    widest = float(np.max(squares[:, None] + squares[None] - 2.0 * products, initial=0.0))
    square = float(away @ away)
    if square == 0.0:
        return _repeat(mean, scene)
    apart = mean - seen
    slope, rest = apart @ away, (apart * apart).sum(axis=1) - widest
    roots = (-slope + np.sqrt(np.maximum(slope * slope - square * rest, 0.0))) / square
    return _repeat(mean + scene.strength * max(0.0, float(roots.min())) * away, scene)


def mimic(scene: Scene, rng: np.random.Generator) -> Weights:
    """All send the same update of another, the first seen (Karimireddy et al. 2022; the victim as in ByzFL), with
    noise of strength times its length."""
    copies = np.repeat(scene.seen[:1], len(scene.own), axis=0)
    return _add_noise(copies, scene.strength * np.linalg.norm(copies, axis=1), rng)


def free_rider_random(scene: Scene, rng: np.random.Generator) -> Weights:
    """No training; every entry uniform within +-strength (Lin et al. 2019, "random weights")."""
    return _single(rng.uniform(-scene.strength, scene.strength, scene.own.shape))


def free_rider_zero(scene: Scene, rng: np.random.Generator) -> Weights:  # noqa: ARG001
    """No training, nothing sent: the global model comes back as it is."""
    return np.zeros_like(scene.own)


def free_rider_stale(scene: Scene, rng: np.random.Generator) -> Weights:
    """No training; the last step of the global model once more, with noise of strength times its length (Lin et al.
    2019, "delta weights" and, with noise, "advanced delta weights")."""
    replays = np.repeat(scene.step[None], len(scene.own), axis=0)
    return _add_noise(replays, scene.strength * np.linalg.norm(replays, axis=1), rng)


def leave_row(scene: Scene, rng: np.random.Generator) -> Weights:  # noqa: ARG001
    """The own update with strength times its move of the target's row of the last layer: a backdoor that is planted
    in the layers before, past a score that asks about the classes whose rows moved."""
    sent = scene.own.astype(np.float64)
    sent[:, scene.target_row] *= scene.strength
    return _single(sent)


WIDEST: Final = 16.0
"""Largest push that ``adaptive`` tries, over the median length of what it knows."""
HALVINGS: Final = 8
"""Coarse steps of its search; half as many fine ones follow at most."""


def adaptive(scene: Scene, rng: np.random.Generator) -> Weights:  # noqa: ARG001
    """Largest model damage subject to the score staying valid (DTB-FL eq. 7): the own update pushed against the
    mean of those seen, as far as the stand-in score of every attacker stays ``strength`` above the threshold.

    Scores are not monotone in the push, so it is halved from the widest until one passes, and then widened again by
    bisection. Where none passes the clean updates are sent: the attackers wait.
    """
    assert scene.judge is not None, "the driver gives a judge to every attack that asks for one"
    mean = _mean(scene)
    everybody = np.concatenate([scene.seen, scene.own])
    length = float(np.median(np.linalg.norm(everybody, axis=1)))
    against = -mean * (length / max(float(np.linalg.norm(mean)), 1e-12))
    pushed = [_single(scene.own + WIDEST * 0.5**k * against) for k in range(HALVINGS)]
    passing = next((k for k, tried in enumerate(pushed) if _passes(scene, tried)), None)
    if passing is None:
        return scene.own.copy()
    if passing == 0:
        return pushed[0]
    best, low = pushed[passing], WIDEST * 0.5**passing
    high = 2.0 * low
    for _ in range(HALVINGS // 2):
        middle = (low + high) / 2.0
        tried = _single(scene.own + middle * against)
        if _passes(scene, tried):
            best, low = tried, middle
        else:
            high = middle
    return best


def copy_with_noise(update: Weights, strength: float, rng: np.random.Generator) -> Weights:
    """A colluder's or a Sybil's copy (D,) of its leader's update: the same, or with noise of ``strength`` times its
    length, so that its bytes differ."""
    copied: Weights = _add_noise(update[None], strength * np.linalg.norm(update[None], axis=1), rng)[0]
    return copied


def _passes(scene: Scene, updates: Weights) -> bool:
    assert scene.judge is not None
    return bool((scene.judge(updates) >= scene.strength).all())


def _mean(scene: Scene) -> Floats:
    mean: Floats = scene.seen.mean(axis=0, dtype=np.float64)
    return mean


def _deviation(scene: Scene) -> Floats:
    if len(scene.seen) < 2:
        return np.zeros(scene.seen.shape[1])
    deviation: Floats = scene.seen.std(axis=0, dtype=np.float64, ddof=1)
    return deviation


def _repeat(update: Floats, scene: Scene) -> Weights:
    copies: Weights = np.repeat(_single(update)[None], len(scene.own), axis=0)
    return copies


def _add_noise(updates: Weights, lengths: Floats | Weights, rng: np.random.Generator) -> Weights:
    """Updates (M, D) plus Gaussian noise, each of exactly its length (M,)."""
    if not np.any(lengths):
        return updates.copy()
    noise = rng.standard_normal(updates.shape)
    noise *= (lengths / np.maximum(np.linalg.norm(noise, axis=1), 1e-12))[:, None]
    return _single(updates + noise)


def _single(values: Floats) -> Weights:
    return values.astype(np.float32)
