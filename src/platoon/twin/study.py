"""What the twin learns from each measurement: tracks, how deviations carry, the residual map, its own errors."""

from dataclasses import replace

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints, Measurements, seconds
from platoon.twin import card as cards
from platoon.twin import lstm
from platoon.twin import outlook as outlooks
from platoon.twin.belief import Belief, Residuals, Sight
from platoon.twin.company import remember_sight
from platoon.twin.filter import Fixes, Tracks, advance, apply_fixes
from platoon.twin.finish import recalibrate, remember
from platoon.twin.foresee import (
    find_best_heard,
    find_best_measured,
    find_measured_rate,
    foresee_service,
)
from platoon.twin.link import Scene, Service, find_cell, learn_blend, learn_map
from platoon.twin.locator import Locator
from platoon.twin.matching import Seen
from platoon.twin.outlook import Question
from platoon.twin.places import Asked, Foresight
from platoon.twin.traffic import Traffic, learn_traffic
from platoon.twin.watch import account, start_watch

MAPPED_LOOKS = 10
"""Looks that are put on the residual map together: it changes slowly, and is copied whole."""


def check_measurements(measurements: Measurements, vehicles: int, rsus: int) -> None:
    """Raises ``ValueError`` where a column is not of this fleet and these RSUs."""
    links, rows = (vehicles, rsus), (vehicles,)
    shapes: dict[str, tuple[int, ...]] = {
        "rsrp_dbm": links,
        "sinr_db": links,
        "cqi": links,
        "arrival_ns": links,
    }
    shapes |= {"reference_ns": (rsus, rsus), "ranging_rsu": rows, "range_m": rows, "angle_rad": rows}
    for name, shape in {**shapes, "position": (vehicles, 2)}.items():
        found = getattr(measurements, name).shape
        if found != shape:
            raise ValueError(f"{name} of shape {found}; by vehicles and RSUs it is {shape}")


def apply_measurements(
    scene: Scene, locator: Locator, foresight: Foresight, belief: Belief, measurements: Measurements
) -> Belief:
    """The belief after the measurements of one instant.

    Of the fleet only those are touched who are heard, or known from before.
    """
    active = np.flatnonzero(belief.tracks.known | measurements.heard | _placed(measurements))
    tracks = belief.tracks.put(active, advance(belief.tracks.take(active), measurements.at))
    clocks, fixes = locator.locate(belief.clocks, tracks, measurements)
    own = apply_fixes(tracks.take(active), measurements.at, fixes.take(active))
    tracks = tracks.put(active, own)
    traffic = _follow(foresight, belief.traffic, tracks, fixes)
    belief = replace(belief, clocks=clocks, fixes=fixes, tracks=tracks, traffic=traffic)
    now = _look(scene, foresight, belief, measurements)
    belief = replace(belief, now=now, unstudied=(*belief.unstudied, _note_residuals(scene, now)))
    measured_db, _ = find_best_measured(scene, now)
    past = remember_sight(belief.past, now.at, now.heard, now.position, now.snr_db)
    belief = replace(belief, past=past)
    watch = account(belief.watch, now.at, find_measured_rate(scene, now)[0])
    belief = _close_watch(replace(belief, watch=watch))
    best = np.where(np.isfinite(measured_db), measured_db, np.nan)
    outlook = outlooks.look(belief.outlook, now.at, find_best_heard(scene, now), tracks)
    belief = replace(belief, outlook=outlook)
    belief = replace(belief, card=cards.mark(belief.card, now.at, now.heard, now.position, best))
    if now.at - belief.anchor.at >= cards.PRACTICE_S * SECOND:
        belief = _practise(scene, foresight, _study(scene, belief))
    return belief


def _placed(measurements: Measurements) -> Bools:
    """(N,) a position was measured as such."""
    return np.asarray(np.isfinite(measurements.position[:, 0]))


def _close_watch(belief: Belief) -> Belief:
    """Learn from a watch whose deadline is over."""
    watch = belief.watch
    if not len(watch.who) or watch.seen < watch.due:
        return belief
    unknown = np.full(len(watch.who), np.nan)
    announced = recalibrate(belief.experience, watch.probability)
    experience = remember(belief.experience, watch.probability, watch.through, watch.parts, unknown)
    card = cards.mark_watched(belief.card, announced, watch.through)
    return replace(belief, experience=experience, watch=start_watch(), card=card)


def _follow(foresight: Foresight, traffic: Traffic, tracks: Tracks, fixes: Fixes) -> Traffic:
    """Match those who were heard to the roads."""
    who = np.flatnonzero(fixes.usable & tracks.known)
    seen = Seen(
        who=who,
        at=tracks.at,
        position=tracks.position[who],
        velocity=tracks.velocity[who],
        fix=fixes.position[who],
    )
    return learn_traffic(foresight.ways, traffic, seen)


