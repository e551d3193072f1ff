"""Convoys and Sybils: who follows is where the first was, and a device is in one place."""

from pathlib import Path

import numpy as np
import pytest

from platoon.errors import UserError
from platoon.fleet import draw_groups, draw_malicious, draw_platoon, find_authors, find_convoys, find_devices
from platoon.scenario import Fleet, Scenario
from platoon.world.formation import GAP_M, Formation, arrange


class Script:
    """Traffic along given places (T, N, 2)."""

    road_map = None

    def __init__(self, places):
        self.places, self.second = places, 0

    positions = property(lambda self: self.places[self.second])
    present = property(lambda self: np.ones(self.places.shape[1], dtype=np.bool_))
    speeds = property(lambda self: np.arange(self.places.shape[1], dtype=np.float64))

    def step(self):
        self.second += 1

    def save(self, folder: Path):
        folder.joinpath("script").write_text(str(self.second))

    def restore(self, folder: Path):
        self.second = int(folder.joinpath("script").read_text())

    def close(self):
        pass


def make_script(seconds=60):
    """Vehicle 0 goes round corners and stops; the others stand."""
    rng = np.random.default_rng(5)
    steps = np.repeat([[13, 0], [0, 9], [0, 0], [-11, 0], [0, 14]], seconds // 5, axis=0)
    places = np.zeros((seconds + 1, 4, 2))
    places[1:, 0] = np.cumsum(steps, axis=0)
    places[:, 1:] = rng.uniform(-500, 500, (3, 2))
    return Script(places)


def test_a_convoy_keeps_its_gaps_round_corners_and_at_lights():
    formation = Formation(make_script(), [[0, 2, 3]], np.arange(4))
    way = [formation.positions[0]]
    for _ in range(60):
        formation.step()
        way.append(formation.positions[0])
        driven = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(way, axis=0).T))])
        for place, row in enumerate((2, 3), start=1):
            assert formation.present[row] == (driven[-1] >= place * GAP_M)
            if formation.present[row]:
                behind = driven[-1] - place * GAP_M
                expected = [np.interp(behind, driven, np.array(way)[:, axis]) for axis in (0, 1)]
                np.testing.assert_allclose(formation.positions[row], expected, atol=1e-9)
    assert formation.speeds.tolist() == [0.0, 1.0, 0.0, 0.0]


def test_a_leap_past_a_jam_is_no_way_to_follow():
    script = make_script()
    script.places[40:, 0] += [5000.0, 0.0]
    formation = Formation(script, [[0, 2]], np.arange(4))
    for _ in range(60):
        formation.step()
        gap = np.hypot(*(formation.positions[0] - formation.positions[2]))
        assert gap <= GAP_M + 1e-9 or gap > 4000.0  # never on the line in between


def test_sybils_are_where_their_device_is():
    formation = Formation(make_script(), [], np.array([0, 0, 2, 0]))
    for _ in range(5):
        formation.step()
        assert (formation.positions[[1, 3]] == formation.positions[0]).all()


def test_a_saved_formation_goes_on_the_same(tmp_path):
    formation = Formation(make_script(), [[0, 2, 3]], np.arange(4))
    for _ in range(20):
        formation.step()
    formation.save(tmp_path)
    other = Formation(make_script(), [[0, 2, 3]], np.arange(4))
    other.restore(tmp_path)
    for _ in range(20):
        formation.step()
        other.step()
        assert (formation.positions == other.positions).all()
        assert (formation.present == other.present).all()


@pytest.mark.parametrize("content", ["", "[[", "[[]]", "[]", '{"a": 1}'])
def test_invalid_saved_formation(tmp_path, content):
    formation = Formation(make_script(), [[0, 2]], np.arange(4))
    formation.save(tmp_path)
    (tmp_path / "formation.json").write_text(content)
    with pytest.raises(UserError, match=r"formation\.json"):
        formation.restore(tmp_path)


def test_who_acts_as_one():
    colluding = Fleet(vehicles=40, malicious_share=0.3, attack="collusion", group=5, platoon=6)
    groups, malicious = draw_groups(colluding, 3), draw_malicious(colluding, 3)
    members = [row for group in groups for row in group]
    assert [len(group) for group in groups] == [5, 5, 2]
    assert sorted(members) == np.flatnonzero(malicious).tolist()
    assert not malicious[list(draw_platoon(colluding, 3))].any()
    assert find_convoys(colluding, 3) == (*groups, draw_platoon(colluding, 3))
    assert (find_devices(colluding, 3) == np.arange(40)).all()
    authors = find_authors(colluding, 3)
    assert {int(authors[row]) for row in groups[0]} == {groups[0][0]}
    sybil = colluding.model_copy(update={"attack": "sybil", "platoon": 0})
    assert find_convoys(sybil, 3) == ()
    assert (find_devices(sybil, 3) == find_authors(sybil, 3)).all()
    # everybody else stays as the seed has it, whatever the attack
    flipping = colluding.model_copy(update={"attack": "label_flip"})
    assert (draw_malicious(flipping, 3) == malicious).all()
    assert draw_groups(flipping, 3) == ()


def test_ordinary_traffic_is_left_as_it_is():
    traffic = make_script()
    assert (
        arrange(Scenario.from_table({"fleet": {"vehicles": 4}, "round": {"participants": 2}}), traffic)
        is traffic
    )


def test_a_platoon_of_more_than_the_honest_is_refused_by_name():
    table = {"fleet": {"vehicles": 10, "malicious_share": 0.5, "platoon": 6}, "round": {"participants": 2}}
    with pytest.raises(
        UserError, match=r"fleet\.platoon = 6: more than the honest vehicles; allowed: 0 to 5"
    ):
        Scenario.from_table(table)
