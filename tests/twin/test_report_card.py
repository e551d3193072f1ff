"""The report card: a forecast is marked by the measurement that it was made for, and by no other."""

from dataclasses import replace

import numpy as np
import pytest

from platoon.nouns import Instant, seconds
from platoon.twin import card as cards


def practice(due_s, position, best_db, stays_db, *, known=None, ahead_s=10.0, sigma=1.0, stood=None):
    position = np.asarray(position, dtype=float)
    who = np.arange(len(position)) if known is None else np.flatnonzero(known)
    return cards.Practice(
        made=seconds(due_s - ahead_s),
        due=seconds(due_s),
        who=who,
        position=position[who],
        sigma=np.full(len(who), float(sigma)),
        stood=(position if stood is None else np.asarray(stood, dtype=float))[who],
        best_db=np.asarray(best_db, dtype=float)[who],
        stays_db=np.asarray(stays_db, dtype=float)[who],
    )


def card_with(*practices):
    return replace(cards.start_card(), waiting=practices)


def mark(card, at_s, position, best_db, heard=None):
    heard = np.ones(len(position), dtype=bool) if heard is None else np.asarray(heard)
    return cards.mark(card, seconds(at_s), heard, np.asarray(position, dtype=float), np.asarray(best_db))


def test_errors_by_hand():
    card = card_with(practice(10, [[0, 0], [100, 0]], [12.0, 20.0], [15.0, 20.0]))
    card = mark(card, 10, [[3, 4], [100, 0]], [10.0, 21.0])
    marks = cards.report(card)
    assert marks["position_mae_m"] == 2.5
    assert marks["link_mae_db"] == 1.5
    assert marks["link_mae_persistence_db"] == 3.0
    assert card.waiting == ()


def test_a_forecast_waits_for_its_time():
    card = card_with(practice(10, [[0, 0]], [0.0], [0.0]), practice(15, [[0, 0]], [0.0], [0.0]))
    assert mark(card, 9, [[9, 9]], [0.0]) == card
    card = mark(card, 10, [[3, 4]], [0.0])
    assert [p.due for p in card.waiting] == [seconds(15)]
    assert cards.report(card)["position_mae_m"] == 5.0


def test_a_measurement_that_comes_too_late_marks_nothing():
    card = mark(card_with(practice(10, [[0, 0]], [0.0], [0.0])), 12, [[3, 4]], [0.0])
    assert card.waiting == ()
    assert cards.report(card)["position_mae_m"] is None


def test_who_was_unknown_or_is_unheard_is_not_marked():
    card = card_with(practice(10, [[0, 0]] * 3, [0.0] * 3, [0.0] * 3, known=[True, False, True]))
    card = mark(card, 10, [[3, 4], [300, 400], [300, 400]], [1.0, 1.0, 1.0], heard=[True, True, False])
    assert cards.report(card)["position_mae_m"] == 5.0
    assert cards.report(card)["link_mae_db"] == 1.0


def test_who_is_out_of_service_then_or_now_has_no_link_to_mark():
    card = card_with(practice(10, [[0, 0]] * 3, [np.nan, 5.0, 5.0], [5.0, np.nan, 5.0]))
    card = mark(card, 10, [[0, 0]] * 3, [5.0, 5.0, np.nan])
    assert cards.report(card)["link_mae_db"] is None
    assert cards.report(card)["position_mae_m"] == 0.0


def test_brier_by_hand():
    arrived = np.array([True, False])
    card = cards.mark_finish(cards.start_card(), np.array([0.8, 0.4]), np.array([1.0, 1.0]), arrived)
    assert cards.report(card)["finish_brier"] == pytest.approx((0.04 + 0.16) / 2)
    assert cards.report(card)["finish_brier_persistence"] == 0.5


def test_an_empty_cohort_marks_nothing():
    nobody = np.zeros(0)
    card = cards.mark_finish(cards.start_card(), nobody, nobody, nobody.astype(bool))
    assert cards.report(card)["finish_brier"] is None
    assert cards.start_card().waiting == ()
    assert mark(cards.start_card(), Instant(0), np.zeros((0, 2)), np.zeros(0)).waiting == ()


def horizon(card, ahead_s):
    return next(row for row in cards.report_details(card)["horizons"] if row["seconds"] == ahead_s)


