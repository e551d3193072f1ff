"""Laws of the server's optimisers, and the published formulas in floats beside them."""

from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from platoon.learning.aggregation import LIMIT, WEIGHT_TOTAL, advance, quantise
from platoon.learning.server_step import MOST, Moments, ServerStep
from platoon.rng import stream

ADAPTIVE = ["adam", "yogi", "adagrad"]
steps = arrays(
    np.int32,
    st.tuples(st.integers(1, 6), st.just(3)),
    elements=st.sampled_from([-LIMIT, -1, 0, 1, LIMIT])
    | st.integers(-LIMIT, LIMIT)
    | st.integers(-99999, 99999),
)
rules = st.builds(
    ServerStep.of,
    rate=st.floats(1e-4, 10.0),
    momentum=st.floats(0.0, 0.999),
    optimiser=st.sampled_from(ADAPTIVE),
    memory=st.floats(0.0, 1.0),
    adaptivity=st.floats(1e-6, 1.0),
)


def fold(server: ServerStep, rounds: np.ndarray) -> list[tuple[np.ndarray, Moments]]:
    """What is added in every round, and what is remembered after it."""
    moments, nowhere, told = None, np.zeros(rounds.shape[1], dtype=np.int32), []
    for step in rounds:
        moments = server.remember(step, moments)
        told.append((server.take(step, nowhere, nowhere, moments), moments))
    return told


def by_big_integers(server: ServerStep, entry: list[int]) -> list[tuple[int, int, int]]:
    """One parameter in Python's unbounded integers: what is added, m and v after every round."""
    m, v, told = 0, server.adaptivity**2, []
    for step in entry:
        m = share(server.momentum, m) + share(WEIGHT_TOTAL - server.momentum, step << 8)
        if server.optimiser == "adagrad":
            v = min(v + step**2, MOST)
        else:
            part = share(WEIGHT_TOTAL - server.memory, step**2)
            sign = (v > step**2) - (v < step**2)
            v = share(server.memory, v) + part if server.optimiser == "adam" else v - sign * part
        taken = server.rate * abs(m) // (16 * (isqrt(v) + server.adaptivity))
        told.append((taken if m > 0 else -taken, m, v))
    return told


def share(part: int, value: int) -> int:
    kept = part * abs(value) >> 20
    return kept if value > 0 else -kept


def by_floats(rounds, optimiser, *, rate, momentum, memory, adaptivity):
    """Algorithm 2 of Reddi et al. 2021 in float64: where the model is after every round, from zero."""
    x, m, v, path = 0.0, 0.0, adaptivity**2, []
    for step in rounds:
        m = momentum * m + (1 - momentum) * step
        if optimiser == "adagrad":
            v = v + step**2
        elif optimiser == "yogi":
            v = v - (1 - memory) * step**2 * np.sign(v - step**2)
        else:
            v = memory * v + (1 - memory) * step**2
        x = x + rate * m / (np.sqrt(v) + adaptivity)
        path.append(x)
    return np.array(path)


@given(rules, steps)
def test_optimisers_equal_big_integer_arithmetic(server: ServerStep, rounds: np.ndarray) -> None:
    told = fold(server, rounds)
    for entry in range(rounds.shape[1]):
        expected = by_big_integers(server, rounds[:, entry].tolist())
        assert [(int(t[entry]), int(m.first[entry]), int(m.second[entry])) for t, m in told] == expected


@given(rules, steps)
def test_a_parameter_does_not_depend_on_its_neighbours(server: ServerStep, rounds: np.ndarray) -> None:
    """Vectors of any length and order give the same bits: there is nothing to add up in another order."""
    whole = fold(server, rounds)
    turned = fold(server, np.tile(rounds[:, ::-1], 5))
    for (taken, moments), (other, others) in zip(whole, turned, strict=True):
        assert np.array_equal(np.tile(taken[::-1], 5), other)
        assert np.array_equal(np.tile(moments.second[::-1], 5), others.second)


@given(rules, steps)
def test_both_directions_are_alike(server: ServerStep, rounds: np.ndarray) -> None:
    for (taken, moments), (other, mirrored) in zip(fold(server, rounds), fold(server, -rounds), strict=True):
        assert np.array_equal(taken, -other)
        assert np.array_equal(moments.first, -mirrored.first)
        assert np.array_equal(moments.second, mirrored.second)


@given(rules, steps)
def test_second_moments_stay_in_range_and_the_model_in_its_bounds(
    server: ServerStep, rounds: np.ndarray
) -> None:
    model, moments = np.full(rounds.shape[1], LIMIT - 1, dtype=np.int32), None
    for step in rounds:
        merged = advance(model, step[None], np.array([WEIGHT_TOTAL]), server=server, moments=moments)
        model, moments = merged.model, merged.moments
        assert moments.second.min() >= 0
        assert moments.second.max() <= MOST
        assert np.abs(model.astype(np.int64)).max() <= LIMIT


@pytest.mark.parametrize("optimiser", ADAPTIVE)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("rate", "adaptivity"), [(0.01, 1e-3), (0.1, 1e-2), (1.0, 1e-5)])
def test_optimisers_follow_the_published_formulas(optimiser, momentum, rate, adaptivity) -> None:
    """Over 40 rounds of steps as local training makes them, some of them of nothing."""
    rng = stream(3, "steps", optimiser)
    rounds = rng.normal(0.0, 0.01, (40, 200)) * rng.choice([0.0, 0.1, 1.0], (40, 200))
    rounds = quantise(rounds.astype(np.float32))
    server = ServerStep.of(rate, momentum, optimiser, 0.99, adaptivity)
    settings = {"rate": rate, "momentum": momentum, "memory": 0.99, "adaptivity": adaptivity}
    exact = by_floats(rounds / 2**24, optimiser, **settings)
    path = np.cumsum([taken for taken, _ in fold(server, rounds)], axis=0) / 2**24
    assert np.abs(path - exact).max() < 2e-4 * np.abs(exact).max()
    assert np.abs(exact[-1]).max() > 0.01  # it does move


def test_adagrad_takes_ever_smaller_steps_and_yogi_forgets_more_slowly_than_adam() -> None:
    """One large step, then small ones of the same size: adam's v falls by its memory, yogi's by the small squares
    alone, adagrad's never."""
    rounds = np.array([[2**22], *[[2**14]] * 30], dtype=np.int32)
    late = {}
    for optimiser in ADAPTIVE:
        told = fold(ServerStep.of(0.01, 0.0, optimiser, 0.9, 1e-3), rounds)
        sizes = [int(taken[0]) for taken, _ in told[1:]]
        late[optimiser] = sizes[-1]
        assert (np.diff(sizes) <= 0).all() if optimiser == "adagrad" else (np.diff(sizes) >= 0).all()
    assert late["adam"] > late["yogi"] > late["adagrad"]


def test_momentum_remembers_no_moments() -> None:
    server = ServerStep.of(0.5, 0.9)
    step = np.array([[5, -7]], dtype=np.int32)
    merged = advance(np.zeros(2, dtype=np.int32), step, np.array([WEIGHT_TOTAL]), server=server)
    assert merged.moments is None
    assert merged.model.tolist() == [2, -4]  # rounded towards minus infinity
