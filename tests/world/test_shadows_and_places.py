"""Shadow fields as the standard describes them, service, and where RSUs stand."""

import itertools

import numpy as np
import pytest
import shapely

from platoon.nouns import Floats
from platoon.physics.roads import RoadMap
from platoon.scenario import Radio
from platoon.world.radio import LARGEST_FIELD, LINE_M, Channel, ShadowFields, place_rsus

FIELDS = ShadowFields(2, 2000.0, 1)


def make_grid(streets: int, block: float = 250.0) -> RoadMap:
    """Streets each way, as one road per direction and street; junctions where they cross."""
    end = (streets - 1) * block
    lines, ids = [], []
    for street in range(streets):
        at = street * block
        for name, line in {"x": [[0, at], [end, at]], "y": [[at, 0], [at, end]]}.items():
            ids += [f"{name}{street:02}+", f"{name}{street:02}-"]
            lines += [np.array(line, dtype=float), np.array(line[::-1], dtype=float)]
    order = np.argsort(ids)
    crossings = np.array(list(itertools.product(np.arange(streets) * block, repeat=2)))
    return RoadMap.build(
        [ids[i] for i in order], [lines[i] for i in order], [12.8] * len(ids), junctions=crossings
    )


def sample(state: int, points: Floats) -> Floats:
    """(N, R) shadows of one state of the line of sight, dB."""
    return FIELDS.compute_db(points, np.full((len(points), 2), state == 0))


@pytest.mark.parametrize(("state", "sigma", "decorrelation"), [(0, 4.0, 10.0), (1, 7.82, 13.0)])
def test_shadows_have_the_spread_and_decorrelation_of_the_standard(
    state: int, sigma: float, decorrelation: float
) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-3000, 3000, (40_000, 2))
    values = sample(state, points)
    assert values.std(axis=0) == pytest.approx([sigma] * 2, rel=0.05)
    for distance in (5.0, 10.0, 20.0, 40.0):
        angle = rng.uniform(0, 2 * np.pi, len(points))
        other = sample(state, points + distance * np.stack([np.cos(angle), np.sin(angle)], axis=1))
        found = np.corrcoef(values[:, 0], other[:, 0])[0, 1]
        # Interpolation between cells smooths the cusp at zero.
        assert found == pytest.approx(np.exp(-distance / decorrelation), abs=0.11)


def test_shadows_of_two_rsus_and_of_two_seeds_have_nothing_in_common() -> None:
    points = np.random.default_rng(0).uniform(0, 2000, (20_000, 2))
    one, other = sample(0, points).T
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05
    foreign = ShadowFields(2, 2000.0, 2).compute_db(points, np.ones((len(points), 2), dtype=bool))
    assert abs(np.corrcoef(one, foreign[:, 0])[0, 1]) < 0.05
    again = ShadowFields(2, 2000.0, 1).compute_db(points, np.ones((len(points), 2), dtype=bool))
    assert (again[:, 0] == one).all()


def test_an_rsu_more_changes_no_shadow_of_the_others() -> None:
    points = np.random.default_rng(0).uniform(0, 2000, (50, 2))
    more = ShadowFields(5, 2000.0, 1).compute_db(points, np.ones((50, 5), dtype=bool))
    assert (more[:, :2] == sample(0, points)).all()


def test_shadows_do_not_jump() -> None:
    line = np.stack([np.arange(0.0, 300.0, 0.05), np.full(6000, 7.0)], axis=1)
    assert np.abs(np.diff(sample(1, line), axis=0)).max() < 0.5


def test_fields_stay_within_their_memory() -> None:
    wide = ShadowFields(1, 1e6, 1)
    assert wide._fields.nbytes == 4 * 2 * 2 * LARGEST_FIELD**2


def make_channel(**radio: object) -> Channel:
    roads = make_grid(3)
    return Channel(roads, np.array([[8.0, 8.0], [492.0, 492.0]]), Radio.model_validate(radio), 1)


def test_nobody_is_served_beyond_the_radius_or_below_the_lowest_cqi() -> None:
    channel = make_channel(service_radius_m=300.0)
    points = channel._map.samples
    snr = channel.snr_db(points)
    served, distances = channel.serving(points, snr), channel.distances(points)
    rows = np.flatnonzero(served >= 0)
    assert (distances[rows, served[rows]] <= 300.0).all()
    assert (served[(distances > 300.0).all(axis=1)] == -1).all()
    assert (channel.serving(points, np.full_like(snr, -6.8)) == -1).all()
    assert (channel.serving(points, np.full_like(snr, -6.6)) >= 0).any()


def test_the_best_rsu_serves() -> None:
    channel = make_channel()
    points = channel._map.samples
    snr = channel.snr_db(points)
    served = channel.serving(points, snr)
    assert (served == np.argmax(snr, axis=1)).all()
    assert set(served) == {0, 1}


def test_behind_the_corner_it_is_darker_than_along_the_street() -> None:
    channel = make_channel()
    points = channel._map.samples
    along = channel._sees[:, 0]
    far = channel.distances(points)[:, 0] > 150.0
    snr = channel.snr_db(points)[:, 0]
    assert snr[along & far].mean() > snr[~along & far].mean() + 10.0


@pytest.mark.parametrize(("streets", "count", "least"), [(9, 4, 0.99), (21, 10, 0.93), (3, 1, 0.99)])
def test_rsus_cover_the_roads_from_corners_and_out_of_line(streets: int, count: int, least: float) -> None:
    roads = make_grid(streets)
    rsus = place_rsus(roads, count, 1000.0)
    assert (rsus == place_rsus(roads, count, 1000.0)).all()
    apart = np.hypot(*(roads.samples[:, None] - rsus[None]).transpose(2, 0, 1))
    assert (apart.min(axis=1) <= 1000.0).mean() >= least
    assert shapely.contains_xy(roads.compute_area(), rsus).all()
    # Each sees along its two streets.
    assert (roads.visibility(rsus).sum(axis=0) >= 4 * (streets - 1) * 25 * 0.9).all()
    for a, b, c in itertools.combinations(rsus, 3):
        longest = max(np.hypot(*(b - a)), np.hypot(*(c - a)), np.hypot(*(c - b)))
        height = abs((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]) / longest
        assert height > LINE_M - 16.0


def test_more_rsus_than_junctions() -> None:
    rsus = place_rsus(make_grid(2), 6, 1000.0)
    assert rsus.shape == (6, 2)
    assert len(np.unique(rsus, axis=0)) == 6


def test_roads_without_junctions() -> None:
    roads = RoadMap.build(["a"], [np.array([[0.0, 0.0], [1000.0, 0.0]])], [6.0])
    rsus = place_rsus(roads, 1, 1000.0)
    assert rsus[0, 0] == pytest.approx(500.0, abs=20.0)
    assert abs(rsus[0, 1]) <= 7.0
