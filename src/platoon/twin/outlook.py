"""Which forecast of the links is believed: map and blend by default, corrected or replaced by another.

Every forecast is a function from what map and blend say of the coming moments to what is said in the end. The
default says what they say, except where they were shown to be worse than the link's own past (``history``): where
nothing has been mapped, or where the world does not obey the law of the prior, as on recorded drives. Beside it
stand DTB-FL's LSTM, an LSTM told the map, and "the link stays as it is" to compare with.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints
from platoon.twin import history, lstm
from platoon.twin.filter import Tracks
from platoon.twin.history import Lessons, Past
from platoon.twin.link import Service
from platoon.twin.lstm import Recurrent
from platoon.twin.places import Places

SUPPORTS = 3
"""Bins of how well the map knows a place (``link.SUPPORT_BINS``)."""
FADING = 0.995
"""What a trial leaves of the trials before it: a map gets better."""
FEWEST_TRIALS = 200.0
BETTER = 0.95
"""Error over that of map and blend from which on a link's own past is believed instead."""
LATE_S = 1.5
"""A measurement that comes so much later than it should have decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Two forecasts of the same links that wait for what comes (M)."""

    due: Instant
    who: Ints
    support: Ints
    """(M,) bin of how well the map knows the place."""
    by_map: Floats
    """(M,) dB."""
    by_past: Floats
    """(M,) dB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is learned of links beside map and blend."""

    past: Past
    lessons: Lessons
    net: Recurrent
    trials: tuple[Trial, ...]
    errors: Floats
    """(SUPPORTS, 3) fading sums of absolute errors, dB: of map and blend, of the past, and their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Of whom and when a forecast is asked for."""

    who: Ints
    """(M,) rows of the fleet."""
    ahead_s: Floats
    """(T,) seconds."""
    places: Places

    def at(self, moment: int) -> "Question":
        """The same of one moment alone."""
        return Question(who=self.who, ahead_s=self.ahead_s[[moment]], places=self.places.at(moment))


class LinkForecast(Protocol):
    """Turns what map and blend say into what is said."""

    def __call__(self, outlook: Outlook, service: Service, question: Question) -> Service:
        """The service of the vehicles asked for, at the same moments and nodes."""
        ...


def start_outlook(vehicles: int, method: str, seed: int) -> Outlook:
    """Nothing measured; a network only where ``method`` needs one."""
    return Outlook(
        past=history.start_past(vehicles),
        lessons=history.start_lessons(),
        net=lstm.start_recurrent(vehicles if method in RECURRENT else 0, seed),
        trials=(),
        errors=np.zeros((SUPPORTS, 3)),
    )


def trust_map_blend(outlook: Outlook, service: Service, question: Question) -> Service:
    """Map and blend, or the link's own past where that was shown to be better."""
    better = find_better(outlook)
    if not better.any():
        return service
    value, sigma = history.forecast(outlook.lessons, outlook.past, question.who, question.ahead_s)
    instead = better[service.support] & np.isfinite(value)[:, None] & np.isfinite(service.snr_db)
    return _replace_where(instead, service, value, sigma)


def trust_lstm_map(outlook: Outlook, service: Service, question: Question) -> Service:
    """Map and blend, corrected by the LSTM that is told of them."""
    base = expect_snr(service.snr_db, question.places.weights)
    correction = _ask_net(outlook, question, base, base) - base
    return replace(service, snr_db=service.snr_db + np.nan_to_num(correction)[:, None])


def trust_lstm(outlook: Outlook, service: Service, question: Question) -> Service:
    """DTB-FL's LSTM on history and predicted place; out of service where nobody serves."""
    present = _present(outlook, question)
    value = _ask_net(outlook, question, np.full_like(present, np.nan), present)
    return _say(service, value, lstm.find_sigma(outlook.net, question.ahead_s))


def trust_persistence(outlook: Outlook, service: Service, question: Question) -> Service:
    """The SNR stays as it is, wherever the vehicle goes."""
    lessons = replace(outlook.lessons, weights=np.zeros_like(outlook.lessons.weights))
    value, _ = history.forecast(lessons, outlook.past, question.who, question.ahead_s)
    number = np.maximum(lessons.errors[:, 2], 1.0)
    sigma = np.interp(question.ahead_s, history.HORIZONS_S, np.sqrt(lessons.squares[:, 1] / number))
    return _say(service, value, sigma)


FORECASTS: dict[str, LinkForecast] = {
    "map_blend": trust_map_blend,
    "lstm_map": trust_lstm_map,
    "lstm": trust_lstm,
    "persistence": trust_persistence,
}
RECURRENT = ("lstm_map", "lstm")


def expect_snr(snr_db: Floats, weights: Floats) -> Floats:
    """(T, M) mean over the nodes (T, P, M) in service range; NaN where none is."""
    there = np.isfinite(snr_db)
    weight = np.where(there, weights, 0.0)
    total = weight.sum(axis=1)
    summed = (weight * np.where(there, snr_db, 0.0)).sum(axis=1)
    return np.where(total > 0.0, summed / np.where(total > 0.0, total, 1.0), np.nan)


