"""What several scores need of updates as rows, and of logits."""

import numpy as np

from platoon.nouns import Floats, Weights


def unit_rows(rows: Floats | Weights) -> Floats:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    units: Floats = np.divide(rows, lengths, out=np.zeros(rows.shape), where=lengths > 0)
    return units


def clip_rows(rows: Weights, length: float) -> Weights:
    """Rows (K, D), the longer ones shortened to ``length``."""
    lengths = np.linalg.norm(rows, axis=1)
    factors = np.divide(length, lengths, out=np.ones_like(lengths), where=lengths > length)
    clipped: Weights = rows * factors[:, None].astype(np.float32)
    return clipped


def softmax(logits: Floats) -> Floats:
    """Probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return shares


def log_softmax(logits: Floats) -> Floats:
    """Their logarithms."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


def log_odds(logits: Floats, label: int) -> Floats:
    """(...,) logarithm of a class's probability over that of all others, from logits (..., classes)."""
    others = np.delete(logits, label, axis=-1)
    highest = others.max(axis=-1)
    odds: Floats = logits[..., label] - highest - np.log(np.exp(others - highest[..., None]).sum(axis=-1))
    return odds
