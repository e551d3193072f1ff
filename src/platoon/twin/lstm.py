"""Recurrent link forecasts: DTB-FL's plain LSTM on history and predicted place, and one that is told the map too.

The plain one forecasts the best SNR from ten seconds of history and the predicted position; the other
corrects the forecast of map and blend, which it is given as a feature. Both are small, trained on schedule on
what the twin itself measured, and deterministic by the seed: weights and batches come from named
streams, in one thread. Torch is imported when the first is used, so that a twin without it stays light. Untrained,
the plain one says that the link stays as it is, and the other what map and blend say.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from platoon.nouns import SECOND, Floats, Instant, Ints, Weights
from platoon.rng import stream

UNITS = 48
STEPS = 10
"""Measurements of a vehicle that the network sees."""
INPUTS, CONTEXT = 5, 4
"""Per step: value, speed, x, y, whether there is one. Beside: horizon, predicted x and y, the map's forecast."""
HORIZONS_S: Floats = np.array([2.0, 10.0, 30.0, 60.0])
"""Horizons that are trained on."""
PUPILS = 24
"""Vehicles that one moment teaches of."""
MEMORY = 6_000
"""Examples that are kept: the latest."""
FEWEST = 500
"""Examples before the first training."""
EPOCHS, BATCH, LEARNING_RATE = 2, 128, 3e-3
LATE_S = 0.5
SCALE_DB, SCALE_S, SCALE_M, SCALE_SPEED = 10.0, 30.0, 1000.0, 10.0
PRIOR_SIGMA_DB = 8.0
PRIOR_PAIRS = 50.0

