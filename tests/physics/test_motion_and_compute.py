"""Laws of motion, computation and energy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.physics.compute import (
    compute_training_cycles,
    compute_training_joules,
    compute_training_seconds,
    compute_transmit_joules,
)
from platoon.physics.kinematics import compute_process_noise, compute_transition

spans = st.floats(0.01, 60.0)


@settings(deadline=None)
@given(spans, spans)
def test_two_transitions_make_one(first: float, second: float) -> None:
    both = compute_transition(second) @ compute_transition(first)
    assert np.allclose(both, compute_transition(first + second))


@settings(deadline=None)
@given(spans, spans, st.floats(0.01, 10.0))
def test_process_noise_adds_up_over_time(first: float, second: float, density: float) -> None:
    later = compute_transition(second)
    grown = later @ compute_process_noise(first, density) @ later.T + compute_process_noise(second, density)
    assert np.allclose(grown, compute_process_noise(first + second, density))
    assert (np.linalg.eigvalsh(compute_process_noise(first, density)) >= -1e-12).all()


def test_constant_velocity_moves_a_state() -> None:
    assert (compute_transition(2.0) @ [1.0, 2.0, 10.0, -5.0]).tolist() == [21.0, -8.0, 10.0, -5.0]


def test_training_of_the_paper() -> None:
    # DTB-FL 6.1.2: 3 epochs of 300 samples at 1e6 cycles each, on 2 GHz.
    cycles = compute_training_cycles(300, 3, 1e6)
    assert compute_training_seconds(cycles, 2e9) == pytest.approx(0.45)
    assert compute_training_joules(cycles, 2e9, 1e-28) == pytest.approx(0.36)
    assert compute_training_seconds(cycles, 0.0) == np.inf


def test_transmit_energy() -> None:
    assert compute_transmit_joules(23.0, np.array([0.0, 1.0])) == pytest.approx([0.0, 0.19953], abs=1e-5)
