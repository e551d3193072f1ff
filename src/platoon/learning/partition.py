"""How the data lie in the vehicles (IID, k classes each, Dirichlet label shares) and in the edge servers' probes.

Every vehicle and every edge server draws from its own named stream, so adding one moves nobody else's data.
Inside a vehicle no image repeats; two vehicles may hold the same image (a fleet of 200 x 300 images is as large
as MNIST itself). Probes come from a reserve that no vehicle draws from.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from platoon.errors import UserError
from platoon.nouns import Floats, Ints
from platoon.rng import stream
from platoon.scenario import Partition

RESERVE_FACTOR = 4
"""The reserve of a class holds this many probe sets, so that the edge servers' probes overlap little..."""
RESERVE_SHARE = 0.2
"""...but, where a class is small, not more than this share of it (and at least one probe set)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Training images split into what vehicles may hold and what probes are drawn from."""

    pool: Ints
    """Indices for the vehicles, sorted."""
    reserve: Ints
    """Indices for probes, sorted; no group of images is in both."""


def hold_out(labels: Ints, groups: Ints, *, classes: int, probes_per_class: int, seed: int) -> HeldOut:
    """Set whole groups of images aside for probes, class by class.

    Args:
        labels: (n,) label of every training image.
        groups: (n,) images of one group show one object, so they have one label; they stay together.

    Raises:
        UserError: a class has too few images for one probe set.
    """
    reserve = []
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        wanted = max(
            probes_per_class, min(RESERVE_FACTOR * probes_per_class, int(RESERVE_SHARE * len(members)))
        )
        if wanted >= len(members):
            raise UserError(
                f"trust.probes_per_class = {probes_per_class}: class {label} has {len(members)} images; "
                "allowed: fewer than that, so that vehicles keep some"
            )
        names, sizes = np.unique(groups[members], return_counts=True)
        order = stream(seed, "reserve", label).permutation(len(names))
        taken = order[: 1 + int(np.searchsorted(np.cumsum(sizes[order]), wanted))]
        reserve.append(members[np.isin(groups[members], names[taken])])
    chosen = np.sort(np.concatenate(reserve))
    return HeldOut(pool=np.setdiff1d(np.arange(len(labels)), chosen), reserve=chosen)


def draw_probes(
    held_out: HeldOut,
    labels: Ints,
    *,
    classes: int,
    per_class: int,
    seed: int,
    edge_server: int,
    missing: Collection[int] = (),
) -> Ints:
    """Indices of one edge server's probe images: ``per_class`` of every class that is not ``missing``, class by
    class. What is missing changes no other image."""
    rng = stream(seed, "probe", edge_server)
    of_class = [held_out.reserve[labels[held_out.reserve] == label] for label in range(classes)]
    drawn = [rng.choice(indices, per_class, replace=False) for indices in of_class]
    return np.concatenate([chosen for label, chosen in enumerate(drawn) if label not in missing])


def draw_missing_classes(classes: int, missing: int, *, alike: bool, seed: int, edge_server: int) -> Ints:
    """The classes (``missing``,) of which one edge server has no probes, sorted: its own, or everybody's. More
    missing classes are those of a smaller number and others."""
    who = () if alike else (edge_server,)
    return np.sort(stream(seed, "missing-classes", *who).permutation(classes)[:missing])


class Partitioner:
    """Draws the data of any one vehicle, whoever else there is."""

    def __init__(self, rule: Partition, labels: Ints, *, pool: Ints, classes: int, seed: int) -> None:
        """
        Args:
            labels: (n,) label of every image of the data set.
            pool: indices into ``labels`` that vehicles may hold.

        Raises:
            UserError: more samples or classes are asked for than there are.
        """
        if rule.samples > len(pool):
            raise UserError(
                f"partition.samples = {rule.samples}: more than the {len(pool)} images to draw from"
            )
        if rule.kind == "classes" and rule.classes > min(classes, rule.samples):
            raise UserError(
                f"partition.classes = {rule.classes}: allowed: 1 to {min(classes, rule.samples)} "
                "(the data set's classes, and partition.samples)"
            )
        self._rule = rule
        self._seed = seed
        self._by_class = [pool[labels[pool] == label] for label in range(classes)]

    def indices(self, vehicle: int) -> Ints:
        """Indices (``rule.samples``,) of one vehicle's images, sorted.

        Raises:
            UserError: a class is too small for what this vehicle needs of it.
        """
        rng = stream(self._seed, "partition", vehicle)
        counts = _counts(self._rule, np.array([len(indices) for indices in self._by_class]), rng)
        chosen = [
            rng.choice(indices, count, replace=False)
            for indices, count in zip(self._by_class, counts, strict=True)
        ]
        return np.sort(np.concatenate(chosen))


def label_histograms(labels: Ints, parts: list[Ints], classes: int) -> Ints:
    """(vehicles, classes) number of each vehicle's samples of each class."""
    return np.array([np.bincount(labels[part], minlength=classes) for part in parts], dtype=np.int64)


def _counts(rule: Partition, available: Ints, rng: np.random.Generator) -> Ints:
    """(classes,) samples of each class that one vehicle holds; sums to ``rule.samples``."""
    if rule.kind == "iid":
        return rng.multivariate_hypergeometric(available, rule.samples)
    if rule.kind == "dirichlet":
        return _capped_multinomial(
            rng.dirichlet(np.full(len(available), rule.alpha)), available, rule.samples, rng
        )
    chosen = rng.permutation(len(available))[: rule.classes]
    counts = np.zeros(len(available), dtype=np.int64)
    counts[chosen] = rule.samples // rule.classes
    counts[chosen[: rule.samples % rule.classes]] += 1
    if (short := np.flatnonzero(counts > available)).size:
        raise UserError(
            f"partition.samples = {rule.samples}: class {short[0]} has {available[short[0]]} images for vehicles, "
            f"one with {rule.classes} classes needs {counts[short[0]]}"
        )
    return counts


def _capped_multinomial(shares: Floats, available: Ints, samples: int, rng: np.random.Generator) -> Ints:
    """Label counts by ``shares``; what a small class cannot give is drawn again among classes with images left."""
    counts = np.zeros(len(available), dtype=np.int64)
    while (missing := samples - int(counts.sum())) > 0:
        weights = np.where(counts < available, shares, 0.0)
        if (
            weights.sum() <= 0.0
        ):  # the shares of the classes that have images left are zero to machine precision
            weights = (counts < available).astype(np.float64)
        counts = np.minimum(counts + rng.multinomial(missing, weights / weights.sum()), available)
    return counts
