"""The report card: a forecast is marked by the measurement that it was made for, and by no other."""

import numpy as np
import pytest

from platoon.nouns import Instant, seconds
from platoon.twin import card as cards


def practice(due_s, position, best_db, stays_db, known=None):
    position = np.asarray(position, dtype=float)
    return cards.Practice(
        due=seconds(due_s),
        known=np.ones(len(position), dtype=bool) if known is None else np.asarray(known),
        position=position,
        best_db=np.asarray(best_db, dtype=float),
        stays_db=np.asarray(stays_db, dtype=float),
    )


def card_with(*practices):
    return cards.Card(waiting=practices, position=np.zeros(2), link=np.zeros(3), finish=np.zeros(3))


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
