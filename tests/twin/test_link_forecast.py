"""Links: the prior is the shared law, the map learns places, the present deviation fades with distance."""

import numpy as np
import pytest

from platoon.physics.radio import compute_noise_dbm, compute_path_loss_db, compute_snr_db
from platoon.rng import stream
from platoon.twin import foresee, link
from platoon.twin.link import Links


@pytest.fixture(scope="module")
def scene(make_town):
    return make_town().twin._scene


def test_the_prior_is_the_law_of_physics(scene):
    row, rsu = 100, 1
    distance = np.hypot(*(scene.road_map.samples[row] - scene.rsus[rsu]))
    loss = compute_path_loss_db(distance, scene.in_sight[row, rsu], 2.0, 10.0)
    assert scene.prior[row, rsu] == compute_snr_db(loss, 23.0, 11.0, compute_noise_dbm(20e6, 5.0))


def test_a_place_never_measured_says_nothing(scene):
    residuals = link.start_map(scene)
    assert not residuals.mean.any()
    assert not residuals.support.any()


def test_the_map_reads_what_was_measured_there_and_forgets_it_with_distance(scene):
    row = 5
    residuals = link.start_map(scene)
    for _ in range(20):
        residuals = link.learn_map(residuals, scene, np.array([row]), np.array([[6.0, np.nan]]))
    assert 4.0 < residuals.mean[row, 0] < 6.0
    assert residuals.mean[row, 1] == 0.0
    ahead = row + 1
    assert 0.0 < residuals.mean[ahead, 0] < residuals.mean[row, 0]
    far = np.hypot(*(scene.road_map.samples - scene.road_map.samples[row]).T) > 100
    assert not residuals.mean[far].any()


def test_touched_rows_equal_the_map_read_as_a_whole(scene):
    """The map is smoothed only around what was measured; the plain way gives the same."""
    rng = stream(1, "map")
    residuals = link.start_map(scene)
    for _ in range(4):
        rows = rng.integers(len(scene.prior), size=30)
        residuals = link.learn_map(residuals, scene, rows, rng.normal(0, 6, (30, 2)))
    mean, support = link._smooth(scene, residuals.total, residuals.visits, np.arange(len(scene.prior)))
    assert np.array_equal(mean, residuals.mean)
    assert np.array_equal(support, residuals.support)
    assert ((support >= 0) & (support < 1)).all()


def test_the_order_of_measurements_within_an_instant_does_not_matter(scene):
    rows = np.array([3, 9, 27, 81])
    residual = np.array([[1.0, 2.0], [3.0, np.nan], [-4.0, 5.0], [0.5, 0.25]])
    one = link.learn_map(link.start_map(scene), scene, rows, residual)
    other = link.learn_map(link.start_map(scene), scene, rows[::-1], residual[::-1])
    assert np.array_equal(one.mean, other.mean)


def test_present_deviation_fades_with_distance(scene):
    links = Links(residuals=link.start_map(scene), blend=link.start_blend())
    row = np.argmax(scene.prior.max(axis=1))
    best = int(scene.prior[row].argmax())
    deviation = np.where(np.arange(2) == best, 8.0, np.nan)[None]
    left, sigma = [], []
    for moved in (0.0, 8.0, 20.0, 100.0):
        snr, error, _ = link.forecast_best(scene, links, deviation, np.array([row]), np.array([moved]))
        left.append(snr[0] - scene.prior[row, best])
        sigma.append(error[0])
    assert 7.0 < left[0] <= 8.0
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.2
    assert sigma == sorted(sigma)


def forecast_plainly(scene, links, deviation, row, moved):
    """The best RSU of one node, RSU by RSU: by map and present nearby, by the map beyond."""
    weight, sigma = link.carry(links.blend, link.find_cell(scene, links.residuals, row[None], moved[None]))
    level = np.where(scene.in_service[row], scene.prior[row] + links.residuals.mean[row], -np.inf)
    with_present = level + weight[0] * np.nan_to_num(deviation)
    best = int(np.argmax(with_present if moved <= link.NEARBY_M else level))
    return with_present[best], sigma[0][best]


