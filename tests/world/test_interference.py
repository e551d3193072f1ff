"""Uploads in one cell disturb the others': SINR = S / (N + I), where the scenario asks for it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.nouns import Instant, VehicleId, seconds
from platoon.physics.radio import compute_interference, compute_sinr_db
from platoon.world.world import World

MakeWorld = Callable[..., World]


@given(
    st.lists(st.tuples(st.floats(-20, 40), st.floats(-20, 40), st.integers(0, 1), st.booleans()), max_size=8)
)
def test_only_other_cells_disturb_and_never_help(links: list[tuple[float, float, int, bool]]) -> None:
    snr = np.array([link[:2] for link in links], dtype=float).reshape(-1, 2)
    rsu = np.array([link[2] for link in links], dtype=np.int64)
    sending = np.array([link[3] for link in links], dtype=np.bool_)
    interference = compute_interference(snr, rsu, sending)
    assert (interference >= 0).all()
    for cell in (0, 1):
        if not (sending & (rsu != cell)).any():
            assert interference[cell] == 0.0
    assert (compute_sinr_db(snr, interference) <= snr).all()


def make_pair(make_world: MakeWorld, interference: bool) -> World:
    """Two vehicles far apart on a street, each near its own RSU."""
    places = np.array([[300.0, 0.0], [3700.0, 0.0]])
    tracks = np.repeat(places[None], 60, axis=0)
    radio = {"rsus": 4, "interference": interference, "rate": "shannon"}
    return make_world(tracks, radio=radio, compute={"load_sigma": 0.0, "load_mean": 0.0})


def upload_both(world: World) -> list[float]:
    world.advance(Instant(seconds(1)))
    for vehicle in (0, 1):
        world.start_training(VehicleId(vehicle), 1, 3e8, world.now)
    return [arrival.upload_s for arrival in world.advance(Instant(seconds(50)))]


def test_two_cells_upload_slower_together(make_world: MakeWorld) -> None:
    alone = upload_both(make_pair(make_world, False))
    together = upload_both(make_pair(make_world, True))
    assert len(alone) == len(together) == 2
    assert min(t - a for t, a in zip(sorted(together), sorted(alone), strict=True)) >= 0.0
    assert sum(together) > 1.01 * sum(alone)


def test_interference_lowers_the_sinr_and_not_the_power(make_world: MakeWorld) -> None:
    quiet, loud = make_pair(make_world, False), make_pair(make_world, True)
    for world in (quiet, loud):
        world.advance(Instant(seconds(1)))
        for vehicle in (0, 1):
            world.start_training(VehicleId(vehicle), 1, 3e9, world.now)
        world.advance(Instant(seconds(2.5)))
    one, other = quiet.measure(), loud.measure()
    assert one.rsrp_dbm.tobytes() == other.rsrp_dbm.tobytes()
    heard = np.isfinite(one.sinr_db)
    assert (other.sinr_db[heard] <= one.sinr_db[heard]).all()
    assert (other.sinr_db[heard] < one.sinr_db[heard]).any()
    # With nobody uploading there is none.
    loud.abandon_round()
    assert loud.measure().sinr_db.tobytes() == one.sinr_db.tobytes()


@pytest.mark.parametrize("interference", [False, True])
def test_time_can_be_cut_anywhere(make_world: MakeWorld, interference: bool) -> None:
    whole = upload_both(make_pair(make_world, interference))
    world = make_pair(make_world, interference)
    world.advance(Instant(seconds(1)))
    for vehicle in (0, 1):
        world.start_training(VehicleId(vehicle), 1, 3e8, world.now)
    pieces = []
    for cut in np.arange(1.3, 50.0, 0.7):
        pieces += [arrival.upload_s for arrival in world.advance(Instant(seconds(float(cut))))]
    assert pieces == pytest.approx(whole, abs=1e-4)
