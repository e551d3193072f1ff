"""How alike two sets of images are, from sketches that give no image away.

A sketch is the mean and the spread of the brightness in each cell of a coarse grid over all images: the first two
moments per place, of which CORAL (Sun and Saenko 2016) aligns the same kind. It is a claim like all of a listing,
and says nothing of labels.
"""

from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.nouns import MILLION

GRID: Final = 4
"""Cells along each side."""


def sketch_domain(images: Images) -> tuple[int, ...]:
    """(2 GRID^2,) means, then standard deviations, parts per million of full brightness.

    Args:
        images: (n, height, width, channels) of bytes, at least ``GRID`` pixels wide and high.

    Raises:
        ValueError: no images, or too small ones.
    """
    if len(images) == 0 or min(images.shape[1:3]) < GRID:
        raise ValueError(
            f"images of shape {images.shape}; allowed: some, {GRID} pixels wide and high at least"
        )
    grey = images.mean(axis=3) / 255
    rows = np.array_split(np.arange(grey.shape[1]), GRID)
    columns = np.array_split(np.arange(grey.shape[2]), GRID)
    cells = np.stack([grey[:, row][:, :, column].mean(axis=(1, 2)) for row in rows for column in columns])
    moments = np.concatenate([cells.mean(axis=1), cells.std(axis=1)])
    return tuple(round(float(value) * MILLION) for value in moments)