_SHAPES = (
    (4 * UNITS, INPUTS),
    (4 * UNITS, UNITS),
    (4 * UNITS,),
    (4 * UNITS,),
    (UNITS, UNITS + CONTEXT),
    (UNITS,),
    (1, UNITS),
    (1,),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What the network is told of some vehicles at some horizons (E), and what came of it."""

    due: Ints
    """(E,) microseconds."""
    who: Ints
    """(E,)"""
    series: Weights
    """(E, STEPS, INPUTS)"""
    context: Weights
    """(E, CONTEXT)"""
    base: Floats
    """(E,) dB: the forecast that the network corrects."""
    target: Floats
    """(E,) dB; NaN where nothing was measured, or not yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent:
    """A network and what it learns from. Of no vehicles (N = 0) where it is not used."""

    weights: Weights
    """(D,) all parameters."""
    trainings: int
    recent_at: Ints
    """(STEPS,) instants of the last measurements, oldest first."""
    recent: Weights
    """(STEPS, N, INPUTS - 1) value, speed, x, y, scaled; NaN where not measured."""
    waiting: tuple[Example, ...]
    known: Example
    """Examples whose targets came."""
    squares: Floats
    """(H, 2) sums of squared errors before they were learned from, and their number, by horizon."""


def start_recurrent(vehicles: int, seed: int) -> Recurrent:
    """Untrained: the last layer is zero. ``vehicles`` is 0 where no recurrent forecast is asked for."""
    rng, bound = stream(seed, "lstm"), 1.0 / np.sqrt(UNITS)
    parts = [rng.uniform(-bound, bound, shape).ravel() for shape in _SHAPES[:-2]]
    weights = np.concatenate([*parts, np.zeros(UNITS + 1)]) if vehicles else np.zeros(0)
    return Recurrent(
        weights=weights.astype(np.float32),
        trainings=0,
        recent_at=np.zeros(STEPS, dtype=np.int64),
        recent=np.full((STEPS, vehicles, INPUTS - 1), np.nan, dtype=np.float32),
        waiting=(),
        known=_no_examples(),
        squares=np.tile([PRIOR_PAIRS * PRIOR_SIGMA_DB**2, PRIOR_PAIRS], (len(HORIZONS_S), 1)),
    )


def look(net: Recurrent, at: Instant, value: Floats, velocity: Floats, position: Floats) -> Recurrent:
    """The network's view with the best SNR (N,) dB, velocities and positions (N, 2) of one instant."""
    if not len(net.weights):
        return net
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    row = np.column_stack([value / SCALE_DB, speed / SCALE_SPEED, position / SCALE_M])
    recent = np.concatenate([net.recent[1:], row[None].astype(np.float32)])
    return replace(net, recent=recent, recent_at=np.append(net.recent_at[1:], at))


def describe(
    net: Recurrent, who: Ints, ahead_s: Floats, *, position: Floats, by_map: Floats, base: Floats
) -> Example:
    """What the network is told of vehicles ``who`` (M,) ``ahead_s`` (T,) seconds on: E = T x M, time first.

    ``position`` (T, M, 2) metres; ``by_map`` (T, M) the forecast of map and blend, dB, and ``base`` (T, M) the
    one to correct, dB: NaN where there is none.
    """
    series = np.moveaxis(net.recent[:, who], 0, 1)
    there = np.isfinite(series[..., :1])
    series = np.concatenate([np.nan_to_num(series), there.astype(np.float32)], axis=-1)
    shape = by_map.shape
    present = np.nan_to_num(series[:, -1, 0]) * SCALE_DB
    told = np.where(np.isfinite(by_map), (by_map - present) / SCALE_DB, 0.0)
    horizon = np.broadcast_to((ahead_s / SCALE_S)[:, None], shape)
    context = np.stack([horizon, *np.moveaxis(position / SCALE_M, -1, 0), told], axis=-1)
    return Example(
        due=np.repeat(net.recent_at[-1] + np.rint(ahead_s * SECOND).astype(np.int64), len(who)),
        who=np.tile(who, len(ahead_s)),
        series=np.tile(series, (len(ahead_s), 1, 1)),
        context=context.reshape(-1, CONTEXT).astype(np.float32),
        base=base.ravel(),
        target=np.full(base.size, np.nan),
    )


def remember(net: Recurrent, example: Example) -> Recurrent:
    """Wait for what comes of ``example`` (``HORIZONS_S`` of ``PUPILS`` vehicles, see ``describe``)."""
    return replace(net, waiting=(*net.waiting, example))


def judge(net: Recurrent, at: Instant, value: Floats) -> Recurrent:
    """Put what was measured at ``at``, best SNR (N,) dB, to the examples that waited for it."""
    waiting: list[Example] = []
    for example in net.waiting:
        due = np.abs(example.due - at) <= LATE_S * SECOND
        target = np.where(due & np.isnan(example.target), value[example.who], example.target)
        judged = replace(example, target=target)
        if at > example.due.max() + LATE_S * SECOND:
            net = _keep(net, judged)
        else:
            waiting.append(judged)
    return replace(net, waiting=tuple(waiting))


def forecast(net: Recurrent, example: Example) -> Floats:
    """(E,) dB; NaN where there is nothing to correct."""
    with _network(net.weights) as (torch, module), torch.inference_mode():
        correction = _run(torch, module, example.series, example.context).numpy()
    return np.asarray(example.base + SCALE_DB * correction.astype(np.float64))


def find_sigma(net: Recurrent, ahead_s: Floats) -> Floats:
    """(T,) dB: root mean square error at ``ahead_s`` (T,), by what came."""
    return np.interp(ahead_s, HORIZONS_S, np.sqrt(net.squares[:, 0] / net.squares[:, 1]))


def train(net: Recurrent, seed: int) -> Recurrent:
    """``EPOCHS`` over what is remembered; unchanged while there are fewer than ``FEWEST`` examples."""
    if len(net.known.base) < FEWEST:
        return net
    rng = stream(seed, "lstm", "batches", net.trainings)
    target = ((net.known.target - net.known.base) / SCALE_DB).astype(np.float32)
    with _network(net.weights) as (torch, module):
        optimiser = torch.optim.Adam(module.parameters(), LEARNING_RATE)
        for _ in range(EPOCHS):
            order = rng.permutation(len(target))
            for batch in np.split(order, np.arange(BATCH, len(order), BATCH)):
                optimiser.zero_grad()
                found = _run(torch, module, net.known.series[batch], net.known.context[batch])
                torch.nn.functional.smooth_l1_loss(found, torch.from_numpy(target[batch])).backward()
                optimiser.step()
        weights = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy().copy()
    return replace(net, weights=weights, trainings=net.trainings + 1)


def _keep(net: Recurrent, example: Example) -> Recurrent:
    """Hold the network against an example whose time is over, then keep it to learn from."""
    came = np.isfinite(example.target) & np.isfinite(example.base)
    example = _select(example, came)
    error = forecast(net, example) - example.target
    horizon = np.abs(example.context[:, :1] * SCALE_S - HORIZONS_S).argmin(axis=1)
    squares = net.squares.copy()
    np.add.at(squares, horizon, np.stack([error**2, np.ones_like(error)], axis=1))
    return replace(net, known=_join(net.known, example), squares=squares)


def _select(example: Example, rows: NDArray[Any]) -> Example:
    return Example(**{name: getattr(example, name)[rows] for name in Example.__slots__})


def _join(before: Example, after: Example) -> Example:
    return Example(
        **{
            name: np.concatenate([getattr(before, name), getattr(after, name)])[-MEMORY:]
            for name in Example.__slots__
        }
    )


def _no_examples() -> Example:
    return Example(
        due=np.zeros(0, dtype=np.int64),
        who=np.zeros(0, dtype=np.int64),
        series=np.zeros((0, STEPS, INPUTS), dtype=np.float32),
        context=np.zeros((0, CONTEXT), dtype=np.float32),
        base=np.zeros(0),
        target=np.zeros(0),
    )


@contextmanager
def _network(weights: Weights) -> Iterator[tuple[Any, Any]]:
    """Torch and the network with these parameters, in one thread: sums then have one order."""
    import torch  # noqa: PLC0415 - large, and only for whoever asks for a recurrent forecast

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):  # a new module draws parameters, which the next line replaces
            recurrent = torch.nn.LSTM(INPUTS, UNITS, batch_first=True)
            hidden, last = torch.nn.Linear(UNITS + CONTEXT, UNITS), torch.nn.Linear(UNITS, 1)
        module = torch.nn.ModuleList([recurrent, hidden, last])
        torch.nn.utils.vector_to_parameters(torch.from_numpy(weights.copy()), module.parameters())
        yield torch, module
    finally:
        torch.set_num_threads(threads)


def _run(torch: Any, module: Any, series: Weights, context: Weights) -> Any:
    """(E,) corrections in units of ``SCALE_DB``."""
    recurrent, hidden, last = module
    _, (state, _) = recurrent(torch.from_numpy(np.ascontiguousarray(series)))
    told = torch.cat([state[0], torch.from_numpy(np.ascontiguousarray(context))], dim=1)
    return last(torch.relu(hidden(told)))[:, 0]
