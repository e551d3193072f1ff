"""Laws of the sidelink channel, and the values that ns-3 has for TR 37.885."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from platoon.physics.sidelink import (
    compute_blockage_db,
    compute_clear_probability,
    compute_corner_loss_db,
    compute_street_loss_db,
)

# ns-3, three-gpp-propagation-loss-model-test-suite.cc, V2V urban: metres, dB at 5 GHz.
GOLDEN = [(10.0, 68.1913, 80.0605), (100.0, 84.8913, 110.0605), (1000.0, 101.5913, 140.0605)]
distances = st.floats(1.0, 5000.0)
carriers = st.floats(0.5, 100.0)


@pytest.mark.parametrize(("distance", "street", "corner"), GOLDEN)
def test_path_loss_golden(distance: float, street: float, corner: float) -> None:
    assert compute_street_loss_db(distance, 5.0) == pytest.approx(street, abs=1e-4)
    assert compute_corner_loss_db(distance, 5.0) == pytest.approx(corner, abs=1e-4)


def test_path_loss_at_the_its_band() -> None:
    """By hand: 38.77 + 16.7 * 2 + 18.2 * log10(5.9), and 36.85 + 60 + 18.9 * log10(5.9)."""
    assert compute_street_loss_db(100.0, 5.9) == pytest.approx(86.1995, abs=1e-3)
    assert compute_corner_loss_db(100.0, 5.9) == pytest.approx(111.4191, abs=1e-3)


@given(near=distances, far=distances, carrier=carriers)
def test_loss_grows_with_distance_and_buildings(near: float, far: float, carrier: float) -> None:
    near, far = sorted((near, far))
    for law in (compute_street_loss_db, compute_corner_loss_db):
        assert law(near, carrier) <= law(far, carrier)
    if near >= 10.0:
        assert compute_street_loss_db(near, carrier) < compute_corner_loss_db(near, carrier)


@given(st.lists(distances, min_size=1, max_size=20), carriers)
def test_columns_are_their_elements(many: list[float], carrier: float) -> None:
    for law in (compute_street_loss_db, compute_corner_loss_db):
        assert law(many, carrier).tolist() == [float(law(one, carrier)) for one in many]


@given(near=distances, far=distances)
def test_a_clear_view_gets_rarer_with_distance(near: float, far: float) -> None:
    near, far = sorted((near, far))
    assert 0.0 < compute_clear_probability(far) <= compute_clear_probability(near) <= 1.0
    assert compute_clear_probability(4.0) == 1.0  # 1.05 exp(-0.0114 d) is above one up to 4.28 m


@pytest.mark.parametrize(("low", "high", "mean", "deviation"), [(1.5, 1.5, 9.0, 4.5), (1.5, 10.0, 5.0, 4.0)])
def test_blockage_has_the_standards_moments(low: float, high: float, mean: float, deviation: float) -> None:
    """Over the quantiles of the normal distribution; below 540 m the mean does not depend on the distance."""
    shares = (np.arange(100_000) + 0.5) / 100_000
    normal = ndtri(shares)
    loss = compute_blockage_db(200.0, low, high, normal)
    assert loss.min() >= 0.0
    assert loss.mean() == pytest.approx(mean, abs=0.01)
    assert loss.std() == pytest.approx(deviation, abs=0.02)


def test_no_blockage_above_all_cars() -> None:
    assert compute_blockage_db(200.0, 2.0, 10.0, 3.0) == 0.0


@given(distances, st.floats(-4.0, 4.0))
def test_blockage_grows_far_away(distance: float, normal: float) -> None:
    loss = compute_blockage_db(distance, 1.5, 1.5, normal)
    assert loss > 0.0
    if distance < 500.0:
        assert loss == pytest.approx(compute_blockage_db(1.0, 1.5, 1.5, normal))
