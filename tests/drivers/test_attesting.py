"""Attestation from challenge to exclusion, in a world without SUMO: who works passes, who lies is left out."""

import inspect
from dataclasses import fields, replace
from typing import get_type_hints

import numpy as np
import pytest

from platoon.drivers.attesting import attest, find_honest_claims
from platoon.nouns import (
    Attestations,
    Digest,
    EdgeServerId,
    Instant,
    Measurements,
    Outcomes,
    VehicleId,
    seconds,
)
from platoon.physics.roads import RoadMap
from platoon.protocol.messages import edge_server_peer, vehicle_peer
from platoon.records.attestation import answer_challenges
from platoon.records.signing import simulated_account
from platoon.scenario import Scenario
from platoon.twin.columns import to_columns
from platoon.twin.twin import Job, Twin
from platoon.world.trace import TraceTraffic
from platoon.world.world import World

TASK = Digest(b"t" * 32)
FLEET = 30


def make_street():
    line = np.array([[0.0, 0.0], [2000.0, 0.0]])
    junctions = np.array([[500.0, 0.0], [1000.0, 0.0], [1500.0, 0.0]])
    return RoadMap.build(["street"], [line], [12.8], junctions=junctions)


class Site:
    """A street with vehicles that stand along it, its twin, and everybody's keys."""

    def __init__(self, folder, **sections):
        table = {"fleet": {"vehicles": FLEET}, "round": {"participants": 1}, "radio": {"rsus": 2}}
        self.scenario = Scenario.from_table({**table, **sections})
        places = np.stack([np.linspace(100, 1900, FLEET), np.zeros(FLEET)], axis=1)
        tracks = np.repeat(places[None], 200, axis=0)
        self.world = World(
            self.scenario, folder, lambda scenario, scratch: TraceTraffic(make_street(), tracks, None)
        )
        self.twin = Twin(self.scenario, self.world.road_map, self.world.rsus)
        self.accounts = {vehicle_peer(VehicleId(i)): simulated_account(1, "vehicle", i) for i in range(FLEET)}
        self.accounts |= {
            edge_server_peer(EdgeServerId(i)): simulated_account(1, "edge server", i) for i in range(2)
        }

    def ask(self, vehicles=None, answer=answer_challenges, round_number=1):
        vehicles = np.arange(FLEET) if vehicles is None else vehicles
        return attest(
            self.scenario,
            self.world,
            self.accounts,
            TASK,
            np.asarray(vehicles),
            round=round_number,
            answer=answer,
        )

    def play_round(self, second, answer=answer_challenges):
        """As the simulated driver does before it selects; who may be chosen."""
        self.world.advance(Instant(seconds(second)))
        self.twin.observe(self.world.measure())
        due = np.flatnonzero(self.twin.attestations_due(self.world.now))
        self.twin.attest(self.ask(due, answer, second))
        job = Job(samples=np.full(FLEET, 300.0), epochs=3, bits=1e6, wait_s=0.0)
        forecasts = self.twin.forecast(job, seconds(20), self.world.now)
        return forecasts.attested & find_honest_claims(self.scenario, self.twin, self.world), due


@pytest.fixture
def make_site(tmp_path):
    made = []

    def make(**sections):
        made.append(Site(tmp_path, **sections))
        return made[-1]

    yield make
    for site in made:
        site.world.close()


def test_honest_vehicles_pass_at_their_true_speed(make_site):
    site = make_site()
    answered = site.ask()
    assert answered.passed.sum() >= 25
    assert (answered.passed <= (site.world.serving() >= 0)).all()
    truth = site.world.processors.available_hz(site.world.now)
    assert np.abs(answered.cpu_hz / truth - 1.0)[answered.passed].max() < 0.05


def test_a_cached_answer_of_another_vehicle_fails(make_site):
    """Vehicle 3 works; the others send what it computed, signed by themselves."""
    site = make_site()
    three = site.accounts[vehicle_peer(VehicleId(3))]
    cache = {}

    def answer(account, challenges):
        if account is three:
            cache[0] = answer_challenges(account, challenges)
            return cache[0]
        return cache.get(
            0, answer_challenges(account, [replace(c, vehicle=three.address) for c in challenges])
        )

    assert np.flatnonzero(site.ask(answer=answer).passed).tolist() == [3]