def _look(scene: Scene, foresight: Foresight, belief: Belief, measurements: Measurements) -> Sight:
    """The fleet as it was measured, each on the road that it is matched to; ``belief.now`` is the look before."""
    tracks, matches = belief.tracks, belief.traffic.matches
    heard = measurements.heard & tracks.known & (matches.edge >= 0)
    who = np.flatnonzero(heard)
    rows = belief.now.rows.copy()
    rows[who] = foresight.ways.find_samples(matches.edge[who], matches.offset[who])
    snr = np.full(measurements.rsrp_dbm.shape, np.nan)
    snr[who] = measurements.rsrp_dbm[who] - scene.noise_dbm
    sinr, deviation = np.full(snr.shape, np.nan), np.full(snr.shape, np.nan)
    sinr[who] = measurements.sinr_db[who]
    deviation[who] = snr[who] - scene.prior[rows[who]] - belief.links.residuals.mean[rows[who]]
    return Sight(
        at=measurements.at,
        heard=heard,
        position=tracks.position,
        rows=rows,
        snr_db=snr,
        sinr_db=sinr,
        deviation=deviation,
    )


def _note_residuals(scene: Scene, now: Sight) -> Residuals:
    who = np.flatnonzero(now.heard)
    return Residuals(rows=now.rows[who], residual_db=now.snr_db[who] - scene.prior[now.rows[who]])


def _study(scene: Scene, belief: Belief) -> Belief:
    """Learn how deviations carry from the anchor to now; then put the last looks on the map, if there are enough.

    In this order: a forecast made at the anchor could not draw on the measurements since.
    """
    both = np.flatnonzero(belief.anchor.heard & belief.now.heard)
    then, now = belief.anchor.take(both), belief.now.take(both)
    moved = np.hypot(*(now.position - then.position).T)
    cell = find_cell(scene, belief.links.residuals, now.rows, moved)
    blend = learn_blend(belief.links.blend, cell, then.deviation, now.deviation)
    belief = replace(belief, links=replace(belief.links, blend=blend), anchor=belief.now)
    return belief if len(belief.unstudied) < MAPPED_LOOKS else _map(scene, belief)


def _map(scene: Scene, belief: Belief) -> Belief:
    """Put the last looks on the map."""
    rows = np.concatenate([noted.rows for noted in belief.unstudied])
    residual = np.concatenate([noted.residual_db for noted in belief.unstudied])
    residuals = learn_map(belief.links.residuals, scene, rows, residual)
    return replace(belief, links=replace(belief.links, residuals=residuals), unstudied=())


def _practise(scene: Scene, foresight: Foresight, belief: Belief) -> Belief:
    """Write down forecasts of a sample, for the report card and for the link forecasts to learn from."""
    known, method = np.flatnonzero(belief.tracks.known), scene.link_forecast
    sample = known[:: max(1, -(-len(known) // cards.SAMPLED))]
    question, service = _foresee(scene, foresight, belief, sample, np.array(cards.HORIZONS_S))
    row = cards.HORIZONS_S.index(cards.HORIZON_S)
    due = Instant(belief.now.at + seconds(cards.HORIZON_S))
    outlook = outlooks.take_trial(belief.outlook, service.at(row), question.at(row), due)
    if method in outlooks.RECURRENT:
        pupils = known[:: max(1, -(-len(known) // lstm.PUPILS))]
        told, map_says = _foresee(scene, foresight, belief, pupils, lstm.HORIZONS_S)
        outlook = outlooks.take_lesson(outlook, map_says, told, method)
    said = outlooks.FORECASTS[method](outlook, service, question)
    return replace(belief, card=_write_down(scene, belief, question, said, belief.card), outlook=outlook)


def _write_down(
    scene: Scene, belief: Belief, question: Question, service: Service, card: cards.Card
) -> cards.Card:
    """The card with one practice more for every horizon that was asked for."""
    who, places = question.who, question.places
    stood, stays = belief.tracks.position[who], _best(scene, belief.now)[who]
    announced = places.mean
    practices = [
        cards.Practice(
            made=belief.now.at,
            due=Instant(belief.now.at + seconds(float(horizon))),
            who=who,
            position=announced[row],
            sigma=places.find_spread(row, announced[row]),
            stood=stood,
            best_db=_expect(service.snr_db[row], places.weights),
            stays_db=stays,
        )
        for row, horizon in enumerate(question.ahead_s)
    ]
    return replace(card, waiting=(*card.waiting, *practices))


def _foresee(
    scene: Scene, foresight: Foresight, belief: Belief, who: Ints, ahead_s: Floats
) -> tuple[Question, Service]:
    """Where vehicles ``who`` (M,) will be, and what map and blend say of their links."""
    places = foresight.foresee(Asked(traffic=belief.traffic, tracks=belief.tracks, who=who, ahead_s=ahead_s))
    service = foresee_service(scene, belief.links, belief.now.take(who), places)
    return Question(who=who, ahead_s=ahead_s, places=places), service


def _expect(snr_db: Floats, weights: Floats) -> Floats:
    """Mean over the place nodes of (P, M); NaN where any of them is out of service range."""
    with np.errstate(invalid="ignore"):
        mean = (weights * snr_db).sum(axis=0)
    return np.where(np.isfinite(mean), mean, np.nan)


def _best(scene: Scene, now: Sight) -> Floats:
    best, _ = find_best_measured(scene, now)
    return np.where(np.isfinite(best), best, np.nan)
