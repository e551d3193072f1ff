"""How well a source model will serve a target task, from what it says about a few labelled images.

Arrays in, numbers out; larger is better in every score. ``outputs`` (n, source classes) are a source model's
probabilities on n target images, ``features`` (n, d) what its last layer sees, ``labels`` (n,) the target's classes
as whole numbers. Only zero-shot accuracy needs source and target to mean the same by a class. All in float64.

Sources: NCE, Tran, Nguyen and Hassner 2019 (*Transferability and hardness of supervised classification tasks*);
LEEP, Nguyen et al. 2020; LogME, You et al. 2021, by the fixed point of You et al. 2022 (*Ranking and tuning
pre-trained models*); H-score, Bao et al. 2019, and with a shrunk covariance Ibrahim, Ponomareva and Mazumder 2021
(*Newer is not always better*); leaving one out in closed form, Allen 1974 (PRESS).
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from platoon.nouns import Floats, Ints

SUM_TOLERANCE: Final = 1e-3
"""By how much a row of probabilities may miss one: float16 softmaxes do."""
MOST_STEPS: Final = 200
"""Steps of LogME's fixed point at most; it stops when its ratio moves by less than ``TOLERANCE`` of itself."""
TOLERANCE: Final = 1e-8
RATIOS: Final = (1e-10, 1e10)
"""Range of LogME's ratio of precisions, in mean squared singular values. The evidence of a perfect fit has no
maximum (it grows as the ratio goes to 0), and that of features that explain nothing has it at infinity."""

RIDGES: Final = np.geomspace(1e-4, 1e3, 15)
"""Ridges that are tried, in mean squared singular values."""


def zero_shot_accuracy(outputs: ArrayLike, labels: ArrayLike) -> float:
    """Share of images whose most probable source class is the label: source and target share their classes.

    >>> zero_shot_accuracy([[0.9, 0.1], [0.6, 0.4]], [0, 1])
    0.5

    Raises:
        ValueError: no samples, labels that are no source class, outputs that are no probabilities.
    """
    table, classes = check_outputs(outputs), check_labels(labels)
    _check_lengths("outputs", table, classes)
    if classes.max() >= table.shape[1]:
        raise ValueError(f"labels: {classes.max()} is out of range; the model has {table.shape[1]} classes")
    return float((table.argmax(axis=1) == classes).mean())


def negative_conditional_entropy(outputs: ArrayLike, labels: ArrayLike) -> float:
    """NCE: -H(Y | Z) in nats, Y the label and Z the most probable source class; in [-H(Y), 0].

    Tran et al. take for Z the source labels of the same images; nobody has those here, so the model's answers
    stand for them (as in the LEEP paper's comparison). 0: the answer determines the label.

    Raises:
        ValueError: as ``leep``.
    """
    table, classes = _check_task("outputs", check_outputs(outputs), labels)
    hard = np.zeros_like(table)
    hard[np.arange(len(table)), table.argmax(axis=1)] = 1.0
    joint = _joint(hard, classes)
    filled = joint > 0.0
    conditional = joint / np.maximum(joint.sum(axis=0), np.finfo(np.float64).tiny)
    return float((joint[filled] * np.log(conditional[filled])).sum())


def leep(outputs: ArrayLike, labels: ArrayLike) -> float:
    """LEEP: mean log likelihood of the labels where the source classes predict them, in nats; in [-H(Y), 0].

    p(y | x) = sum over z of p(y | z) theta(x)_z, with p(y | z) the joint mean of the outputs over the labels. It
    equals NCE where every output is certain, and is never below the conditional entropy of that soft joint.

    Raises:
        ValueError: no samples, labels of one class only, outputs that are no probabilities.
    """
    table, classes = _check_task("outputs", check_outputs(outputs), labels)
    joint = _joint(table, classes)
    conditional = joint / np.maximum(joint.sum(axis=0), np.finfo(np.float64).tiny)
    likelihood = (conditional[classes] * table).sum(axis=1)
    return float(np.log(np.minimum(likelihood, 1.0)).mean())


def log_me(features: ArrayLike, labels: ArrayLike) -> float:
    """LogME: log evidence per sample of linear models of the features for each class's indicator, averaged.

    For an indicator y: w ~ N(0, 1/alpha), y ~ N(F w, 1/beta); both precisions maximise the evidence. With the
    SVD F = U S V' and t = alpha / beta, the best beta is n / (|y|^2 - sum z^2 s^2 / (t + s^2)), z = U'y, so only t
    is sought: from the best of a coarse grid (the evidence may have two maxima) by MacKay's fixed point,
    t <- gamma |Fw - y|^2 / ((n - gamma) |w|^2), gamma = sum s^2 / (t + s^2), within ``RATIOS`` and at most
    ``MOST_STEPS`` steps; the best evidence seen counts. Features are taken as they are, neither centred nor scaled.

    Raises:
        ValueError: no samples, labels of one class only, features that are not finite or all zero.
    """
    table, classes = _check_task("features", _check_table("features", features), labels)
    left, singular, _ = np.linalg.svd(table, full_matrices=False)
    kept = singular > singular[0] * max(table.shape) * np.finfo(np.float64).eps
    if not kept.any():
        raise ValueError("features: all zero")
    indicators = np.eye(int(classes.max()) + 1)[classes]
    squares = singular[kept] ** 2
    evidence = _best_evidence(squares / squares.mean(), left[:, kept].T @ indicators, indicators.sum(axis=0))
    return float(evidence.mean() / len(table))


