"""Edge servers that malfunction in a simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.drivers.faulty import FaultyServers
from platoon.errors import UserError
from platoon.fleet import draw_faulty
from platoon.nouns import Digest, Scores
from platoon.scenario import Scenario


def servers(behaviour, count=1):
    scenario = Scenario.from_table({}, {"faults.edge_servers": count, "faults.behaviour": behaviour})
    faulty = draw_faulty(scenario)
    honest = set(range(scenario.radio.rsus)) - faulty
    return FaultyServers(scenario), min(faulty), min(honest)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12, unique=True))
def test_scores_are_turned_upside_down_and_nothing_is_made_up(values):
    faulty, liar, honest = servers("scores")
    given_, told = (
        np.array(values),
        faulty.score(liar, Scores(values=np.array(values), evidence=0.7)),
    )
    assert sorted(told.values) == sorted(values)
    assert (np.argsort(told.values) == np.argsort(given_)[::-1]).all()
    assert told.evidence == 0.7
    assert faulty.score(honest, Scores(values=given_, evidence=0.7)).values is given_


def test_a_spoilt_model_is_the_faulty_ones_own_and_only_where_that_is_asked():
    faulty, liar, honest = servers("model")
    model = Digest(bytes(32))
    assert faulty.spoils(liar)
    assert not faulty.spoils(honest)
    assert faulty.spoil(liar, 1, model) != faulty.spoil(liar, 2, model) != model
    assert not servers("scores")[0].spoils(servers("scores")[1])


def test_invalid_more_faulty_edge_servers_than_there_are():
    with pytest.raises(
        UserError, match=r"edge_servers = 5: more than there are; allowed: 0 to radio.rsus = 4"
    ):
        Scenario.from_table({}, {"faults.edge_servers": 5, "radio.rsus": 4})