def test_every_horizon_is_marked_beside_standing_still():
    card = card_with(
        practice(10, [[30.0, 0.0]], [0.0], [0.0], ahead_s=5.0, stood=[[0.0, 0.0]]),
        practice(35, [[90.0, 0.0]], [0.0], [0.0], ahead_s=30.0, stood=[[0.0, 0.0]]),
    )
    card = mark(mark(card, 10, [[40.0, 0.0]], [0.0]), 35, [[100.0, 0.0]], [0.0])
    near, far = horizon(card, 5.0), horizon(card, 30.0)
    assert (near["position_mae_m"], near["stand_still_mae_m"], near["positions"]) == (10.0, 40.0, 1)
    assert (far["position_mae_m"], far["stand_still_mae_m"], far["positions"]) == (10.0, 100.0, 1)
    assert horizon(card, 10.0)["position_mae_m"] is None


def test_discs_of_a_right_spread_hold_what_they_promise_and_of_a_wrong_one_do_not():
    rng = np.random.default_rng(1)
    was = rng.normal(0.0, 20.0, (4000, 2))
    nowhere = np.full(4000, np.nan)
    right = mark(card_with(practice(10, np.zeros((4000, 2)), nowhere, nowhere, sigma=20.0)), 10, was, nowhere)
    narrow = mark(card_with(practice(10, np.zeros((4000, 2)), nowhere, nowhere, sigma=8.0)), 10, was, nowhere)
    assert horizon(right, 10.0)["inside_80"] == pytest.approx(0.8, abs=0.03)
    assert horizon(right, 10.0)["inside_95"] == pytest.approx(0.95, abs=0.02)
    assert horizon(narrow, 10.0)["inside_95"] < 0.6


def test_discs_learn_from_what_they_missed():
    rng = np.random.default_rng(3)
    nowhere = np.full(100, np.nan)
    card = cards.start_card()
    for _ in range(60):  # the spread is given as half of what it is
        made = practice(10, np.zeros((100, 2)), nowhere, nowhere, sigma=10.0)
        card = mark(replace(card, waiting=(made,)), 10, rng.normal(0.0, 20.0, (100, 2)), nowhere)
    assert horizon(card, 10.0)["inside_80"] == pytest.approx(0.8, abs=0.03)
    assert horizon(card, 10.0)["inside_95"] == pytest.approx(0.95, abs=0.02)
    assert cards.find_radii(card, cards.HORIZONS_S.index(10.0)) == pytest.approx(2 * cards.RADII, rel=0.15)


def test_durations_have_intervals_once_enough_are_known():
    rng = np.random.default_rng(2)
    card = cards.start_card()
    assert np.isnan(cards.find_duration_factors(card)).all()
    for _ in range(80):
        forecast = rng.uniform(3.0, 9.0, 25)
        card = cards.mark_durations(card, forecast, forecast * rng.lognormal(0.1, 0.2, 25))
    found = cards.report_details(card)["duration"]
    assert found["durations"] == 2000
    assert found["intervals"] == 1975  # the first round had none
    assert found["inside_80"] == pytest.approx(0.8, abs=0.04)
    assert found["inside_95"] == pytest.approx(0.95, abs=0.03)
    assert len(card.ratios) == cards.MEMORY


def test_who_did_not_arrive_has_no_duration():
    card = cards.mark_durations(cards.start_card(), np.array([4.0, 4.0]), np.array([5.0, np.nan]))
    found = cards.report_details(card)["duration"]
    assert (found["mae_s"], found["durations"], found["intervals"]) == (1.0, 1, 0)
    assert found["inside_80"] is None


def test_reliability_counts_by_tenths():
    probability = np.array([0.0, 0.05, 0.95, 1.0, 1.0])
    happened = np.array([False, True, True, True, False])
    card = cards.mark_finish(cards.start_card(), probability, probability, happened)
    assert cards.report_details(card)["reliability"] == [
        {"forecast": 0.025, "happened": 0.5, "count": 2},
        {"forecast": pytest.approx(2.95 / 3), "happened": pytest.approx(2 / 3), "count": 3},
    ]
    assert cards.report_details(card)["watched"] == []
    watched = cards.report_details(cards.mark_watched(card, probability[:1], happened[:1]))["watched"]
    assert watched == [{"forecast": 0.0, "happened": 0.0, "count": 1}]


def test_what_is_written_down_is_a_sample_with_its_outcome():
    count = 3 * cards.SAMPLED
    places = np.arange(2.0 * count).reshape(count, 2)
    card = mark(
        card_with(practice(10, places, np.zeros(count), np.ones(count))),
        10,
        places + 1.0,
        np.full(count, 2.0),
    )
    (marked,) = card.marked
    assert len(marked.vehicle) == cards.SAMPLED
    assert (marked.was == places[marked.vehicle] + 1.0).all()
    assert (marked.position == places[marked.vehicle]).all()
    assert (marked.best_db, marked.stays_db, marked.was_db)[2][0] == 2.0