def h_score(features: ArrayLike, labels: ArrayLike) -> float:
    """H-score: tr(cov(f)^-1 cov(E[f | y])), with the pseudo-inverse; in [0, min(classes - 1, d)].

    Of centred features with left singular vectors U it is the squared length of U's class means, so it does not
    change under invertible linear maps. With n <= d + 1 the features separate whatever the labels are, and it is
    classes - 1 for every model in general position: it says nothing there, ``shrunk_h_score`` does.

    Raises:
        ValueError: no samples, labels of one class only, features that are not finite or all the same.
    """
    table, classes = _check_task("features", _check_table("features", features), labels)
    left, _ = _centred_basis(table)
    return float((_class_means(left, classes) ** 2).sum())


def shrunk_h_score(features: ArrayLike, labels: ArrayLike) -> float:
    """H-score with the Ledoit-Wolf covariance: (1 - a) tr(((1 - a) S + a m I)^-1 cov(E[f | y])), m = tr(S) / d.

    S is the sample covariance and a in [0, 1] Ledoit and Wolf's (2004) weight of the identity, which n and d
    decide. It orders models also where n is below d; it does not change under rotations and scaling.

    Raises:
        ValueError: as ``h_score``.
    """
    table, classes = _check_task("features", _check_table("features", features), labels)
    left, squares = _centred_basis(table)
    count, width = table.shape
    variances = squares / squares[0] / count
    centred = (table - table.mean(axis=0)) / np.sqrt(squares[0])
    shrinkage, mean = _ledoit_wolf(centred, variances, width)
    shares = (1.0 - shrinkage) * variances / ((1.0 - shrinkage) * variances + shrinkage * mean)
    return float((shares * (_class_means(left, classes) ** 2).sum(axis=0)).sum())


def leave_one_out_accuracy(features: ArrayLike, labels: ArrayLike) -> float:
    """Share of images that a new last layer gets right when it has learned from all the others; in [0, 1].

    The layer is a ridge regression with offset on the classes' indicators (the most probable class wins), its ridge
    the one of ``RIDGES`` with the least squared error over left-out images. In closed form (Allen's 1974 PRESS): an
    image's left-out residual is its residual over 1 - h, h its leverage. It estimates what the buyer would reach
    by a new last layer, provided that no two images show the same object.

    Raises:
        ValueError: as ``h_score``.
    """
    table, classes = _check_task("features", _check_table("features", features), labels)
    left, squares = _centred_basis(table)
    indicators = np.eye(int(classes.max()) + 1)[classes]
    projected = left.T @ indicators
    least, right = np.inf, 0.0
    for ridge in RIDGES * squares.mean():
        shares = squares / (squares + ridge)
        fitted = left @ (shares[:, None] * projected) + indicators.mean(axis=0)
        leverage = (left**2 * shares).sum(axis=1) + 1.0 / len(table)
        residuals = (indicators - fitted) / np.maximum(1.0 - leverage, 1e-9)[:, None]
        error = float((residuals**2).sum())
        if error < least:
            least, right = error, float(((indicators - residuals).argmax(axis=1) == classes).mean())
    return right


SCORES: Final[dict[str, Callable[[Any, Any], float]]] = {
    "zero_shot_accuracy": zero_shot_accuracy,
    "negative_conditional_entropy": negative_conditional_entropy,
    "leep": leep,
    "log_me": log_me,
    "h_score": h_score,
    "shrunk_h_score": shrunk_h_score,
    "leave_one_out_accuracy": leave_one_out_accuracy,
}
OF_FEATURES: Final = ("log_me", "h_score", "shrunk_h_score", "leave_one_out_accuracy")
"""Scores that take features; the others take outputs."""


def _joint(outputs: Floats, classes: Ints) -> Floats:
    """(target classes, source classes) empirical joint distribution of label and source class."""
    joint = np.zeros((int(classes.max()) + 1, outputs.shape[1]))
    np.add.at(joint, classes, outputs / len(outputs))
    return joint