def test_an_answer_of_an_earlier_round_fails(make_site):
    site = make_site()
    kept = {}

    def remember(account, challenges):
        kept[account.address] = answer_challenges(account, challenges)
        return kept[account.address]

    assert site.ask(answer=remember).passed.any()
    site.world.advance(Instant(seconds(5)))
    assert not site.ask(answer=lambda account, challenges: kept[account.address], round_number=2).passed.any()


def test_who_fails_is_excluded_until_it_passes(make_site):
    site = make_site()
    lazy = site.accounts[vehicle_peer(VehicleId(4))]

    def answer(account, challenges):
        worked = answer_challenges(account, challenges)
        return replace(worked, marks=worked.marks[:2]) if account is lazy else worked

    able, _ = site.play_round(1, answer)
    assert able[3]
    assert not able[4]
    able, due = site.play_round(2)
    assert due.tolist() == [4]  # the others' attestations still hold
    assert able[4]


def test_attestations_expire(make_site):
    site = make_site(twin={"attestation_age_s": 10.0})
    able, due = site.play_round(1)
    assert len(due) == FLEET
    assert able.sum() >= 25
    _, due = site.play_round(6)
    assert len(due) == FLEET - able.sum()
    job = Job(samples=np.full(FLEET, 300.0), epochs=3, bits=1e6, wait_s=0.0)
    late = site.twin.forecast(job, seconds(20), seconds(11.1))
    assert not late.attested[able].any()
    again, due = site.play_round(12)
    assert len(due) == FLEET
    assert (again == able).all()


def test_with_age_zero_everybody_is_asked_before_each_round(make_site):
    site = make_site(twin={"attestation_age_s": 0.0})
    for second in (1, 2, 3):
        able, due = site.play_round(second)
        assert len(due) == FLEET
        assert able.sum() >= 25


def test_vehicles_that_claim_twice_their_speed_are_caught(make_site):
    """Ten rounds in which half of the fleet claims twice its clock: they are out, and nobody else is."""
    site = make_site(compute={"boaster_share": 0.5}, twin={"attestation_age_s": 2.0})
    boasts = site.world.processors.claimed_hz > 1.5 * site.world.processors.clock_hz
    served = site.world.serving() >= 0
    assert 5 < boasts.sum() < 25
    for second in range(1, 60, 5):
        able, _ = site.play_round(second)
        assert not (able & boasts).any()
    assert (able == (served & ~boasts)).all()


def test_a_tolerance_of_zero_excludes_nobody(make_site):
    site = make_site(compute={"boaster_share": 1.0}, twin={"claim_tolerance": 0.0})
    able, _ = site.play_round(1)
    assert able.sum() >= 25


def test_worlds_that_differ_in_claims_alone_give_equal_beliefs(make_site):
    honest, boasting = make_site(), make_site(compute={"boaster_share": 1.0})
    for site in (honest, boasting):
        for second in range(1, 30, 4):
            site.play_round(second)
    assert (honest.world.processors.claimed_hz != boasting.world.processors.claimed_hz).all()
    one, other = (to_columns(site.twin._belief) for site in (honest, boasting))
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f"), name


def test_what_enters_the_twin_was_measured_by_the_infrastructure():
    """What changes the twin's belief: measurements, attestations, outcomes, what is to be done, times, and the
    folder of a saved belief. Nothing else."""
    allowed = {"Measurements", "Attestations", "Outcomes", "Job", "Duration", "Instant", "Path"}
    changing = {
        name: method
        for name, method in inspect.getmembers(Twin, inspect.isfunction)
        if not name.startswith("_") and "self._belief =" in inspect.getsource(method)
    }
    assert set(changing) >= {"observe", "attest", "forecast", "learn", "restore"}
    for name, method in changing.items():
        taken = {hint.__name__ for key, hint in get_type_hints(method).items() if key != "return"}
        assert taken <= allowed, name
    columns = {field.name for noun in (Measurements, Attestations, Outcomes) for field in fields(noun)}
    assert not any("claim" in name or "report" in name or "self" in name for name in columns)
