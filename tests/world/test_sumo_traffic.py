"""Real SUMO: it repeats itself, loses nobody, prints nothing, and refuses what it cannot read."""

import contextlib
import hashlib
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import libsumo
import numpy as np
import pytest

from platoon.errors import UserError
from platoon.nouns import Floats, Instant, VehicleId, seconds
from platoon.scenario import Roads, Scenario
from platoon.world.networks import find_sumo_program, prepare_network
from platoon.world.sumo import SumoTraffic, start_sumo
from platoon.world.world import World


@contextlib.contextmanager
def running(scenario: Scenario, scratch: Path) -> Iterator[SumoTraffic]:
    traffic = start_sumo(scenario, scratch)
    try:
        yield traffic
    finally:
        traffic.close()


def drive(traffic: SumoTraffic, steps: int) -> Floats:
    """(steps, N, 2)"""
    places = []
    for _ in range(steps):
        traffic.step()
        places.append(traffic.positions)
    return np.array(places)


def with_roads(scenario: Scenario, **roads: object) -> Scenario:
    return scenario.model_copy(update={"roads": scenario.roads.model_copy(update=roads)})


def make_network(folder: Path, nodes: str, edges: str) -> Path:
    """A network from netconvert's plain XML."""
    (folder / "plain.nod.xml").write_text(f"<nodes>{nodes}</nodes>")
    (folder / "plain.edg.xml").write_text(f"<edges>{edges}</edges>")
    network = folder / "plain.net.xml"
    command = [
        find_sumo_program("netconvert"),
        "-n",
        folder / "plain.nod.xml",
        "-e",
        folder / "plain.edg.xml",
    ]
    subprocess.run([*command, "--xml-validation=never", "-o", network], check=True, capture_output=True)
    return network


def ring(*names: str) -> str:
    pairs = zip(names, [*names[1:], names[0]], strict=True)
    return "".join(f'<edge id="{a}{b}" from="{a}" to="{b}" numLanes="1" speed="14"/>' for a, b in pairs)


SQUARE = '<node id="a" x="0" y="0"/><node id="b" x="300" y="0"/><node id="c" x="300" y="300"/>'
SQUARE += '<node id="d" x="0" y="300"/>'


def test_the_same_seed_drives_the_same_and_another_does_not(grid: Scenario, scratch: Path) -> None:
    with running(grid, scratch) as traffic:
        first = drive(traffic, 40)
        assert traffic.present.all()
        assert traffic.speeds.max() > 5.0
    with running(grid, scratch) as traffic:
        assert (drive(traffic, 40) == first).all()
    with running(grid.model_copy(update={"seed": 2}), scratch) as traffic:
        assert (drive(traffic, 40) != first).any()


