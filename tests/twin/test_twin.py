"""The twin as a whole: what it forecasts, what it learns, and that it goes on bit by bit after a restore."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from platoon.errors import VerificationError
from platoon.nouns import Attestations, Outcomes, seconds
from platoon.twin.columns import to_columns
from platoon.twin.twin import Job


def job(vehicles=20, samples=300.0, bits=1e6, epochs=3, wait_s=0.0):
    return Job(samples=np.full(vehicles, samples), epochs=epochs, bits=bits, wait_s=wait_s)


def outcomes(round_number, vehicles, arrived, took):
    return Outcomes(
        round=round_number,
        vehicles=np.asarray(vehicles),
        arrived=np.asarray(arrived),
        seconds=np.where(arrived, took, np.nan),
    )


def test_nothing_is_known_before_the_first_measurement(town):
    forecasts = town.twin.forecast(job(), seconds(20), seconds(0))
    assert not forecasts.known.any()
    assert not forecasts.attested.any()
    assert (forecasts.edge_server == -1).all()
    assert (forecasts.finish_probability == 0).all()
    assert (forecasts.measured_rate == 0).all()
    assert np.isnan(forecasts.position).all()
    assert town.twin.report_card() == {"position_mae_m": None, "link_mae_db": None, "finish_brier": None}


def test_forecasts_after_half_a_minute(town):
    town.drive(town.twin, 0, 31)
    forecasts = town.twin.forecast(job(), seconds(20), seconds(30))
    assert forecasts.known.all()
    assert forecasts.attested.all()
    assert (forecasts.edge_server >= 0).all()
    assert ((forecasts.finish_probability >= 0) & (forecasts.finish_probability <= 1)).all()
    assert (forecasts.cpu_hz > 1.3e9).all()
    assert (forecasts.cpu_hz < 1.9e9).all()
    # 900 samples at 1e6 cycles and about 1.6 GHz take 0.56 s, and then comes the upload
    assert (forecasts.finish_seconds > 0.45).all()
    assert (forecasts.finish_seconds <= 20.5).all()


def test_forecast_positions_lie_on_roads(town):
    town.drive(town.twin, 0, 20)
    forecasts = town.twin.forecast(job(), seconds(20), seconds(19))
    on_road, _, _ = town.road_map.project(forecasts.position)
    # within a junction the nearest road is up to half its width away
    apart = np.hypot(*(on_road - forecasts.position).T)
    assert apart.max() < 12.0
    assert (apart < 1e-6).mean() > 0.5


def test_nobody_is_in_service_who_is_not_heard(town):
    town.drive(town.twin, 0, 20)
    heard = np.arange(20) != 4
    town.twin.observe(town.measure(20, heard))
    forecasts = town.twin.forecast(job(), seconds(20), seconds(20))
    assert forecasts.known[4]
    assert forecasts.edge_server[4] == -1
    assert forecasts.measured_rate[4] == 0
    assert (np.delete(forecasts.edge_server, 4) >= 0).all()


def test_a_failed_attestation_stays_failed_until_the_next_is_passed(town):
    town.drive(town.twin, 0, 11)
    nobody, one = np.zeros(20, dtype=bool), np.arange(20) == 7
    town.twin.attest(Attestations(at=seconds(12), asked=one, passed=nobody, cpu_hz=np.full(20, np.nan)))
    assert town.twin.forecast(job(), seconds(20), seconds(12)).attested.tolist() == (~one).tolist()
    town.twin.attest(Attestations(at=seconds(13), asked=nobody, passed=nobody, cpu_hz=np.full(20, np.nan)))
    assert not town.twin.forecast(job(), seconds(20), seconds(13)).attested[7]
    town.twin.attest(town.attest(14))
    assert town.twin.forecast(job(), seconds(20), seconds(14)).attested.all()


@settings(max_examples=15, deadline=None)
@given(
    bits=st.tuples(st.floats(1e3, 1e9), st.floats(1.0, 30.0)),
    samples=st.tuples(st.floats(1.0, 1e4), st.floats(1.0, 10.0)),
    horizon_s=st.floats(1.0, 60.0),
)
def test_a_larger_job_never_finishes_likelier(warm_town, bits, samples, horizon_s):
    small = job(samples=samples[0], bits=bits[0])
    more_bits = job(samples=samples[0], bits=bits[0] * bits[1])
    more_samples = job(samples=samples[0] * samples[1], bits=bits[0])
    horizon, at = seconds(horizon_s), seconds(30)
    easy = warm_town.twin.forecast(small, horizon, at)
    for harder in (more_bits, more_samples):
        hard = warm_town.twin.forecast(harder, horizon, at)
        assert (hard.finish_probability <= easy.finish_probability + 1e-12).all()
        assert (hard.finish_probability >= 0).all()


@pytest.fixture(scope="module")
def warm_town(make_town):
    town = make_town()
    town.drive(town.twin, 0, 31)
    return town


def test_waiting_for_the_model_delays_the_finish_by_as_much(town):
    town.drive(town.twin, 0, 31)
    at_once = town.twin.forecast(job(), seconds(20), seconds(30))
    later = town.twin.forecast(job(wait_s=1.0), seconds(20), seconds(30))
    sure = at_once.finish_probability > 0.999
    assert np.allclose(later.finish_seconds[sure] - at_once.finish_seconds[sure], 1.0, atol=0.3)


def test_the_residual_map_learns_the_shadows(make_town):
    town = make_town(vehicles=60)
    town.drive(town.twin, 0, 240)
    residuals = town.twin._belief.links.residuals
    known = residuals.visits > 3
    assert known.mean() > 0.3
    left = (residuals.total / np.maximum(residuals.visits, 1) - town.shadow)[known]
    assert np.abs(left).mean() < 0.5 * np.abs(town.shadow[known]).mean()


def test_the_report_card_beats_persistence_on_a_town_with_shadows(make_town):
    town = make_town(vehicles=60, seed=3)
    town.drive(town.twin, 0, 240)
    card = town.twin.report_card_with_peers()
    assert 0 < card["position_mae_m"] < 60
    assert 0 < card["link_mae_db"] < card["link_mae_persistence_db"]


def test_brier_of_the_cohort_is_marked(town):
    town.drive(town.twin, 0, 31)
    forecasts = town.twin.forecast(job(), seconds(20), seconds(30))
    arrived = np.array([True, True, False])
    town.twin.learn(outcomes(1, [2, 5, 9], arrived, 3.0))
    expected = np.mean((forecasts.finish_probability[[2, 5, 9]] - arrived) ** 2)
    assert town.twin.report_card()["finish_brier"] == pytest.approx(expected)


def test_outcomes_teach_the_finish_forecast(town):
    """Vehicles that were sure to arrive keep failing: after the refit nobody is as sure any more."""
    town.drive(town.twin, 0, 31)
    before = town.twin.forecast(job(), seconds(20), seconds(30))
    for number in range(1, 11):
        town.twin.learn(outcomes(number, np.arange(8), np.arange(8) < 4, 6.0))
    after = town.twin.forecast(job(), seconds(20), seconds(30))
    assert (after.finish_probability < before.finish_probability).all()
    assert np.array_equal(
        np.argsort(after.finish_probability, kind="stable"),
        np.argsort(before.finish_probability, kind="stable"),
    )
    # what arrived took six seconds: the predictor of durations moves there
    assert np.abs(after.finish_seconds[:4] - 6.0).mean() < np.abs(before.finish_seconds[:4] - 6.0).mean()


def test_no_refit_between_the_scheduled_rounds(town):
    town.drive(town.twin, 0, 31)
    before = town.twin.forecast(job(), seconds(20), seconds(30))
    for number in range(1, 10):
        town.twin.learn(outcomes(number, np.arange(8), np.arange(8) < 4, 6.0))
    assert np.array_equal(
        town.twin.forecast(job(), seconds(20), seconds(30)).finish_probability, before.finish_probability
    )


def everything(twin):
    return {name: column.tobytes() for name, column in to_columns(twin._belief).items()}


def test_save_and_restore_go_on_bit_by_bit(town, tmp_path):
    town.drive(town.twin, 0, 33)
    town.twin.forecast(job(), seconds(20), seconds(33))
    town.twin.save(tmp_path / "checkpoint" / "twin")
    copy = town.make_twin()
    copy.restore(tmp_path / "checkpoint" / "twin")
    assert everything(copy) == everything(town.twin)
    for twin in (town.twin, copy):
        twin.learn(outcomes(0, [1, 2, 3], np.array([True, False, True]), 4.0))
        town.drive(twin, 33, 60)
    assert everything(copy) == everything(town.twin)
    one, other = (twin.forecast(job(), seconds(20), seconds(60)) for twin in (town.twin, copy))
    for name in ("rate", "position", "finish_probability", "finish_seconds", "cpu_hz"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_a_saved_twin_holds_no_pickle(town, tmp_path):
    town.drive(town.twin, 0, 12)
    town.twin.save(tmp_path)
    assert all(column.dtype != object for column in load_file(tmp_path / "twin.safetensors").values())
    assert json.loads((tmp_path / "twin.json").read_text())["vehicles"] == 20


def test_invalid_restore_of_another_fleet(town, make_town, tmp_path):
    town.twin.save(tmp_path)
    with pytest.raises(VerificationError, match="20"):
        make_town(vehicles=21).twin.restore(tmp_path)


@pytest.mark.parametrize("name", ["twin.safetensors", "twin.json"])
def test_invalid_restore_of_a_damaged_file(town, tmp_path, name):
    town.twin.save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:40])
    with pytest.raises(VerificationError, match="cannot be read"):
        town.twin.restore(tmp_path)


def test_invalid_restore_without_a_column(town, tmp_path):
    town.twin.save(tmp_path)
    columns = to_columns(town.twin._belief)
    del columns["card.link"]
    save_file(columns, tmp_path / "twin.safetensors")
    with pytest.raises(VerificationError, match=r"card\.link"):
        town.twin.restore(tmp_path)


def test_invalid_measurements_of_another_fleet(town):
    measured = town.measure(0)
    with pytest.raises(ValueError, match="vehicles and RSUs"):
        town.twin.observe(dataclasses.replace(measured, rsrp_dbm=measured.rsrp_dbm[:, :1]))


def test_a_second_look_at_one_instant_tells_nothing_new(town):
    """A trace that repeats a second, or a driver that measures twice: counted once."""
    town.drive(town.twin, 0, 12)
    before = everything(town.twin)
    town.twin.observe(town.measure(11))
    town.twin.observe(dataclasses.replace(town.measure(11), position=town.measure(11).position + 50.0))
    assert everything(town.twin) == before


def test_invalid_measurements_out_of_order(town):
    town.drive(town.twin, 0, 12)
    before = everything(town.twin)
    with pytest.raises(ValueError, match="backwards"):
        town.twin.observe(town.measure(7))
    assert everything(town.twin) == before


@pytest.mark.parametrize("column", ["sinr_db", "cqi", "arrival_ns", "reference_ns", "range_m", "position"])
def test_invalid_columns_of_another_shape(town, column):
    measured = town.measure(0)
    with pytest.raises(ValueError, match=column):
        town.twin.observe(dataclasses.replace(measured, **{column: getattr(measured, column)[1:]}))


def test_invalid_forecast_before_the_last_measurement(town):
    town.twin.observe(town.measure(5))
    with pytest.raises(ValueError, match="backwards"):
        town.twin.forecast(job(), seconds(20), seconds(4))


def test_the_same_measurements_give_the_same_bits(make_town):
    one, other = make_town(), make_town()
    for town in (one, other):
        town.drive(town.twin, 0, 26)
    assert everything(one.twin) == everything(other.twin)
