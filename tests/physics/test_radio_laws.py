"""Golden values of two independent implementations, and laws of the channel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.physics.radio import (
    CQI_EFFICIENCY,
    CQI_THRESHOLD_DB,
    compute_breakpoint_m,
    compute_cqi,
    compute_noise_dbm,
    compute_path_loss_db,
    compute_rate,
    compute_shadow_sigma_db,
    compute_snr_db,
)

DISTANCES = np.array([20.0, 50.0, 100.0, 200.0, 500.0, 1000.0])
# ns-3 3.44 ThreeGppUmiStreetCanyonPropagationLossModel, 5.9 GHz, RSU at 10 m, vehicle at 1.5 m.
GOLDEN_LOS = np.array([75.896, 83.625, 89.850, 96.147, 107.345, 119.384])
GOLDEN_NLOS = np.array([86.018, 99.011, 109.474, 120.059, 134.095, 144.720])

distances = st.floats(0.0, 10_000.0)
carriers = st.floats(0.5, 100.0)
heights = st.floats(0.5, 40.0)


def test_path_loss_golden() -> None:
    assert np.abs(compute_path_loss_db(DISTANCES, True, 5.9) - GOLDEN_LOS).max() < 1e-3
    assert np.abs(compute_path_loss_db(DISTANCES, False, 5.9) - GOLDEN_NLOS).max() < 1e-3


@settings(deadline=None)
@given(distances, distances, carriers, heights, st.booleans())
def test_path_loss_grows_with_distance(
    one: float, other: float, ghz: float, height: float, los: bool
) -> None:
    near, far = sorted((one, other))
    assert compute_path_loss_db(near, los, ghz, height) <= compute_path_loss_db(far, los, ghz, height) + 1e-9


@settings(deadline=None)
@given(distances, carriers, heights)
def test_blocked_is_never_better_than_line_of_sight(distance: float, ghz: float, height: float) -> None:
    blocked = compute_path_loss_db(distance, False, ghz, height)
    assert blocked >= compute_path_loss_db(distance, True, ghz, height)


@settings(deadline=None)
@given(carriers, st.floats(2.0, 40.0))
def test_path_loss_is_continuous_at_the_breakpoint(ghz: float, height: float) -> None:
    edge = compute_breakpoint_m(ghz, height, 1.5)
    below, above = compute_path_loss_db(np.array([edge * (1 - 1e-9), edge * (1 + 1e-9)]), True, ghz, height)
    assert above == pytest.approx(below, abs=1e-5)


def test_path_loss_broadcasts_links_over_rsus() -> None:
    los = np.array([[True, False], [False, True], [True, True]])
    loss = compute_path_loss_db(np.full((3, 2), 300.0), los, 2.0)
    assert loss.shape == (3, 2)
    assert (loss[~los] > loss[los].max()).all()
    assert set(compute_shadow_sigma_db(los)[0]) == {4.0, 7.82}


def test_link_budget() -> None:
    noise = compute_noise_dbm(20e6, 5.0)
    assert noise == pytest.approx(-95.99, abs=0.01)
    snr = compute_snr_db(np.array([100.0]), 23.0, 11.0, noise)
    assert snr[0] == pytest.approx(23 + 11 - 100 + 95.99, abs=0.01)


@settings(deadline=None)
@given(st.floats(-60.0, 60.0), st.floats(-60.0, 60.0), st.sampled_from(["cqi", "shannon"]))
def test_rate_grows_with_snr(one: float, other: float, law: str) -> None:
    low, high = sorted((one, other))
    assert compute_rate(low, 1e6, law) <= compute_rate(high, 1e6, law)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.floats(-60.0, 60.0))
def test_cqi_rate_stays_below_shannon(snr: float) -> None:
    assert compute_rate(snr, 1e6, "cqi") <= compute_rate(snr, 1e6, "shannon")


def test_every_threshold_opens_its_cqi() -> None:
    assert compute_cqi(CQI_THRESHOLD_DB).tolist() == list(range(1, 16))
    assert compute_cqi(CQI_THRESHOLD_DB - 1e-9).tolist() == list(range(15))
    assert compute_cqi([-np.inf, np.inf, np.nan]).tolist() == [0, 15, 0]
    assert (np.diff(CQI_EFFICIENCY) > 0).all()