def test_the_best_rsu_of_many_nodes_equals_the_plain_way(make_town):
    scene = make_town(settings={"radio": {"rsus": 2, "service_radius_m": 450.0}}).twin._scene
    rng = stream(8, "nodes")
    residuals, blend = link.start_map(scene), link.start_blend()
    for _ in range(5):
        rows = rng.integers(len(scene.prior), size=60)
        residuals = link.learn_map(residuals, scene, rows, rng.normal(0, 8, (60, 2)))
    cell = link.find_cell(scene, residuals, rows, rng.uniform(0, 60, 60))
    then = rng.normal(0, 6, (60, 2))
    links = Links(residuals=residuals, blend=link.learn_blend(blend, cell, then, 0.5 * then))
    rows, moved = rng.integers(len(scene.prior), size=(3, 4, 9)), rng.uniform(0, 60, (3, 4, 9))
    deviation = np.where(rng.random((9, 2)) < 0.8, rng.normal(0, 7, (9, 2)), np.nan)
    snr, sigma, _ = link.forecast_best(scene, links, deviation, rows, moved)
    assert np.isinf(snr).any()
    for place in np.ndindex(rows.shape):
        plain = forecast_plainly(scene, links, deviation[place[2]], rows[place], moved[place])
        assert snr[place] == pytest.approx(plain[0])
        assert np.isinf(snr[place]) or sigma[place] == pytest.approx(plain[1])


def test_the_table_of_mean_rates_is_their_mean(scene):
    rng = stream(9, "rates")
    snr, sigma = rng.uniform(-25, 40, 300), rng.uniform(0, 12, 300)
    draws = snr + sigma * rng.standard_normal((20_000, 300))
    mean = foresee.rate_of(scene, draws).mean(axis=0)
    assert np.abs(scene.expect_rate(snr, sigma) - mean).max() < 0.03 * foresee.rate_of(scene, np.array(60.0))
    assert scene.expect_rate(np.array(-np.inf), np.array(16.0)) == 0.0


def test_many_places_take_a_link_quantile_each_and_few_take_five():
    assert foresee.QUANTILES.mean() == pytest.approx(0.0, abs=1e-12)
    assert np.sort(foresee.QUANTILES)[[0, -1]] == pytest.approx([-1.534, 1.534], abs=1e-3)


@pytest.mark.parametrize("places", [1, 3, 16])
def test_rates_keep_the_weight_of_every_place(scene, places):
    rng = stream(10, "weights")
    weights = rng.dirichlet(np.ones(places), 4).T
    shape = (2, places, 4)
    service = link.Service(
        snr_db=rng.uniform(-20, 30, shape),
        lasting_db=np.full(shape, 2.0),
        passing_db=np.full(shape, 5.0),
        support=np.zeros(shape, dtype=np.int64),
    )
    rate, spread = foresee.foresee_rates(scene, service, weights)
    assert spread.sum(axis=0) == pytest.approx(np.ones(4))
    plain = scene.expect_rate(service.snr_db, np.full(shape, np.hypot(2.0, 5.0)))
    mean, expected = (rate * spread).sum(axis=1), (plain * weights).sum(axis=1)
    assert mean == pytest.approx(expected, rel=0.25, abs=3e6)


def test_the_blend_learns_that_deviations_last(scene):
    """A fleet whose deviations never fade: the weights rise to one and the errors fall."""
    rng = stream(3, "blend")
    residuals, blend = link.start_map(scene), link.start_blend()
    rows = rng.integers(len(scene.prior), size=400)
    cell = link.find_cell(scene, residuals, rows, np.full(400, 50.0))
    weight_before, sigma_before = link.carry(blend, cell)
    for _ in range(10):
        then = rng.normal(0, 6, (400, 2))
        blend = link.learn_blend(blend, cell, then, then + rng.normal(0, 0.5, then.shape))
    weight, sigma = link.carry(blend, cell)
    assert (weight > 0.8).all()
    assert (weight_before < 0.1).all()
    assert (sigma < 0.6 * sigma_before).all()
    assert ((weight >= 0) & (weight <= 1)).all()


def test_pairs_without_a_measurement_teach_nothing(scene):
    blend = link.start_blend()
    cell = link.find_cell(scene, link.start_map(scene), np.array([1, 2]), np.array([5.0, 5.0]))
    nothing = np.full((2, 2), np.nan)
    after = link.learn_blend(blend, cell, nothing, np.ones((2, 2)))
    assert all(
        np.array_equal(getattr(after, name), getattr(blend, name))
        for name in ("product", "square", "error", "pairs")
    )


def test_sharers_follow_the_fleet():
    server = np.array([0, 0, 0, 1, -1])
    sharers = foresee.expect_sharers(server, 2, 11)
    assert sharers == pytest.approx(
        [1 + 0.75 * 10 * foresee.OVERLAP] * 3
        + [1 + 0.25 * 10 * foresee.OVERLAP, 1 + 0.5 * 10 * foresee.OVERLAP]
    )
    assert foresee.expect_sharers(server, 2, 1).tolist() == [1.0] * 5
