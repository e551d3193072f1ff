"""Link forecasts side by side: who is believed where, the network's laws, and that all of it is saved."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from platoon.errors import UserError
from platoon.nouns import SECOND, Instant, Outcomes, seconds
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.twin import lstm, outlook
from platoon.twin.columns import to_columns
from platoon.twin.finish import Job
from platoon.twin.link import Service
from platoon.twin.outlook import Question
from platoon.twin.places import Places

JOB = Job(samples=np.full(20, 300.0), epochs=3, bits=1e7)


def service(snr, support=0):
    snr = np.asarray(snr, dtype=float)
    return Service(
        snr_db=snr,
        lasting_db=np.full(snr.shape, 1.0),
        passing_db=np.full(snr.shape, 4.0),
        support=np.full(snr.shape, support),
    )


def ask(moments=1, nodes=2, vehicles=3):
    places = Places(
        nodes=np.zeros((moments, nodes, vehicles, 2)),
        rows=np.zeros((moments, nodes, vehicles), dtype=np.int64),
        weights=np.full((nodes, vehicles), 1 / nodes),
    )
    return Question(who=np.arange(vehicles), ahead_s=np.linspace(10, 30, moments), places=places)


def looked(value, method="map_blend"):
    start = outlook.start_outlook(len(value), method, seed=1)
    past = outlook.history.look(start.past, seconds(1), np.asarray(value, dtype=float))
    return replace(start, past=past)


def test_the_map_is_believed_until_the_past_was_shown_to_be_better():
    state, about = looked([7.0, np.nan, 9.0]), ask()
    said = service([[[0.0, 1.0, -np.inf], [2.0, 3.0, 4.0]]], support=1)
    assert outlook.trust_map_blend(state, said, about) is said
    shown = replace(state, errors=np.array([[0, 0, 0], [900.0, 800.0, 300.0], [900.0, 899.0, 300.0]]))
    assert outlook.find_better(shown).tolist() == [False, True, False]
    believed = outlook.trust_map_blend(shown, said, about)
    # the past where there is one, and never where no RSU serves
    assert believed.snr_db.tolist() == [[[7.0, 1.0, -np.inf], [7.0, 3.0, 9.0]]]
    assert believed.passing_db[0, 0].tolist() == [0.0, 4.0, 4.0]
    elsewhere = outlook.trust_map_blend(shown, replace(said, support=said.support + 1), about)
    assert np.array_equal(elsewhere.snr_db, said.snr_db)


def test_trials_are_decided_by_what_comes_when_they_are_due():
    state = looked([7.0, 5.0, 9.0])
    said = service(np.full((1, 2, 3), 20.0), support=2)
    state = outlook.take_trial(state, said, ask(), Instant(seconds(11)))
    state = outlook.decide_trials(state, Instant(seconds(10)), np.full(3, 8.0))
    assert not state.errors.any()
    state = outlook.decide_trials(state, Instant(seconds(11)), np.array([8.0, np.nan, 8.0]))
    assert state.errors.tolist() == [[0, 0, 0], [0, 0, 0], [24.0, 2.0, 2.0]]
    assert not state.trials


def test_persistence_says_the_present_wherever_the_vehicle_goes():
    state = looked([7.0, np.nan, 9.0])
    said = outlook.trust_persistence(state, service([[[0.0, 1.0, -np.inf], [2.0, 3.0, 4.0]]]), ask())
    assert said.snr_db.tolist() == [[[7.0, -np.inf, -np.inf], [7.0, -np.inf, 9.0]]]


def test_expected_snr_is_over_the_nodes_in_service():
    weights = np.array([[0.25, 0.5], [0.75, 0.5]])
    snr = np.array([[[4.0, -np.inf], [8.0, -np.inf]], [[4.0, 2.0], [-np.inf, 4.0]]])
    found = outlook.expect_snr(snr, weights)
    assert found[0, 0] == 7.0
    assert np.isnan(found[0, 1])
    assert found[1].tolist() == [4.0, 3.0]


@pytest.mark.parametrize("method", outlook.RECURRENT)
def test_an_untrained_network_says_what_it_is_given_to_correct(method):
    state, about = looked([7.0, 5.0, 9.0], method), ask()
    state = replace(
        state,
        net=lstm.look(
            state.net, Instant(SECOND), np.array([7.0, 5.0, 9.0]), np.zeros((3, 2)), np.zeros((3, 2))
        ),
    )
    said = outlook.FORECASTS[method](state, service(np.full((1, 2, 3), 20.0)), about)
    expected = [20.0] * 3 if method == "lstm_map" else [7.0, 5.0, 9.0]
    assert said.snr_db[0, 0].tolist() == expected


def taught(seed=1, trainings=3):
    """A network whose links rise by 6 dB where the map says more, and fall where it says less."""
    rng = stream(seed, "lesson")
    net = lstm.start_recurrent(40, seed)
    for moment in range(1, 40):
        at, value = seconds(10 * moment), rng.normal(5, 5, 40)
        net = lstm.judge(net, at, value)
        for back in range(lstm.STEPS):
            net = lstm.look(net, Instant(at + back), value, np.zeros((40, 2)), np.zeros((40, 2)))
        by_map = value + np.where(rng.random(40) < 0.5, 6.0, -6.0)
        told = lstm.describe(
            net,
            np.arange(40),
            np.array([10.0]),
            position=np.zeros((1, 40, 2)),
            by_map=by_map[None],
            base=value[None],
        )
        net = lstm.remember(net, replace(told, target=by_map))
    net = lstm.judge(net, Instant(seconds(500)), np.zeros(40))
    for _ in range(trainings):
        net = lstm.train(net, seed)
    return net, told, by_map


def test_the_network_learns_what_the_map_tells():
    net, told, by_map = taught()
    assert np.abs(told.base - by_map).mean() == pytest.approx(6.0)
    assert np.abs(lstm.forecast(net, told) - by_map).mean() < 2.0
    assert net.trainings == 3


def test_training_is_the_same_bits_for_the_same_seed_and_draws_on_no_other_dice():
    before = torch.get_rng_state().numpy().tobytes()
    one, other = taught()[0], taught()[0]
    assert one.weights.tobytes() == other.weights.tobytes()
    assert taught(seed=2)[0].weights.tobytes() != one.weights.tobytes()
    assert torch.get_rng_state().numpy().tobytes() == before


def test_too_few_examples_train_nothing():
    net = lstm.start_recurrent(5, 1)
    assert lstm.train(net, 1) is net


def outcomes(number):
    return Outcomes(
        round=number, vehicles=np.arange(3), arrived=np.ones(3, dtype=bool), seconds=np.full(3, 2.0)
    )


@pytest.mark.parametrize("method", sorted(outlook.FORECASTS))
def test_every_method_foresees_and_goes_on_bit_by_bit_after_a_restore(make_town, tmp_path, method):
    town = make_town(settings={"twin": {"link_forecast": method, "positioning": "position"}})
    town.drive(town.twin, 0, 92)
    town.twin.learn(outcomes(10))
    town.twin.save(tmp_path)
    copy = town.make_twin()
    copy.restore(tmp_path)
    found = []
    for twin in (town.twin, copy):
        town.drive(twin, 92, 104)
        twin.learn(outcomes(20))
        forecasts = twin.forecast(JOB, seconds(20), seconds(103))
        assert ((forecasts.finish_probability >= 0) & (forecasts.finish_probability <= 1)).all()
        assert (forecasts.finish_probability > 0.5).any()
        found.append({name: column.tobytes() for name, column in to_columns(twin._belief).items()})
    assert found[0] == found[1]
    trained = town.twin._belief.outlook.net
    assert bool(trained.trainings) == (method in outlook.RECURRENT)


def test_torch_is_imported_only_for_a_recurrent_forecast():
    code = "import sys, platoon.twin.twin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_invalid_method_names_what_is_allowed():
    with pytest.raises(UserError, match=r"twin\.link_forecast = 'lstn'.*map_blend"):
        Scenario.from_table({"twin": {"link_forecast": "lstn"}})