def _best_evidence(squares: Floats, projected: Floats, lengths: Floats) -> Floats:
    """(C,) largest log evidence of C targets.

    Args:
        squares: (r,) squared singular values over their mean.
        projected: (r, C) targets in the left singular basis.
        lengths: (C,) squared lengths of the targets.
    """
    count = float(lengths.sum())  # indicators: every sample belongs to one class
    parts = projected**2
    outside = np.maximum(lengths - parts.sum(axis=0), 0.0)
    outside[outside < lengths * 1e-12] = 0.0  # rounding, of a target within the features' span
    grid = np.geomspace(*RATIOS, 21)[:, None].repeat(len(lengths), axis=1)
    tried = np.stack([_evidence(ratios, squares, parts, outside, count) for ratios in grid])
    best, ratios = tried.max(axis=0), grid[tried.argmax(axis=0), np.arange(len(lengths))]
    for _ in range(MOST_STEPS):
        shares = squares[:, None] / (ratios + squares[:, None])
        used = shares.sum(axis=0)
        residual = (parts * (1.0 - shares) ** 2).sum(axis=0) + outside
        length = (parts * shares**2 / squares[:, None]).sum(axis=0)
        further = used * residual / np.maximum((count - used) * length, np.finfo(np.float64).tiny)
        further = np.clip(further, *RATIOS)
        moved, ratios = np.abs(further - ratios) / ratios, further
        best = np.maximum(best, _evidence(ratios, squares, parts, outside, count))
        if moved.max() < TOLERANCE:
            break
    return np.asarray(best)


def _evidence(ratios: Floats, squares: Floats, parts: Floats, outside: Floats, count: float) -> Floats:
    """(C,) log evidence at the given ratios t (C,), with the best noise for each."""
    left_over = ratios / (ratios + squares[:, None])
    misfit = (parts * left_over).sum(axis=0) + outside
    misfit = np.maximum(misfit, np.finfo(np.float64).tiny)
    result: Floats = 0.5 * (
        np.log(left_over).sum(axis=0) + count * (np.log(count / (2.0 * np.pi * misfit)) - 1.0)
    )
    return result


def _centred_basis(table: Floats) -> tuple[Floats, Floats]:
    """Left singular vectors (n, r) and squared singular values (r,) of the centred features, largest first.

    Raises:
        ValueError: the features never change.
    """
    left, singular, _ = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    rounding = max(table.shape) * np.finfo(np.float64).eps
    if singular[0] <= float(np.abs(table).max()) * rounding:
        raise ValueError("features: the same for every sample")
    kept = singular > singular[0] * rounding
    return np.asarray(left[:, kept]), np.asarray(singular[kept] ** 2)


def _class_means(columns: Floats, classes: Ints) -> Floats:
    """(classes, r) mean of each class's rows times the square root of their number."""
    sums = np.zeros((int(classes.max()) + 1, columns.shape[1]))
    np.add.at(sums, classes, columns)
    scaled: Floats = sums / np.sqrt(np.bincount(classes))[:, None]
    return scaled


def _ledoit_wolf(centred: Floats, eigenvalues: Floats, width: int) -> tuple[float, float]:
    """Weight of the identity, and the mean variance m, of n centred rows with the covariance's eigenvalues."""
    mean = float(eigenvalues.sum()) / width
    squared = float((eigenvalues**2).sum())
    spread = squared - width * mean**2  # |S - m I|^2
    fourth = float(((centred**2).sum(axis=1) ** 2).mean())
    error = (fourth - squared) / len(centred)  # mean |x x' - S|^2 / n
    return (1.0 if spread <= error else max(error, 0.0) / spread), mean


def _check_task(name: str, table: Floats, labels: ArrayLike) -> tuple[Floats, Ints]:
    """The table and the labels as 0 .. classes - 1, at least two of them."""
    raw = check_labels(labels)
    _check_lengths(name, table, raw)
    present, classes = np.unique(raw, return_inverse=True)
    if len(present) == 1:
        raise ValueError(f"labels: one class only ({present[0]}); a score of transfer needs two")
    return table, classes


def _check_lengths(name: str, table: Floats, labels: Ints) -> None:
    if len(table) != len(labels):
        raise ValueError(f"{name}: {len(table)} rows for {len(labels)} labels")


def check_labels(labels: ArrayLike) -> Ints:
    """Labels (n,) as int64.

    Raises:
        ValueError: none, not whole numbers, or negative ones.
    """
    raw: NDArray[Any] = np.asarray(labels)
    if raw.size == 0:
        raise ValueError("labels: no samples")
    if raw.ndim != 1 or raw.dtype.kind not in "iu":
        raise ValueError(f"labels: {raw.dtype} of shape {raw.shape}; allowed: whole numbers (n,)")
    if raw.min() < 0:
        raise ValueError(f"labels: {raw.min()} is out of range; allowed: 0 and above")
    return raw.astype(np.int64)


def _check_table(name: str, values: ArrayLike) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"{name}: shape {table.shape}; allowed: one row per sample")
    if table.size == 0:
        raise ValueError(f"{name}: no samples, or no columns")
    if not np.isfinite(table).all():
        raise ValueError(f"{name}: not all finite")
    return table


def check_outputs(outputs: ArrayLike) -> Floats:
    """Probabilities (n, classes) in float64, whose rows sum to 1 exactly but for rounding.

    Raises:
        ValueError: none, not finite, or no probabilities.
    """
    table = _check_table("outputs", outputs)
    sums = table.sum(axis=1, keepdims=True)
    if table.min() < 0.0 or np.abs(sums - 1.0).max() > SUM_TOLERANCE:
        raise ValueError("outputs: not probabilities; allowed: rows of values >= 0 that sum to 1")
    return np.asarray(table / sums)
