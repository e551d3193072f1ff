"""One seed, many named streams of randomness.

A stream is named by its purpose, never by draw order (fedjax's per-round keys, with the seed in): adding a
vehicle or a phase changes nobody else's dice, and nothing needs to be saved to resume a run.
"""

import hashlib

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """The generator of one purpose under one seed.

    >>> bool(stream(1, "train", 3, 7).random() == stream(1, "train", 3, 7).random())
    True
    >>> bool(stream(1, "train", 3, 7).random() == stream(1, "train", 37).random())
    False
    """
    return np.random.Generator(np.random.PCG64(int.from_bytes(stream_bytes(seed, *purpose)[:16], "big")))


def stream_bytes(seed: int, *purpose: str | int) -> bytes:
    """32 bytes named like a stream, for what wants a key or a torch seed rather than a generator."""
    parts = (seed, *purpose)
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).digest()
