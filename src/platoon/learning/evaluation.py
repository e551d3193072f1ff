"""How good a model is on held-out images."""

from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.learning.models import FlatModel
from platoon.nouns import Floats, Ints, Weights

CHUNK: Final = 500
"""Images per forward pass. Float results depend on the shape of a batch, so an evaluation that is split over
processes cuts at multiples of this number and gives the same counts on any number of them."""


def count_correct(model: FlatModel, weights: Weights, images: Images, labels: Ints) -> Ints:
    """(classes,) number of images of each class that the model (D,) gets right."""
    correct = np.zeros(model.classes, dtype=np.int64)
    for start in range(0, len(labels), CHUNK):
        some = slice(start, start + CHUNK)
        predicted = model.logits(weights[None], images[some])[0].argmax(axis=1)
        hits = labels[some][predicted == labels[some]]
        correct += np.bincount(hits, minlength=model.classes)
    return correct


def compute_accuracy(correct: Ints, labels: Ints) -> float:
    """Share of the images that were right, from the counts per class; NaN without images."""
    return float(correct.sum() / len(labels)) if len(labels) else float("nan")


def compute_recall(correct: Ints, labels: Ints) -> Floats:
    """(classes,) share of each class that was right; NaN for a class without images."""
    total = np.bincount(labels, minlength=len(correct))
    recall: Floats = np.divide(correct, total, out=np.full(len(correct), np.nan), where=total > 0)
    return recall
