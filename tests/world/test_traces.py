"""Floating car data: what is written is read back, what cannot be is refused by line, a fleet takes its trips."""

import copy
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.physics.grids import build_grid_map
from platoon.scenario import Scenario
from platoon.world.engines import start_traffic
from platoon.world.fcd import Frame, read_frames, write_frames
from platoon.world.replay import ReplayTraffic, check_trace
from platoon.world.road_file import load_roads, save_roads
from platoon.world.seats import REST_S, Seats

GRID = build_grid_map(3, 250.0, 2)
LINE = (3.2, 20.0)
"""A place on the first street of the grid; it leads north."""


def frame(at: float, cars: dict[str, tuple[float, float]], speed: float = 10.0) -> Frame:
    return Frame(
        at=at,
        line=0,
        names=tuple(cars),
        places=np.array(list(cars.values()), dtype=np.float64).reshape(-1, 2),
        speeds=np.full(len(cars), speed),
        angles=np.zeros(len(cars)),
    )


def north(metres: float) -> tuple[float, float]:
    return LINE[0], LINE[1] + metres


def write_xml(path: Path, steps: Sequence[str]) -> Path:
    path.write_text("<fcd-export>\n" + "\n".join(steps) + "\n</fcd-export>\n")
    return path


def replay(
    folder: Path, frames: Sequence[Frame], vehicles: int = 3, *, repeat: bool = False
) -> ReplayTraffic:
    path = folder / "trace.fcd.xml"
    write_frames(path, frames)
    return ReplayTraffic(GRID, path, vehicles, repeat=repeat)


numbers = st.floats(-1e6, 1e6, allow_nan=False)
cars = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters=';"\n\r', exclude_categories=("C",)), min_size=1),
    st.tuples(numbers, numbers),
    max_size=4,
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(cars, st.floats(0.0, 99.0) | st.just(float("nan"))), min_size=1, max_size=5),
    st.sampled_from(["xml", "xml.gz", "csv", "csv.gz", "parquet"]),
)
def test_what_is_written_is_read_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[dict[str, tuple[float, float]], float]],
    kind: str,
) -> None:
    path = tmp_path_factory.mktemp("trace") / f"any.fcd.{kind}"
    written = [frame(1.5 * at, found, speed) for at, (found, speed) in enumerate(steps)]
    write_frames(path, written)
    for one, other in zip(written, read_frames(path), strict=True):
        assert (one.at, one.names) == (other.at, other.names)
        for column in ("places", "speeds", "angles"):
            assert np.array_equal(getattr(one, column), getattr(other, column), equal_nan=True)


def test_equal_traces_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.fcd.xml.gz", "b.fcd.xml.gz"):
        write_frames(tmp_path / name, [frame(0.0, {"car": LINE})])
    assert (tmp_path / "a.fcd.xml.gz").read_bytes() == (tmp_path / "b.fcd.xml.gz").read_bytes()


