"""Channels that are not modelled: radio maps from files, links measured on drives, RSUs that fall silent."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from platoon.errors import UserError
from platoon.nouns import SECOND, Floats, Instant, VehicleId, seconds
from platoon.physics.grids import build_grid_map
from platoon.physics.radio import CQI_EFFICIENCY
from platoon.scenario import Scenario
from platoon.world.channels import make_channel, read_radio_map
from platoon.world.radio import Channel
from platoon.world.world import World

MakeWorld = Callable[..., World]
GRID = build_grid_map(3, 250.0, 2)
BUDGET_DB = 23.0 + 11.0 + 96.0
"""Power, gains and noise of the default link budget: SNR is this plus the path gain."""


def write_map(path: Path, gain: Floats, **tensors: Floats) -> Path:
    """A raster of 10 m cells whose first middle is at (-20, -20), with as many RSUs as it has layers."""
    content = {
        "path_gain_db": gain,
        "origin": np.array([-20.0, -20.0]),
        "cell": np.array([10.0, 10.0]),
        "rsus": np.array([[8.0, 8.0], [492.0, 492.0]])[: len(gain)],
    } | tensors
    save_file({name: np.ascontiguousarray(value, dtype=np.float32) for name, value in content.items()}, path)
    return path


def make(source: str, path: Path, vehicles: int = 4, rsus: int = 2, **radio: object) -> Channel:
    table = {"source": source, source: str(path), "rsus": rsus} | radio
    scenario = {"radio": table, "fleet": {"vehicles": vehicles}, "round": {"participants": 1}}
    return make_channel(GRID, Scenario.from_table(scenario))


def slope() -> Floats:
    """(2, 60, 60) gains that fall evenly to the east at one RSU, to the north at the other."""
    row, column = np.mgrid[0:60, 0:60]
    return np.stack([-60.0 - column, -60.0 - 0.5 * row])


def test_a_radio_map_is_read_between_its_cells(tmp_path: Path) -> None:
    channel = make("map", write_map(tmp_path / "city.safetensors", slope()))
    assert channel.rsus.tolist() == [[8.0, 8.0], [492.0, 492.0]]
    points = np.random.default_rng(1).uniform(-20.0, 570.0, (200, 2))
    found = channel.snr_db(points)
    steps = (points + 20.0) / 10.0
    assert found[:, 0] == pytest.approx(BUDGET_DB - 60.0 - steps[:, 0], abs=0.02)
    assert found[:, 1] == pytest.approx(BUDGET_DB - 60.0 - 0.5 * steps[:, 1], abs=0.02)


def test_beyond_the_radio_map_nobody_is_heard_or_the_model_holds(tmp_path: Path) -> None:
    path = write_map(tmp_path / "city.safetensors", slope()[:, :20, :20])
    points = np.array([[100.0, 100.0], [174.0, 100.0], [176.0, 100.0], [300.0, 100.0]])
    silent = make("map", path).snr_db(points)
    assert np.isfinite(silent[:2]).all()  # half a cell beyond the last middle still belongs to it
    assert (silent[2:] == -np.inf).all()
    mixed = make("map", path, map_outside="model").snr_db(points)
    assert (mixed[:2] == silent[:2]).all()
    assert np.isfinite(mixed).all()


def test_next_to_cells_that_no_ray_reaches_the_nearest_counts(tmp_path: Path) -> None:
    gain = np.full((1, 4, 4), -80.0)
    gain[0, :, 2:] = -np.inf
    channel = make("map", write_map(tmp_path / "city.safetensors", gain), rsus=1)
    found = channel.snr_db(np.array([[-20.0, -20.0], [-10.0, 0.0], [-6.0, 0.0], [-4.0, 0.0], [10.0, 0.0]]))
    assert found[:, 0] == pytest.approx([BUDGET_DB - 80.0] * 3 + [-np.inf] * 2, abs=0.02)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"path_gain_db": np.full((2, 4, 4), 80.0)}, "path_gain_db = 80; allowed: decibels up to -20"),
        ({"path_gain_db": np.full((2, 4, 4), np.nan)}, "path_gain_db = nan"),
        ({"path_gain_db": np.full((4, 4), -80.0)}, r"path_gain_db \(4, 4\), rsus \(2, 2\)"),
        ({"rsus": np.zeros((3, 2))}, r"rsus \(3, 2\)"),
        ({"cell": np.array([10.0, 0.0])}, "cells above 0"),
        ({"origin": np.array([np.inf, 0.0])}, "finite metres"),
    ],
)
def test_invalid_radio_maps(tmp_path: Path, tensors: dict[str, Floats], message: str) -> None:
    path = write_map(tmp_path / "bad.safetensors", np.full((2, 4, 4), -80.0), **tensors)
    with pytest.raises(UserError, match=message) as refusal:
        read_radio_map(path)
    assert str(path) in str(refusal.value)


def test_invalid_radio_map_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.safetensors: no such file"):
        read_radio_map(tmp_path / "gone.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"a\.safetensors: cannot be read as a radio map"):
        read_radio_map(tmp_path / "a.safetensors")
    save_file({"origin": np.zeros(2)}, tmp_path / "b.safetensors")
    with pytest.raises(UserError, match="tensor path_gain_db is missing"):
        read_radio_map(tmp_path / "b.safetensors")
    with pytest.raises(UserError, match=r"has 2 RSUs; allowed: radio\.rsus = 3"):
        make("map", write_map(tmp_path / "c.safetensors", slope()), rsus=3)


HEAD = (
    "Timestamp,Longitude,Latitude,Speed,RAWCELLID,NetworkMode,RSRP,RSRQ,SNR,CQI,DL_bitrate,UL_bitrate,State"
)


def write_drive(path: Path, rows: list[tuple[int, object, object, int]]) -> Path:
    """Rows of second, SNR, CQI and cell; it sends 50 kbit/s."""
    lines = [
        f"2020.02.13_13.03.{second:02d},-8.4,51.9,30,{cell},5G,-95,-12,{snr},{cqi},0,50,I"
        for second, snr, cqi, cell in rows
    ]
    path.write_text("\n".join([HEAD, *lines]) + "\n")
    return path


DRIVE: list[tuple[int, object, object, int]] = [
    (0, 10, 9, 71),
    (1, 11, 10, 71),
    # Seconds 2 to 4 are missing: the last value holds for three seconds.
    (5, 3, 5, 72),
    (6, "-", "-", 72),
    # Missing for more than three seconds.
    (12, 20, 15, 71),
]
EXPECTED = [10, 11, 11, 11, 11, 3, None, None, None, None, None, None, 20]


def follow(channel: Channel, vehicle: int) -> tuple[list[float | None], list[int]]:
    """SNR and RSU (-1 for none) of a vehicle at every second of two turns of its drive."""
    values, rsus = [], []
    for second in range(26):
        channel.at = Instant(second * SECOND + SECOND // 2)
        row = channel.snr_db(np.zeros((1, 2)), np.array([vehicle]))[0]
        serving = int(channel.serving(np.zeros((1, 2)), row[None])[0])
        values.append(float(row.max()) if np.isfinite(row).any() else None)
        rsus.append(serving)
        assert np.isfinite(row).sum() <= 1
    return values, rsus


def test_a_vehicle_has_the_link_of_its_drive(tmp_path: Path) -> None:
    channel = make("drives", write_drive(tmp_path / "a.csv", DRIVE), vehicles=3, rsus=4)
    for vehicle in range(3):
        values, rsus = follow(channel, vehicle)
        turn = values.index(20.0) - 12  # each vehicle begins at a second of its own
        turned = [EXPECTED[(second - turn) % 13] for second in range(26)]
        assert values == turned
        first, other = (rsus[values.index(value)] for value in (10.0, 3.0))
        assert other == (first + 1) % 4  # a handover of the phone
        assert {rsus[second] for second, value in enumerate(values) if value is None} == {-1}
    # The whole fleet at once gives the same.
    whole = channel.snr_db(np.zeros((3, 2)))
    for row in range(3):
        assert (whole[row] == channel.snr_db(np.zeros((1, 2)), np.array([row]))[0]).all()
    with pytest.raises(ValueError, match="drives belong to vehicles"):
        channel.snr_db(np.zeros((2, 2)))


@pytest.mark.parametrize(("kind", "rate"), [("cqi", 0.75 * 20e6 * CQI_EFFICIENCY[15]), ("uplink", 50_000.0)])
def test_rates_that_the_phone_had(tmp_path: Path, kind: str, rate: float) -> None:
    path = write_drive(tmp_path / "a.csv", [(0, 4, 15, 1)])
    channel = make("drives", path, vehicles=2, rsus=2, drives_rate=kind)
    rates = channel.rate(channel.snr_db(np.zeros((2, 2))))
    assert sorted(rates.ravel().tolist()) == [0.0, 0.0, rate, rate]


def test_a_larger_fleet_changes_nobodys_drive(tmp_path: Path) -> None:
    for name in "abcde":
        write_drive(tmp_path / f"{name}.csv", DRIVE)
    small, large = make("drives", tmp_path, vehicles=5), make("drives", tmp_path, vehicles=9)
    assert [follow(small, row) for row in range(5)] == [follow(large, row) for row in range(5)]


def test_a_silent_rsu_hears_and_serves_nobody(make_world: MakeWorld) -> None:
    world = make_world(
        np.tile([[[800.0, 0.0]]], (60, 1, 1)),
        length=1600.0,
        radio={"rsus": 2, "outages": [[0, 5.0, 20.0], [1, 10.0, 20.0]]},
    )
    story = []
    for second in (0, 4, 5, 9, 10, 19, 20):
        world.advance(Instant(second * SECOND))
        heard = np.isfinite(world.measure().sinr_db[0])
        story.append((second, int(world.serving()[0]), heard.tolist()))
    best = story[0][1]
    assert story[-1][1:] == story[0][1:] == story[1][1:]
    assert all(serving == 1 and heard == [False, True] for _, serving, heard in story[2:4])
    assert all(serving == -1 and heard == [False, False] for _, serving, heard in story[4:6])
    assert best in {0, 1}


def test_an_upload_waits_for_its_rsu_to_come_back(make_world: MakeWorld) -> None:
    outage = {"rsus": 1, "outages": [[0, 0.0, 20.0]]}
    world = make_world(np.tile([[[800.0, 0.0]]], (60, 1, 1)), length=1600.0, radio=outage)
    world.start_training(VehicleId(0), 10, 1e6, Instant(0))
    (arrival,) = world.advance(Instant(seconds(40.0)))
    assert 20.0 <= arrival.at / SECOND < 22.0


@pytest.mark.parametrize(
    ("radio", "message"),
    [
        ({"source": "map"}, r"radio\.map = None with radio\.source = 'map'"),
        ({"drives": "a.parquet"}, r"radio\.drives = 'a\.parquet' with radio\.source = 'model'"),
        ({"outages": [[4, 0.0, 9.0]]}, r"radio\.outages: \[4, 0, 9\]: allowed: an RSU from 0 to 3"),
        ({"outages": [[0, 9.0, 9.0]]}, "from a second on until a later one"),
    ],
)
def test_invalid_sources(radio: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Scenario.from_table({"radio": radio})