def test_another_process_drives_the_same(grid: Scenario, scratch: Path, tmp_path: Path) -> None:
    """And nothing that SUMO prints reaches the standard output."""
    (tmp_path / "scenario.toml").write_text(grid.to_toml())
    program = f"""
import hashlib
from pathlib import Path
import pyarrow
from platoon.scenario import Scenario
from platoon.world.sumo import start_sumo
traffic = start_sumo(Scenario.load({str(tmp_path / "scenario.toml")!r}), Path({str(scratch)!r}))
traffic.save(Path({str(tmp_path)!r}))
for _ in range(60):
    traffic.step()
Path({str(tmp_path / "digest")!r}).write_text(hashlib.sha256(traffic.positions.tobytes()).hexdigest())
traffic.restore(Path({str(tmp_path)!r}))
traffic.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    with running(grid, scratch) as traffic:
        drive(traffic, 60)
        digest = hashlib.sha256(traffic.positions.tobytes()).hexdigest()
    assert (tmp_path / "digest").read_text() == digest


@pytest.mark.parametrize("fresh", [False, True])
def test_restored_traffic_goes_on_bit_for_bit(
    grid: Scenario, scratch: Path, tmp_path: Path, fresh: bool
) -> None:
    with running(grid, scratch) as traffic:
        drive(traffic, 150)
        traffic.save(tmp_path)
        expected, routes = drive(traffic, 30), [libsumo.vehicle.getRoute(n) for n in traffic._names]
        if not fresh:
            traffic.restore(tmp_path)
            assert (drive(traffic, 30) == expected).all()
    if fresh:
        with running(grid, scratch) as traffic:
            traffic.restore(tmp_path)
            assert (drive(traffic, 30) == expected).all()
            assert [libsumo.vehicle.getRoute(n) for n in traffic._names] == routes


def test_a_restored_world_on_sumo_goes_on_bit_for_bit(grid: Scenario, scratch: Path, tmp_path: Path) -> None:
    def one_round(world: World) -> list[object]:
        for vehicle in range(0, 20, 4):
            world.start_training(VehicleId(vehicle), 300, 9.6e6, Instant(world.now + seconds(1.0)))
        arrivals = world.advance(Instant(world.now + seconds(8.6)))
        late = world.abandon_round()
        return [arrivals, late, world.positions().tobytes(), world.measure().rsrp_dbm.tobytes()]

    world = World(grid, scratch)
    try:
        one_round(world)
        world.save(tmp_path)
        expected = [one_round(world) for _ in range(3)]
        assert sum(len(arrivals) for arrivals, *_ in expected) > 0
        speed = world.achieved_speed_kmh
    finally:
        world.close()
    world = World(grid, scratch)
    try:
        world.restore(tmp_path)
        assert [one_round(world) for _ in range(3)] == expected
        assert world.achieved_speed_kmh == speed
    finally:
        world.close()


def test_the_fleet_circulates_for_ever(scratch: Path) -> None:
    # Two streets each way: a ring of four corners, in which every route is soon at its end.
    scenario = Scenario.from_table(
        {"roads": {"streets": 2, "warmup_s": 10}, "fleet": {"vehicles": 5}, "round": {"participants": 1}}
    )
    with running(scenario, scratch) as traffic:
        drive(traffic, 900)
        assert traffic.present.all()
        assert libsumo.vehicle.getIDCount() == 5
        assert min(traffic._extensions) >= 2


def test_who_is_taken_off_the_road_enters_again(grid: Scenario, scratch: Path) -> None:
    with running(grid, scratch) as traffic:
        before = traffic.positions[3]
        libsumo.vehicle.remove("platoon.3")
        traffic.step()
        assert not traffic.present[3]
        assert (traffic.positions[3] == before).all()
        drive(traffic, 20)
        assert traffic.present.all()
        assert np.hypot(*(traffic.positions[3] - before)) < 700.0


def test_a_jam_of_more_vehicles_than_the_roads_hold(scratch: Path) -> None:
    scenario = Scenario.from_table(
        {
            "roads": {"streets": 2, "block_m": 60.0, "lanes": 1, "warmup_s": 5},
            "fleet": {"vehicles": 90},
        }
    )
    with running(scenario, scratch) as traffic:
        drive(traffic, 300)
        assert 0 < traffic.present.sum() < 90
        assert np.isfinite(traffic.positions).all()
        assert (traffic.speeds[~traffic.present] == 0.0).all()


def test_roads_and_limits_of_the_grid(grid: Scenario, scratch: Path) -> None:
    with running(grid, scratch) as traffic:
        roads = traffic.road_map
        assert len(roads.edge_ids) == 80
        assert roads.junctions.shape == (21, 2)  # all nodes but the four corners
        assert roads.bounds == pytest.approx((0.0, 0.0, 1000.0, 1000.0), abs=5.0)
        assert roads.speed_limits.min() >= 30 / 3.6
        assert roads.speed_limits.max() <= 60 / 3.6
        assert len(set(roads.speed_limits)) == 80
        assert all(roads.successors)
        # Everybody is on the road area.
        places, _, _ = roads.project(traffic.positions)
        assert np.hypot(*(places - traffic.positions).T).max() < 20.0


@pytest.mark.parametrize("signals", ["actuated", "static", "none"])
def test_signals(grid: Scenario, scratch: Path, signals: str) -> None:
    with running(with_roads(grid, signals=signals, streets=3), scratch):
        lights = libsumo.trafficlight.getIDList()
        kinds = {libsumo.trafficlight.getAllProgramLogics(light)[0].type for light in lights}
    static, actuated = 0, 3
    assert kinds == {"actuated": {actuated}, "static": {static}, "none": set()}[signals]


def test_fixed_signals_are_not_all_in_step(tmp_path: Path) -> None:
    text = prepare_network(Roads(streets=4, signals="static"), tmp_path).net.read_text()
    offsets = re.findall(r'<tlLogic id="[^"]*" type="static" programID="0" offset="(\d+)">', text)
    assert len(offsets) == 16
    assert len(set(offsets)) > 8


def test_a_grid_is_made_once_and_without_a_date(tmp_path: Path) -> None:
    one = prepare_network(Roads(streets=3), tmp_path / "one").net
    other = prepare_network(Roads(streets=3), tmp_path / "other").net
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()
    modified = one.stat().st_mtime_ns
    assert prepare_network(Roads(streets=3), tmp_path / "one").net.stat().st_mtime_ns == modified
    assert prepare_network(Roads(streets=4), tmp_path / "one").net.name != one.name
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == [other.name]


def test_dead_ends_are_left_out(tmp_path: Path) -> None:
    nodes = SQUARE + '<node id="e" x="700" y="0"/>'
    edges = ring("a", "b", "c", "d") + '<edge id="be" from="b" to="e" numLanes="1" speed="14"/>'
    network = make_network(tmp_path, nodes, edges)
    scenario = Scenario.from_table(
        {
            "roads": {"sumo_config": str(network), "warmup_s": 0},
            "fleet": {"vehicles": 6},
            "round": {"participants": 1},
        }
    )
    with running(scenario, tmp_path / "scratch") as traffic:
        tracks = drive(traffic, 200)
        assert traffic.present.all()
        assert tracks[..., 0].max() < 310.0
        assert "be" in traffic.road_map.edge_ids
        assert traffic.road_map.speed_limits.tolist() == [14.0] * 5


def test_parts_that_do_not_connect_are_used_where_they_are_large(tmp_path: Path) -> None:
    """Two towns side by side are both driven in; a small square of a tenth of their roads is left out."""
    far = SQUARE.replace('"a"', '"p"').replace('"b"', '"q"').replace('"c"', '"r"').replace('"d"', '"s"')
    far = re.sub(r'x="(\d+)"', lambda found: f'x="{int(found[1]) + 2000}"', far)
    small = "".join(
        f'<node id="{n}" x="{x}" y="{y}"/>' for n, x, y in [("x", 900, 0), ("y", 930, 0), ("z", 930, 30)]
    )
    rings = ring("a", "b", "c", "d") + ring("p", "q", "r", "s") + ring("x", "y", "z")
    network = make_network(tmp_path, SQUARE + far + small, rings)
    scenario = Scenario.from_table(
        {
            "roads": {"sumo_config": str(network), "warmup_s": 0},
            "fleet": {"vehicles": 12},
            "radio": {"rsus": 2},
        }
    )
    with running(scenario, tmp_path / "scratch") as traffic:
        east = drive(traffic, 60)[..., 0]
        assert traffic.present.all()
    assert ((east < 310.0) | (east > 1990.0)).all()
    assert (east < 310.0).any()
    assert (east > 1990.0).any()


def test_a_scenario_with_its_own_traffic_is_joined_and_its_folder_left_alone(
    grid: Scenario, scratch: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "city"
    folder.mkdir()
    network = make_network(tmp_path, SQUARE, ring("a", "b", "c", "d")).rename(folder / "city.net.xml")
    (folder / "cars.rou.xml").write_text(
        '<routes><flow id="own" begin="3600" end="3700" period="10" departSpeed="5">'
        '<route edges="ab bc cd"/></flow></routes>'
    )
    (folder / "loops.add.xml").write_text(
        '<additional><e1Detector id="loop" lane="ab_0" pos="9" freq="5" file="loops.xml"/></additional>'
    )
    (folder / "city.sumocfg").write_text(
        f'<configuration><input><net-file value="{network.name}"/><route-files value="cars.rou.xml"/>'
        '<additional-files value="loops.add.xml"/></input><output><tripinfo-output value="trips.xml"/>'
        '</output><time><begin value="1:00:00"/></time></configuration>'
    )
    files = sorted(path.name for path in folder.iterdir())
    scenario = grid.model_copy(update={"roads": Roads(sumo_config=str(folder / "city.sumocfg"), warmup_s=30)})
    with running(scenario, scratch) as traffic:
        own = [name for name in libsumo.vehicle.getIDList() if name.startswith("own")]
        assert len(own) >= 2
        assert libsumo.simulation.getTime() == 3630.0
        expected = drive(traffic, 60)
        assert traffic.present.all()
    with running(scenario, scratch) as traffic:
        assert (drive(traffic, 60) == expected).all()
    assert sorted(path.name for path in folder.iterdir()) == files


def test_one_simulation_per_process(grid: Scenario, scratch: Path) -> None:
    with running(grid, scratch), pytest.raises(RuntimeError, match="another SUMO simulation runs"):
        start_sumo(grid, scratch)
    assert not libsumo.isLoaded()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.net.xml", None, "no such file"),
        ("broken.net.xml", "<net><edge", "cannot be read as a SUMO network"),
        ("old.net.xml", "<net/>", "cannot be read as a SUMO network"),
        ("empty.net.xml", '<net version="1.20"/>', "no SUMO network with roads"),
        ("other.net.xml", "<html><body/></html>", "no SUMO network with roads"),
        ("binary.net.xml", "\x00\x01", "cannot be read as a SUMO network"),
        ("roads.osm", "<osm/>", "unknown kind of file"),
        ("broken.sumocfg", "<configuration", "cannot be read as XML"),
        ("bare.sumocfg", "<configuration/>", "names no net-file"),
        (
            "gone.sumocfg",
            '<c><net-file value="gone.net.xml"/></c>',
            "names gone.net.xml, which does not exist",
        ),
        (
            "late.sumocfg",
            '<c><net-file value="late.sumocfg"/><begin value="x"/></c>',
            "begin = x: not a time",
        ),
    ],
)
def test_invalid_files(
    tmp_path: Path,
    scratch: Path,
    *,
    name: str,
    content: str | None,
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    scenario = Scenario.from_table({"roads": {"sumo_config": str(path)}})
    with pytest.raises(UserError) as refusal:
        start_sumo(scenario, scratch)
    assert str(path) in str(refusal.value)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")
    assert not libsumo.isLoaded()


def test_invalid_network_that_only_sumo_notices(
    tmp_path: Path, scratch: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = make_network(tmp_path, SQUARE, ring("a", "b", "c", "d"))
    network.write_text(network.read_text().replace("</net>", '<connection from="zz" to="ab"/></net>'))
    (tmp_path / "x.rou.xml").write_text('<routes><vehicle id="x" depart="0" route="nowhere"/></routes>')
    config = tmp_path / "x.sumocfg"
    config.write_text('<c><n value="plain.net.xml"/><r value="x.rou.xml"/></c>')
    with pytest.raises(UserError) as refusal:
        start_sumo(Scenario.from_table({"roads": {"sumo_config": str(config)}}), scratch)
    assert str(config) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_invalid_network_without_circulation(tmp_path: Path, scratch: Path) -> None:
    nodes = '<node id="a" x="0" y="0"/><node id="b" x="300" y="0"/>'
    network = make_network(tmp_path, nodes, '<edge id="ab" from="a" to="b" numLanes="1" speed="14"/>')
    with pytest.raises(UserError, match="no roads on which cars can circulate"):
        start_sumo(Scenario.from_table({"roads": {"sumo_config": str(network)}}), scratch)


def test_invalid_checkpoints_of_traffic(grid: Scenario, scratch: Path, tmp_path: Path) -> None:
    with running(grid, scratch) as traffic:
        traffic.save(tmp_path)
        book = tmp_path / "traffic.json"
        text = book.read_text()
        book.write_text(text.replace('"second": 20', '"second": 21'))
        with pytest.raises(UserError, match="the traffic differs from what was saved"):
            traffic.restore(tmp_path)
        book.write_text("{")
        with pytest.raises(UserError, match="cannot be read as saved traffic"):
            traffic.restore(tmp_path)
        traffic.close()
        traffic.close()


@pytest.mark.data
@pytest.mark.parametrize("entry", ["acosta/acosta_buslanes.net.xml", "acosta/run.sumocfg"])
def test_bologna(tmp_path: Path, data_folder: Path, entry: str) -> None:
    """A real city, with and without its rush hour: everybody drives, RSUs see along streets, runs repeat."""
    archive = data_folder / "sumo-bologna" / "bologna.tar.xz"
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    path = tmp_path / "bologna" / entry
    files = sorted(path.parent.iterdir())
    scenario = Scenario.from_table(
        {
            "roads": {"sumo_config": str(path), "warmup_s": 30},
            "fleet": {"vehicles": 30},
            "radio": {"carrier_ghz": 5.9},
        }
    )
    world = World(scenario, tmp_path / "scratch")
    try:
        assert world.present().all()
        sees = world.road_map.visibility(world.rsus).mean(axis=0)
        assert ((sees > 0.0) & (sees < 0.5)).all()
        world.advance(Instant(seconds(8.6)))
        world.save(tmp_path / "checkpoint")
        world.advance(Instant(seconds(40.0)))
        expected = world.positions()
        assert 5.0 < world.achieved_speed_kmh < 60.0
        world.restore(tmp_path / "checkpoint")
        world.advance(Instant(seconds(40.0)))
        assert (world.positions() == expected).all()
    finally:
        world.close()
    assert sorted(path.parent.iterdir()) == files


def unpack_bologna(data_folder: Path, folder: Path) -> Path:
    with tarfile.open(data_folder / "sumo-bologna" / "bologna.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return folder / "bologna"


@pytest.mark.data
@pytest.mark.parametrize("city", ["acosta", "pasubio", "joined", "acosta_persontrips"])
def test_a_fleet_takes_the_trips_of_bologna(tmp_path: Path, data_folder: Path, city: str) -> None:
    """Vehicles appear where the rush hour's trips begin, leave where they end, and make others after a rest."""
    path = unpack_bologna(data_folder, tmp_path) / city / "run.sumocfg"
    scenario = Scenario.from_table(
        {"roads": {"sumo_config": str(path), "fleet": "trips", "warmup_s": 60}, "fleet": {"vehicles": 40}}
    )
    with running(scenario, tmp_path / "scratch") as traffic:
        present, places = [], []
        for _ in range(150):
            traffic.step()
            present.append(traffic.present)
            places.append(traffic.positions)
        on_road, tracks = np.array(present), np.array(places)
        trips = len(set(traffic._seats._before) | {name for _, name in traffic._seats.trips})
        classes = {libsumo.vehicle.getVehicleClass(name) for _, name in traffic._seats.trips}
    assert on_road.any(axis=0).all()
    assert not on_road.all(axis=0).all()
    assert trips > 40
    assert classes <= {"passenger", "bus", "ignoring"}
    # Whoever is seen twice running drives there; who rests stays in place.
    step = np.hypot(*np.moveaxis(np.diff(tracks, axis=0), -1, 0))
    assert step[on_road[1:] & on_road[:-1]].max() < 40.0
    assert (step[~on_road[1:]] == 0.0).all()


@pytest.mark.data
def test_trips_are_restored_bit_for_bit(tmp_path: Path, data_folder: Path) -> None:
    path = unpack_bologna(data_folder, tmp_path) / "acosta" / "run.sumocfg"
    scenario = Scenario.from_table(
        {"roads": {"sumo_config": str(path), "fleet": "trips", "warmup_s": 5}, "fleet": {"vehicles": 30}}
    )
    with running(scenario, tmp_path / "scratch") as traffic:
        drive(traffic, 40)
        traffic.save(tmp_path / "saved")
        expected = drive(traffic, 30)
        traffic.restore(tmp_path / "saved")
        assert (drive(traffic, 30) == expected).all()


def test_invalid_trips_without_traffic(scratch: Path) -> None:
    network = prepare_network(Roads(streets=2), scratch).net
    roads = {"sumo_config": str(network), "fleet": "trips"}
    with pytest.raises(UserError, match="has no traffic of its own"):
        start_sumo(Scenario.from_table({"roads": roads}), scratch)