def test_a_trace_of_sumo_with_persons_and_more_attributes(tmp_path: Path) -> None:
    path = write_xml(
        tmp_path / "a.fcd.xml",
        [
            '<timestep time="08:00:00"><vehicle id="a" x="1" y="2" angle="90" type="car" speed="3.5" pos="1"'
            ' lane="e_0" slope="0"/><person id="p" x="9" y="9" speed="1"/></timestep>',
            '<timestep time="08:00:01.00"/>',
        ],
    )
    first, second = read_frames(path)
    assert (first.at, first.names, first.speeds.tolist()) == (28_800.0, ("a",), [3.5])
    assert (second.at, second.names) == (28_801.0, ())


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (['<timestep time="1"/>', '<timestep time="0"/>'], "line 3: time 0 goes back, after 1"),
        (['<timestep time="1"/>', '<timestep time="1"/>'], "line 3: time 1 comes twice"),
        (['<timestep time="soon"/>'], "line 2: time = soon: allowed are numbers"),
        (["<timestep/>"], "line 2: time = nan"),
        (['<timestep time="1"><vehicle id="a" x="nan" y="0"/></timestep>'], "line 2: x = nan: allowed"),
        (['<timestep time="1"><vehicle id="a" x="1e12" y="0"/></timestep>'], "line 2: x = 1e12: allowed"),
        (['<timestep time="1"><vehicle id="a" x="1"/></timestep>'], "line 2: a vehicle without y"),
        (['<timestep time="1"><vehicle x="1" y="1"/></timestep>'], "line 2: a vehicle without id"),
        (
            ['<timestep time="1">', '<vehicle id="a" x="1" y="1" speed="-5"/></timestep>'],
            "line 3: speed = -5: allowed are numbers from 0 to 400",
        ),
        (
            ['<timestep time="1"><vehicle id="a" x="1" y="1"/><vehicle id="a" x="2" y="1"/></timestep>'],
            "line 2: vehicle a stands twice in time step 1",
        ),
        ([], "no time steps"),
        (["<timestep"], "line 3: cannot be read as XML"),
    ],
)
def test_invalid_traces(tmp_path: Path, steps: list[str], message: str) -> None:
    path = write_xml(tmp_path / "a.fcd.xml", steps)
    with pytest.raises(UserError) as refusal:
        list(read_frames(path))
    assert str(path) in str(refusal.value)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_invalid_trace_files(tmp_path: Path) -> None:
    def refuse(name: str, content: bytes | None, message: str) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            list(read_frames(tmp_path / name))

    refuse("gone.fcd.xml", None, r"gone\.fcd\.xml: no such file")
    refuse("a.txt", b"", "unknown kind of trace")
    refuse("a.xml", b"<routes/>", "line 1: <routes>: no floating car data")
    refuse("a.xml.gz", b"not zipped", r"a\.xml\.gz: cannot be read")
    whole = gzip.compress(b"<fcd-export>" + b" " * 9000 + b"</fcd-export>")
    refuse("b.xml.gz", whole[: len(whole) // 2], r"b\.xml\.gz: cannot be read")
    refuse("a.csv", b"time;x;y\n1;2;3\n", "column timestep_time is missing")
    head = b"timestep_time;vehicle_id;vehicle_x;vehicle_y;vehicle_speed\n"
    refuse("b.csv", head + b"0;a;1;2;3\n0;b;1;zwei;3\n", "line 3: y = zwei")
    refuse("a.parquet", b"PAR1", r"a\.parquet: cannot be read")


def test_gaps_are_bridged_and_long_ones_are_not(tmp_path: Path) -> None:
    traffic = replay(
        tmp_path,
        [
            frame(0.0, {"a": north(0), "b": north(50)}),
            # Two seconds later; b has gone.
            frame(2.0, {"a": north(20)}),
            # Half seconds: the whole one in between is interpolated.
            frame(2.5, {"a": north(25)}),
            frame(3.5, {"a": north(35)}),
            # Too long a gap, after which both are back.
            frame(16.0, {"a": north(150), "b": north(100)}),
        ],
    )
    seen = []
    for _ in range(18):
        seen.append((traffic.positions[0, 1] - LINE[1], traffic.present.tolist(), traffic.speeds[0]))
        traffic.step()
    on, off = [True, True, False], [True, False, False]
    assert seen[:4] == [(0.0, on, 10.0), (10.0, off, 10.0), (20.0, off, 10.0), (30.0, off, 10.0)]
    assert [present for _, present, _ in seen[4:16]] == [[False] * 3] * 12
    assert seen[16] == (150.0, on, 10.0)
    # After the end everybody has left, and stands where it was last seen.
    assert seen[17] == (150.0, [False] * 3, 0.0)


def test_a_jump_is_not_driven_through(tmp_path: Path) -> None:
    traffic = replay(
        tmp_path,
        [frame(0.0, {"a": LINE}), frame(2.0, {"a": (496.8, 400.0)}), frame(3.0, {"a": (496.8, 405.0)})],
    )
    traffic.step()
    assert not traffic.present.any()
    traffic.step()
    assert traffic.positions[0].tolist() == [496.8, 400.0]


def test_unknown_speeds_come_from_the_places(tmp_path: Path) -> None:
    steps = [frame(float(second), {"a": north(7.0 * second)}, float("nan")) for second in range(4)]
    traffic = replay(tmp_path, steps)
    speeds = []
    for _ in range(3):
        traffic.step()
        speeds.append(traffic.speeds[0])
    assert speeds == pytest.approx([7.0, 7.0, 7.0])


def test_a_trace_begins_again_where_it_is_asked_to(tmp_path: Path) -> None:
    traffic = replay(tmp_path, [frame(float(s), {"a": north(9.0 * s)}) for s in range(3)], repeat=True)
    seen = []
    for _ in range(9):
        seen.append((bool(traffic.present[0]), float(traffic.positions[0, 1]) - LINE[1]))
        traffic.step()
    lap = [(True, 0.0), (True, 9.0), (True, 18.0), (False, 18.0)]
    assert seen == [*lap, *lap, lap[0]]


def test_restored_traces_go_on_bit_for_bit(tmp_path: Path) -> None:
    steps = [frame(float(s), {f"car{s // 4}": north(8.0 * (s % 20)), "x": north(3.0 * s)}) for s in range(40)]
    traffic = replay(tmp_path, steps, vehicles=2)
    for _ in range(7):
        traffic.step()
    traffic.save(tmp_path / "saved")
    expected = [(traffic.step(), traffic.positions.tobytes(), traffic.present.tobytes()) for _ in range(20)]
    traffic.restore(tmp_path / "saved")
    again = [(traffic.step(), traffic.positions.tobytes(), traffic.present.tobytes()) for _ in range(20)]
    assert again == expected
    # Another trace in its place is noticed.
    other = replay(tmp_path, [frame(float(s), {"x": north(2.0 * s)}, 2.0) for s in range(40)], vehicles=2)
    with pytest.raises(UserError, match="is not the trace that the run began with"):
        other.restore(tmp_path / "saved")
    with pytest.raises(UserError, match="cannot be read as a saved trace"):
        other.restore(tmp_path)


def test_a_copy_has_the_same_future_and_disturbs_nobody(tmp_path: Path) -> None:
    traffic = replay(tmp_path, [frame(float(s), {"a": north(8.0 * s)}) for s in range(20)])
    for _ in range(5):
        traffic.step()
    other = copy.deepcopy(traffic)
    assert other.road_map is traffic.road_map
    for _ in range(4):
        other.step()
    assert (traffic.positions[0, 1], other.positions[0, 1]) == (LINE[1] + 40.0, LINE[1] + 72.0)


@pytest.mark.parametrize(
    ("scale", "speed", "message"),
    [
        (1.0, 36.0, "by their speeds have moved"),  # km/h
        (1000.0, 10.0, "m from every road"),  # millimetres
    ],
)
def test_invalid_units(tmp_path: Path, scale: float, speed: float, message: str) -> None:
    path = tmp_path / "a.fcd.xml"
    steps = [(scale * LINE[0], scale * (LINE[1] + 10.0 * s)) for s in range(22)]
    write_frames(path, [frame(float(s), {"a": place, "b": place}, speed) for s, place in enumerate(steps)])
    with pytest.raises(UserError, match=message):
        check_trace(path, GRID)


def test_invalid_degrees(tmp_path: Path) -> None:
    """Longitude and latitude of Bologna, on its map in metres: places near the map's corner that hardly move."""
    path = tmp_path / "a.fcd.xml"
    write_frames(path, [frame(float(s), {"a": (11.32, 44.49 + 1e-4 * s)}) for s in range(30)])
    with pytest.raises(UserError, match=r"by their speeds have moved 0 m; allowed: places in metres"):
        check_trace(path, GRID)


def move(seats: Seats, second: int, *names: str) -> list[int]:
    seats.move(second, names)
    return seats.rows(names).tolist()


def test_a_fleet_takes_the_trips_of_others() -> None:
    seats = Seats(2)
    # Two trips begin: everybody is busy. A third is other people's, to its end.
    assert move(seats, 0, "a", "b") == [0, 1]
    assert move(seats, 1, "a", "b", "c") == [0, 1, -1]
    assert move(seats, 2, "b", "c") == [1, -1]
    # a vanished and returns: the same vehicle.
    assert move(seats, 10, "b", "c", "a") == [1, -1, 0]
    assert move(seats, 20, "c") == [-1]
    # Nobody has rested long enough for a new trip yet.
    assert move(seats, 20 + REST_S - 1, "c", "d") == [-1, -1]
    assert move(seats, 20 + REST_S, "c", "d", "e") == [-1, -1, 0]
    assert seats.trips == [(0, "e")]
    # The vehicle of a has another trip by now: a gets the one that is free.
    assert move(seats, 99, "c", "e", "a") == [-1, 0, 1]


def test_trips_of_an_exported_run_have_their_vehicles() -> None:
    seats = Seats(3)
    assert move(seats, 0, "platoon.2", "other", "platoon.0", "platoon.3") == [2, 1, 0, -1]
    assert move(seats, 1, "platoon.2", "platoon.1") == [2, 1]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.lists(st.sets(st.sampled_from("abcdef")), max_size=30))
def test_nobody_is_on_two_trips_and_no_trip_changes_hands(vehicles: int, story: list[set[str]]) -> None:
    seats, before = Seats(vehicles), dict[str, int]()
    for second, names in enumerate(story):
        seats.move(40 * second, names)
        rows = dict(zip(sorted(names), seats.rows(sorted(names)).tolist(), strict=True))
        taken = [row for row in rows.values() if row >= 0]
        assert len(set(taken)) == len(taken)
        assert all(rows[name] == row for name, row in before.items() if name in rows)
        assert seats.trips == sorted((row, name) for name, row in rows.items() if row >= 0)
        before = rows


def test_a_road_map_is_the_same_in_a_file(tmp_path: Path) -> None:
    save_roads(tmp_path / "a.roads.npz", GRID, scenario="ab12")
    found = load_roads(tmp_path / "a.roads.npz")
    assert found.scenario == "ab12"
    assert found.for_cars.all()
    for column in ("edge_ids", "successors"):
        assert getattr(found.road_map, column) == getattr(GRID, column)
    for column in ("polylines", "widths", "speed_limits", "junctions", "samples", "sample_heading"):
        one, other = getattr(found.road_map, column), getattr(GRID, column)
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    with pytest.raises(UserError, match=r"gone\.roads\.npz: no such file"):
        load_roads(tmp_path / "gone.roads.npz")
    (tmp_path / "b.roads.npz").write_bytes((tmp_path / "a.roads.npz").read_bytes()[:500])
    with pytest.raises(UserError, match=r"b\.roads\.npz: cannot be read as a road map"):
        load_roads(tmp_path / "b.roads.npz")


@pytest.mark.parametrize(
    ("roads", "message"),
    [
        ({"engine": "trace"}, "roads.trace = None with roads.engine = 'trace'"),
        ({"trace": "a.fcd.xml"}, "with roads.engine = 'sumo': allowed: a trace with"),
        ({"road_map": "a.roads.npz"}, "SUMO reads sumo_config"),
        ({"fleet": "trips"}, "allowed: with engine = .* a sumo_config"),
    ],
)
def test_invalid_keys(roads: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Scenario.from_table({"roads": roads})


def test_a_trace_drives_a_fleet_from_its_scenario(tmp_path: Path) -> None:
    save_roads(tmp_path / "a.roads.npz", GRID)
    write_frames(tmp_path / "a.csv", [frame(float(s), {"a": north(5.0 * s)}) for s in range(3)])
    roads = {"engine": "trace", "trace": str(tmp_path / "a.csv"), "road_map": str(tmp_path / "a.roads.npz")}
    traffic = start_traffic(Scenario.from_table({"roads": roads, "fleet": {"vehicles": 10}}), tmp_path)
    traffic.step()
    assert traffic.road_map.edge_ids == GRID.edge_ids
    assert traffic.present.tolist() == [True] + [False] * 9
    assert traffic.positions[0].tolist() == list(north(5.0))
    traffic.close()
