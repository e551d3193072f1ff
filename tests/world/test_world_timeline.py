"""Stories of a round in a scripted world: coverage, handover, lateness, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from platoon.errors import UserError
from platoon.nouns import SECOND, Floats, Instant, VehicleId, seconds
from platoon.world.world import World

MakeWorld = Callable[..., World]
ONE_RATE = {"carrier_ghz": 2.0, "rate": "shannon", "snr_sigma_db": 0.0}


def stand(*places: float, time: int = 5) -> Floats:
    """Vehicles that stand on the street."""
    return np.array([[(x, 0.0) for x in places]] * time)


def drive(start: float, speed: float, time: int) -> Floats:
    """One vehicle along the street."""
    return np.stack([start + speed * np.arange(time), np.zeros(time)], axis=1)[:, None, :]


def test_a_vehicle_leaves_coverage_in_its_upload_and_ends_it_at_the_next_rsu(make_world: MakeWorld) -> None:
    # Two RSUs of 600 m on a street of 5 km: a gap in between, which takes a minute or more at 20 m/s.
    world = make_world(
        drive(0.0, 20.0, 300), length=5000.0, radio=ONE_RATE | {"rsus": 2, "service_radius_m": 600.0}
    )
    first, second = sorted(world.rsus[:, 0])
    assert second - first > 2 * 600 + 500
    # It has more to send than the whole first pass can carry: that, and a tenth of the second pass.
    middles = np.stack([20.0 * np.arange(250) + 10.0, np.zeros(250)], axis=1)
    snr = world.channel.snr_db(middles)
    each_second = world.channel.rate(snr.max(axis=1))
    passes = [
        each_second[world.channel.serving(middles, snr) == rsu].sum() for rsu in np.argsort(world.rsus[:, 0])
    ]
    world.start_training(VehicleId(0), 300, passes[0] + passes[1] / 10, Instant(0))

    # Still in the gap: nothing has arrived, and nothing serves it.
    gap = seconds((first + 600) / 20 + 10)
    assert world.advance(Instant(gap)) == []
    assert world.serving().tolist() == [-1]

    # At the second RSU the rest goes through.
    arrival = world.next_arrival(Instant(290 * SECOND))
    assert arrival is not None
    assert arrival.at == world.now
    assert arrival.at > seconds((second - 600) / 20)
    assert world.rsus[arrival.edge_server, 0] == second
    assert arrival.handovers == 1
    assert arrival.compute_s + arrival.upload_s == pytest.approx(arrival.at / SECOND)

    # While it waited it radiated nothing: 0.2 W for far less than the upload took.
    on_air_j = arrival.energy_j - world.processors.joules(np.array([0]), np.array([9e8]))[0]
    assert 0.0 < on_air_j < 0.19953 * (arrival.upload_s - (second - first - 1200) / 20 + 2)


def test_an_update_arrives_after_training_and_upload(make_world: MakeWorld) -> None:
    world = make_world(stand(500.0))
    computed = world.processors.finish(0, 9e8, Instant(SECOND))
    rate = world.channel.rate(world.channel.snr_db(world.positions())).max()
    world.start_training(VehicleId(0), 300, 9.6e6, Instant(SECOND))
    (arrival,) = world.advance(Instant(60 * SECOND))
    assert arrival.compute_s == (computed - SECOND) / SECOND
    assert arrival.upload_s == pytest.approx(9.6e6 / rate, abs=2e-6)
    assert arrival.handovers == 0
    joules = 1e-28 * 9e8 * world.processors.clock_hz[0] ** 2 + 10**2.3 / 1e3 * arrival.upload_s
    assert arrival.energy_j == pytest.approx(joules)
    assert world.now == 60 * SECOND


def test_the_band_is_shared_only_with_uploads_of_the_same_rsu(make_world: MakeWorld) -> None:
    def upload_seconds(*places: float) -> list[float]:
        world = make_world(stand(*places), compute={"load_mean": 0.0, "load_sigma": 0.0, "ghz": (2.0, 2.0)})
        for vehicle in range(len(places)):
            world.start_training(VehicleId(vehicle), 300, 9.6e6, Instant(0))
        arrivals = world.advance(Instant(100 * SECOND))
        assert [a.at for a in arrivals] == sorted(a.at for a in arrivals)
        return [a.upload_s for a in sorted(arrivals, key=lambda a: a.vehicle)]

    (alone,) = upload_seconds(500.0)
    assert upload_seconds(500.0, 500.0) == pytest.approx([2 * alone] * 2, abs=1e-5)
    assert upload_seconds(500.0, 3500.0)[0] == pytest.approx(alone, abs=1e-5)


def test_next_arrival_stops_at_each_arrival_and_at_the_limit(make_world: MakeWorld) -> None:
    tracks = stand(500.0, 500.0, 3500.0)
    whole, step = make_world(tracks), make_world(tracks)
    for world in (whole, step):
        for vehicle in range(3):
            world.start_training(VehicleId(vehicle), 300, 9.6e6, Instant(100_000 * vehicle))
    together = whole.advance(Instant(30 * SECOND))
    assert len(together) == 3
    one_by_one = []
    while (arrival := step.next_arrival(Instant(30 * SECOND))) is not None:
        assert step.now == arrival.at
        one_by_one.append(arrival)
    assert one_by_one == together
    assert step.now == whole.now == 30 * SECOND


def test_who_is_late_is_forgotten_and_has_spent_energy(make_world: MakeWorld) -> None:
    world = make_world(stand(500.0, 500.0))
    world.start_training(VehicleId(1), 300, 1e15, Instant(0))
    world.start_training(VehicleId(0), 300, 9.6e6, Instant(9 * SECOND))
    assert world.advance(Instant(5 * SECOND)) == []
    spent = world.abandon_round()
    assert list(spent) == [0, 1]
    # Vehicle 0 has not begun; vehicle 1 has trained and been on the air since.
    assert spent[VehicleId(0)] == 0.0
    trained = world.processors.joules(np.array([1]), np.array([9e8]))[0]
    computed = world.processors.finish(1, 9e8, Instant(0))
    assert spent[VehicleId(1)] == pytest.approx(trained + 10**2.3 / 1e3 * (5 - computed / SECOND))
    assert world.abandon_round() == {}
    assert world.advance(Instant(30 * SECOND)) == []


def test_half_a_training_costs_half_its_energy(make_world: MakeWorld) -> None:
    world = make_world(stand(500.0), compute={"load_mean": 0.0, "load_sigma": 0.0, "ghz": (2.0, 2.0)})
    world.start_training(VehicleId(0), 30_000, 9.6e6, Instant(0))  # 45 s at 2 GHz
    world.advance(Instant(seconds(22.5)))
    assert world.abandon_round() == {0: pytest.approx(0.5 * 1e-28 * 9e10 * 4e18)}


def test_nobody_in_coverage(make_world: MakeWorld) -> None:
    world = make_world(stand(3900.0), radio={"rsus": 1, "service_radius_m": 300.0})
    assert world.serving().tolist() == [-1]
    assert not world.attest(np.array([0])).asked.any()
    world.start_training(VehicleId(0), 300, 9.6e6, Instant(0))
    assert world.next_arrival(Instant(20 * SECOND)) is None
    assert list(world.abandon_round()) == [0]


def test_off_the_road_a_vehicle_is_neither_heard_nor_served(make_world: MakeWorld) -> None:
    present = np.array([[False], [False], [True], [True], [True]])
    world = make_world(stand(500.0), present=present)
    assert not world.measure().heard.any()
    assert world.serving().tolist() == [-1]
    world.start_training(VehicleId(0), 300, 1.0, Instant(0))
    (arrival,) = world.advance(Instant(10 * SECOND))
    # It is on the road at both ends of a second from 2 s on.
    assert 2 * SECOND < arrival.at < 2 * SECOND + 10
    assert world.measure().heard.all()


def test_positions_between_two_seconds(make_world: MakeWorld) -> None:
    world = make_world(drive(100.0, 10.0, 5))
    seen = [world.positions()[0, 0]]
    for instant in (250_000, SECOND, 1_500_000, 4 * SECOND, 6 * SECOND):
        world.advance(Instant(instant))
        seen.append(world.positions()[0, 0])
    assert seen == pytest.approx([100.0, 102.5, 110.0, 115.0, 140.0, 140.0])


def test_a_vehicle_that_was_moved_past_a_jam_is_not_seen_in_between(make_world: MakeWorld) -> None:
    world = make_world(np.array([[[100.0, 0.0]], [[900.0, 0.0]]]))
    world.advance(Instant(500_000))
    assert world.positions().tolist() == [[900.0, 0.0]]


def test_achieved_speed_counts_who_stands(make_world: MakeWorld) -> None:
    tracks = np.concatenate([drive(0.0, 10.0, 11), stand(500.0, time=11)], axis=1)
    world = make_world(tracks)
    assert world.achieved_speed_kmh == 0.0
    world.advance(Instant(10 * SECOND))
    assert world.achieved_speed_kmh == pytest.approx(18.0)


def test_a_restored_world_goes_on_as_it_would_have(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(drive(100.0, 13.0, 200))
    world.advance(Instant(seconds(8.6)))
    world.save(tmp_path / "checkpoint")

    def go_on() -> list[object]:
        world.start_training(VehicleId(0), 300, 9.6e6, world.now)
        return [world.advance(Instant(seconds(17.3))), world.measure().arrival_ns.tobytes(), world.now]

    expected = go_on()
    world.restore(tmp_path / "checkpoint")
    assert world.now == seconds(8.6)
    assert go_on() == expected


def test_invalid_time_and_participants(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(stand(500.0))
    world.advance(Instant(SECOND))
    with pytest.raises(ValueError, match="time cannot go back"):
        world.advance(Instant(0))
    with pytest.raises(ValueError, match="time cannot go back"):
        world.next_arrival(Instant(0))
    with pytest.raises(ValueError, match="training cannot start at 0"):
        world.start_training(VehicleId(0), 1, 1.0, Instant(0))
    world.start_training(VehicleId(0), 300, 1e12, Instant(SECOND))
    with pytest.raises(ValueError, match="takes part already"):
        world.start_training(VehicleId(0), 300, 1e12, Instant(SECOND))
    with pytest.raises(RuntimeError, match="between rounds"):
        world.save(tmp_path / "checkpoint")


def test_invalid_checkpoints(make_world: MakeWorld, tmp_path: Path) -> None:
    two, one = make_world(stand(1.0, 2.0)), make_world(stand(1.0))
    two.save(tmp_path / "two")
    with pytest.raises(UserError, match=r"world\.json: not a world of 1 vehicles"):
        one.restore(tmp_path / "two")
    with pytest.raises(UserError, match=r"world\.json: cannot be read"):
        one.restore(tmp_path / "nowhere")
    (tmp_path / "two" / "world.json").write_text("[]")
    with pytest.raises(UserError, match=r"world\.json: cannot be read"):
        two.restore(tmp_path / "two")
    two.save(tmp_path / "two")
    (tmp_path / "two" / "trace.json").unlink()
    with pytest.raises(UserError, match=r"trace\.json: cannot be read"):
        two.restore(tmp_path / "two")
