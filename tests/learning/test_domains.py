"""Sketches of domains: no image in them, and closer for what looks alike."""

import numpy as np
import pytest

from platoon.learning.domains import GRID, sketch_domain
from platoon.market.search import compare_domains


def draw(rng, brightness, count=60):
    noise = rng.normal(brightness, 20, (count, 12, 12, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def test_alike_is_closer_than_unlike():
    rng = np.random.default_rng(1)
    day, again, night = (sketch_domain(draw(rng, level)) for level in (180, 180, 60))
    assert compare_domains(day, again) < 0.02
    assert compare_domains(day, night) > 0.2


def test_order_of_images_does_not_matter():
    images = draw(np.random.default_rng(1), 100)
    assert sketch_domain(images) == sketch_domain(images[::-1])


def test_a_constant_image_has_its_brightness_and_no_spread():
    sketch = sketch_domain(np.full((3, 8, 8, 1), 255, dtype=np.uint8))
    assert sketch == (1_000_000,) * GRID**2 + (0,) * GRID**2


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (3, 2, 8, 1)])
def test_invalid_images(shape):
    with pytest.raises(ValueError, match="allowed"):
        sketch_domain(np.zeros(shape, dtype=np.uint8))