def look(outlook: Outlook, at: Instant, value: Floats, tracks: Tracks) -> Outlook:
    """The outlook with the best SNR (N,) measured at ``at``, dB; NaN where none was."""
    past = history.look(outlook.past, at, value)
    outlook = decide_trials(outlook, at, value)
    net = lstm.look(lstm.judge(outlook.net, at, value), at, value, tracks.velocity, tracks.position)
    return replace(outlook, past=past, lessons=history.learn(outlook.lessons, past, at, value), net=net)


def refine(outlook: Outlook, seed: int) -> Outlook:
    """All weights anew, from what is remembered."""
    net = lstm.train(outlook.net, seed) if len(outlook.net.weights) else outlook.net
    return replace(outlook, lessons=history.refine(outlook.lessons), net=net)


def take_lesson(outlook: Outlook, service: Service, question: Question, method: str) -> Outlook:
    """Let the network wait for what comes of ``lstm.PUPILS`` vehicles at ``lstm.HORIZONS_S``."""
    by_map = expect_snr(service.snr_db, question.places.weights)
    base = by_map if method == "lstm_map" else _present(outlook, question)
    told = lstm.describe(
        outlook.net,
        question.who,
        question.ahead_s,
        position=question.places.mean,
        by_map=by_map if method == "lstm_map" else np.full_like(by_map, np.nan),
        base=base,
    )
    return replace(outlook, net=lstm.remember(outlook.net, told))


def take_trial(outlook: Outlook, service: Service, question: Question, due: Instant) -> Outlook:
    """Wait whether map and blend or the past foresees best what comes at ``due``, the one moment in question."""
    by_map = expect_snr(service.snr_db, question.places.weights)[0]
    value, _ = history.forecast(outlook.lessons, outlook.past, question.who, question.ahead_s)
    usable = np.flatnonzero(np.isfinite(by_map) & np.isfinite(value[0]))
    usable = usable[:: max(1, -(-len(usable) // history.MOST_PUPILS))]
    likeliest = question.places.weights[:, usable].argmax(axis=0)
    trial = Trial(
        due=due,
        who=question.who[usable],
        support=service.support[0][likeliest, usable],
        by_map=by_map[usable],
        by_past=value[0][usable],
    )
    return replace(outlook, trials=(*outlook.trials, trial))


def decide_trials(outlook: Outlook, at: Instant, value: Floats) -> Outlook:
    """Hold the trials that are due against the best SNR (N,) measured at ``at``."""
    errors = outlook.errors
    for trial in outlook.trials:
        if trial.due <= at <= trial.due + LATE_S * SECOND:
            came = value[trial.who]
            measured = np.isfinite(came)
            said = np.abs(np.stack([trial.by_map - came, trial.by_past - came], axis=1))
            judged = np.column_stack([said, np.ones(len(came))])
            errors = FADING * errors
            np.add.at(errors, trial.support[measured], judged[measured])
    kept = tuple(trial for trial in outlook.trials if trial.due > at)
    return replace(outlook, errors=errors, trials=kept)


def find_better(outlook: Outlook) -> Bools:
    """(SUPPORTS,) whether a link's own past is believed at places that the map knows so well."""
    by_map, by_past, number = outlook.errors.T
    return np.asarray((number >= FEWEST_TRIALS) & (by_past < BETTER * by_map))


def _ask_net(outlook: Outlook, question: Question, by_map: Floats, base: Floats) -> Floats:
    """(T, M) dB by the network."""
    told = lstm.describe(
        outlook.net, question.who, question.ahead_s, position=question.places.mean, by_map=by_map, base=base
    )
    return lstm.forecast(outlook.net, told).reshape(base.shape)


def _present(outlook: Outlook, question: Question) -> Floats:
    """(T, M) the value that stays, dB; NaN where there is none."""
    present = np.where(history.is_present(outlook.past), outlook.past.value, np.nan)[question.who]
    return np.tile(present, (len(question.ahead_s), 1))


def _say(service: Service, value: Floats, sigma: Floats) -> Service:
    """One value (T, M) at every node that is in service range; out of service where there is no value."""
    spoken = np.isfinite(service.snr_db)
    silent = np.where(np.isfinite(value), value, -np.inf)
    return _replace_where(spoken, service, silent, sigma)


def _replace_where(instead: Bools, service: Service, value: Floats, sigma: Floats) -> Service:
    """``value`` (T, M) with errors ``sigma`` (T,) that last, at the nodes ``instead`` (T, P, M)."""
    return replace(
        service,
        snr_db=np.where(instead, value[:, None], service.snr_db),
        lasting_db=np.where(instead, sigma[:, None, None], service.lasting_db),
        passing_db=np.where(instead, 0.0, service.passing_db),
    )
