"""Recordings of real drives: seconds, gaps and units; what cannot be true is refused with file and line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from platoon.errors import UserError
from platoon.world.drives import Drive, read_drives

ROW = {
    "Timestamp": "2020.02.13_13.03.24",
    "Longitude": "-8.47",
    "Latitude": "51.9",
    "Speed": "36",
    "CellID": "11",
    "RAWCELLID": "100",
    "NetworkMode": "5G",
    "RSRP": "-95",
    "RSRQ": "-12.0",
    "SNR": "7.0",
    "CQI": "11.0",
    "DL_bitrate": "800",
    "UL_bitrate": "20",
    "State": "D",
}
HEAD = ",".join(ROW)


def at(second: int) -> str:
    return f"2020.02.13_13.03.{second:02d}"


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join({**ROW, **row}[name] for name in HEAD.split(",")) for row in rows]
    path.write_text("\n".join([HEAD, *lines]) + "\n")
    return path


def read_one(path: Path) -> Drive:
    (drive,) = read_drives(path)
    return drive


def test_a_drive_has_a_row_for_every_second(tmp_path: Path) -> None:
    drive = read_one(
        write(
            tmp_path / "a.csv",
            [
                {"Timestamp": at(24), "SNR": "1"},
                # The phone changed cell within the second: its last word counts.
                {"Timestamp": at(24), "SNR": "2", "RAWCELLID": "101"},
                # Nothing for 25 and 26, then off LTE: no SNR.
                {"Timestamp": at(27), "SNR": "-", "CQI": "-", "NetworkMode": "HSPA+", "RSRP": "-200"},
                {"Timestamp": at(28), "SNR": "9", "RAWCELLID": "102", "State": "I"},
            ],
        )
    )
    assert len(drive) == 5
    assert drive.measured.tolist() == [True, False, False, True, True]
    assert drive.snr_db[[0, 4]].tolist() == [2.0, 9.0]
    assert np.isnan(drive.snr_db[1:4]).all()
    assert np.isnan(drive.rsrp_dbm[3])
    assert drive.cell.tolist() == [101, -1, -1, 100, 102]
    assert drive.handovers.tolist() == [False, False, False, True, True]
    assert drive.downloading.tolist() == [True, False, False, True, False]
    assert drive.mode == ("5G", "", "", "HSPA+", "5G")


def test_units_are_those_of_the_project(tmp_path: Path) -> None:
    rows = [{"Timestamp": at(24)}, {"Timestamp": at(25), "Latitude": "51.901", "Longitude": "-8.471"}]
    drive = read_one(write(tmp_path / "a.csv", rows))
    assert drive.speed.tolist() == [10.0, 10.0]
    assert drive.uplink.tolist() == [20_000.0] * 2
    assert drive.downlink.tolist() == [800_000.0] * 2
    # 0.001 degrees are 111 m to the north, and at 51.9 degrees 69 m to the west.
    assert drive.position[1] == pytest.approx([-68.6, 111.2], abs=0.1)


def test_a_clock_that_steps_back_a_little_goes_on_with_the_drive(tmp_path: Path) -> None:
    seconds = [24, 25, 26, 25, 25, 26, 27]
    rows = [{"Timestamp": at(s), "SNR": str(i)} for i, s in enumerate(seconds)]
    assert read_one(write(tmp_path / "a.csv", rows)).snr_db.tolist() == [0.0, 4.0, 5.0, 6.0]


def test_a_folder_of_recordings_without_those_that_stand_still(tmp_path: Path) -> None:
    write(tmp_path / "Netflix" / "Driving" / "b.csv", [{}])
    write(tmp_path / "Download" / "Driving" / "a.csv", [{}])
    write(tmp_path / "Download" / "Static" / "c.csv", [{}])
    drives = read_drives(tmp_path)
    assert [drive.name for drive in drives] == ["Download/Driving/a.csv", "Netflix/Driving/b.csv"]
    assert [drive.app for drive in drives] == ["Download", "Netflix"]
    assert len(read_drives(tmp_path, driving_only=False)) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{}, {"Timestamp": "yesterday"}], "line 3: Timestamp = yesterday: no time"),
        ([{"Timestamp": at(30)}, {"Timestamp": at(20)}], "line 3: time goes back by 10 s"),
        ([{}, {"Timestamp": "2021.02.13_13.03.24"}], "line 3: time jumps ahead by 31622400 s"),
        ([{"RSRP": "95"}], "line 2: RSRP = 95; allowed: -160 to -20 dBm"),
        ([{"Speed": "3600"}], "line 2: Speed = 3600; allowed: 0 to 400 km/h"),
        ([{}, {}, {"CQI": "16"}], "line 4: CQI = 16; allowed: 0 to 15"),
        ([{"SNR": "good"}], "column SNR holds no numbers"),
    ],
)
def test_invalid_rows(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    path = write(tmp_path / "a.csv", rows)
    with pytest.raises(UserError) as refusal:
        read_drives(path)
    assert str(path) in str(refusal.value)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_invalid_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.parquet: no such file"):
        read_drives(tmp_path / "gone.parquet")
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"a\.parquet: cannot be read as drives"):
        read_drives(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("Timestamp,SNR\n2020.02.13_13.03.24,3\n")
    with pytest.raises(UserError, match=r"a\.csv: column NetworkMode is missing"):
        read_drives(tmp_path / "a.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no drives"):
        read_drives(tmp_path / "empty")


@pytest.mark.data
def test_the_sixty_drives_of_cork(data_folder: Path) -> None:
    drives = read_drives(data_folder / "ucc5g" / "ucc5g.parquet")
    assert len(drives) == 60
    assert sum(map(len, drives)) == 108_290
    assert all(drive.measured[0] and drive.measured[-1] for drive in drives)
    assert max(np.nanmax(np.hypot(*drive.position.T)) for drive in drives) < 20_000.0
    assert sum(int(drive.handovers.sum()) for drive in drives) > 1000
    share = np.mean([np.isfinite(drive.snr_db[drive.measured]).mean() for drive in drives])
    assert share > 0.8
