"""Which way a message takes: D2D first, over others where that is faster than cellular, cellular, or none."""

from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.physics.test_road_map import make_cross
from tests.world.conftest import MakeWorld, make_street

from platoon.errors import UserError
from platoon.nouns import SECOND, EdgeServerId, Floats, Instant, VehicleId
from platoon.physics.roads import RoadMap
from platoon.scenario import Scenario
from platoon.world.links import Links, Parcel, Transfer, find_way
from platoon.world.radio import Channel

NOW = Instant(10 * SECOND)
BYTES = 600


def make_links(
    places: list[tuple[float, float]],
    *,
    rsus: list[tuple[float, float]] | None = None,
    road_map: RoadMap | None = None,
    present: list[bool] | None = None,
    **overrides: object,
) -> Links:
    """Vehicles on a street of 4 km with an RSU in its middle."""
    table = {"fleet": {"vehicles": len(places)}, "round": {"participants": 1}}
    scenario = Scenario.from_table(table, {key.replace("__", "."): value for key, value in overrides.items()})
    roads = road_map or make_street(4000.0)
    masts = np.array(rsus or [(2000.0, 0.0)])
    links = Links(roads, Channel(roads, masts, scenario.radio, scenario.seed), scenario)
    on_road = np.array(present if present is not None else [True] * len(places))
    links.look(np.array(places, dtype=float), on_road)
    return links


def ask(links: Links, vehicle: int = 0, size: int = BYTES) -> Transfer:
    """A message from the first RSU to a vehicle."""
    (transfer,) = links.send(
        [Parcel(sender=links.rsu(EdgeServerId(0)), receiver=links.vehicle(VehicleId(vehicle)), size=size)],
        NOW,
    )
    return transfer


def nodes_of(transfer: Transfer) -> list[int]:
    return [transfer.bookings[0].hop.sender, *(booking.hop.receiver for booking in transfer.bookings)]


def test_d2d_comes_first_though_cellular_reaches_too() -> None:
    transfer = ask(make_links([(2300.0, 0.0)], sidelink__cellular_ms=0.0))
    assert transfer.link == "d2d"
    assert transfer.arrives == NOW + 500


def test_cellular_out_of_d2d_reach() -> None:
    transfer = ask(make_links([(2800.0, 0.0)]))
    assert transfer.link == "cellular"
    assert transfer.arrives is not None
    assert transfer.arrives > NOW + 5000
    assert transfer.joules == 0.0  # the RSU sent


def test_lost_out_of_all_reach() -> None:
    transfer = ask(make_links([(3300.0, 0.0)]))
    assert (transfer.link, transfer.arrives, transfer.bookings) == ("lost", None, ())


def test_lost_off_the_road() -> None:
    assert ask(make_links([(2100.0, 0.0)], present=[False])).link == "lost"


def test_a_relay_where_it_is_faster_than_cellular() -> None:
    places = [(2800.0, 0.0), (2400.0, 0.0)]
    transfer = ask(make_links(places))
    assert transfer.link == "relayed"
    assert nodes_of(transfer) == [2, 1, 0]
    assert transfer.arrives == NOW + 1000
    assert transfer.joules > 0.0  # the relay's
    assert ask(make_links(places, sidelink__cellular_ms=0.0)).link == "cellular"
    assert ask(make_links(places, sidelink__hops=1)).link == "cellular"
    assert ask(make_links(places, present=[True, False])).link == "cellular"


def test_two_relays_where_nothing_else_reaches() -> None:
    places = [(3300.0, 0.0), (2400.0, 0.0), (2850.0, 0.0)]
    transfer = ask(make_links(places))
    assert (transfer.link, nodes_of(transfer)) == ("relayed", [3, 1, 2, 0])
    assert ask(make_links(places, sidelink__hops=2)).link == "lost"


def test_the_answer_takes_the_same_way_back() -> None:
    links = make_links([(3300.0, 0.0), (2400.0, 0.0), (2850.0, 0.0)])
    there = ask(links)
    (back,) = links.send([Parcel(sender=0, receiver=3, size=70)], Instant(NOW + SECOND))
    assert nodes_of(back) == nodes_of(there)[::-1]


def test_two_vehicles_out_of_reach_meet_over_their_rsus() -> None:
    """One is served in the west, the other in the east: up, over the wire, down."""
    links = make_links([(300.0, 0.0), (3700.0, 0.0)], rsus=[(500.0, 0.0), (3500.0, 0.0)])
    (transfer,) = links.send([Parcel(sender=0, receiver=1, size=BYTES)], NOW)
    up, down = transfer.bookings
    assert transfer.link == "cellular"
    assert (up.hop.cell, up.hop.is_uplink, down.hop.cell, down.hop.is_uplink) == (0, True, 1, False)
    assert up.begins == NOW + 5000
    assert down.begins == up.ends + 5000
    assert transfer.joules > 0.0


def test_buildings_take_of_the_reach() -> None:
    """450 m along a street, and 450 m as the crow flies around a corner."""
    links = make_links(
        [(132.0, 3.2), (3.2, 318.0)], rsus=[(-318.0, 3.2)], road_map=make_cross(1000.0), sidelink__hops=1
    )
    rsu = links.rsu(EdgeServerId(0))
    assert links.sidelink_rate(rsu, 1) < links.sidelink_rate(rsu, 0)
    assert ask(links).link == "d2d"


def test_links_are_the_same_both_ways_and_every_time() -> None:
    places = [(2000.0 + 97.0 * i, 0.0) for i in range(6)]
    one, again = make_links(places), make_links(places)
    rates = [[one.sidelink_rate(a, b) for b in range(6)] for a in range(6)]
    assert np.array(rates).any()
    assert rates == np.array(rates).T.tolist()
    assert rates == [[again.sidelink_rate(a, b) for b in reversed(range(6))][::-1] for a in range(6)]
    other = make_links(places, seed=2)
    assert rates != [[other.sidelink_rate(a, b) for b in range(6)] for a in range(6)]


def test_messages_of_one_instant_share_the_band() -> None:
    """Six members within reach of one RSU: it speaks to one after the other."""
    links = make_links([(2050.0 + 30.0 * i, 0.0) for i in range(6)])
    parcels = [Parcel(sender=6, receiver=i, size=BYTES) for i in range(6)]
    arrivals = [transfer.arrives for transfer in links.send(parcels, NOW)]
    assert arrivals == [NOW + 500 * (i + 1) for i in range(6)]
    later = links.send(parcels[:1], Instant(NOW + 700))[0]
    assert later.arrives == NOW + 3500  # what is booked is not moved


FLEET = 8
places_on_street = st.lists(st.floats(0.0, 4000.0).map(lambda x: (x, 0.0)), min_size=FLEET, max_size=FLEET)


@pytest.fixture(scope="module")
def two_scenes() -> tuple[Links, Links]:
    """Twice the same street: its fields take a while to make."""
    return make_links([(0.0, 0.0)] * FLEET), make_links([(0.0, 0.0)] * FLEET)


@settings(deadline=None)
@given(
    places=places_on_street, present=st.lists(st.booleans(), min_size=FLEET, max_size=FLEET), data=st.data()
)
def test_laws_of_many_messages(
    two_scenes: tuple[Links, Links],
    places: list[tuple[float, float]],
    present: list[bool],
    data: st.DataObject,
) -> None:
    """Whatever order they are handed over in: same ways, same times; no message is faster than its air, none that
    is sent takes two links of one kind of way, and a direct link is never passed over."""
    node = st.integers(0, len(places))
    pairs = st.tuples(node, node).filter(lambda pair: pair[0] != pair[1])
    sent = [
        Parcel(sender=a, receiver=b, size=data.draw(st.integers(1, 3000)))
        for a, b in data.draw(st.lists(pairs, max_size=6))
    ]
    shuffled = data.draw(st.permutations(range(len(sent))))
    links, others = two_scenes
    for scene in two_scenes:
        scene.look(np.array(places), np.array(present))
        scene.timetable.clear()
    transfers = links.send(sent, NOW)
    moved = others.send([sent[row] for row in shuffled], NOW)
    by_parcel: dict[Parcel, list[object]] = {}
    for parcel, transfer in zip(sent, transfers, strict=True):
        by_parcel.setdefault(parcel, []).append(transfer)
    for row, transfer in zip(shuffled, moved, strict=True):
        assert transfer in by_parcel[sent[row]]
    for parcel, transfer in zip(sent, transfers, strict=True):
        direct = links.sidelink_rate(parcel.sender, parcel.receiver)
        assert (transfer.link == "d2d") == (direct > 0.0)
        if transfer.arrives is not None:
            assert nodes_of(transfer)[0] == parcel.sender
            assert nodes_of(transfer)[-1] == parcel.receiver
            air = sum(8 * parcel.size / booking.hop.rate for booking in transfer.bookings)
            assert transfer.arrives - NOW >= air * SECOND


@settings(deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.data())
def test_the_shortest_way_is_the_shortest(count: int, hops: int, data: st.DataObject) -> None:
    length = st.sampled_from([1.0, 2.0, 3.0, 5.0, np.inf])
    lengths = np.array([[data.draw(length) for _ in range(count)] for _ in range(count)])
    way = find_way(lengths, 0, count - 1, hops)
    every = [
        (0, *middle, count - 1)
        for size in range(min(hops, count - 1))
        for middle in permutations(range(1, count - 1), size)
    ]
    best = min((measure(lengths, way), len(way)) for way in every)
    assert (way == ()) == (best[0] == np.inf)
    if way:
        assert (way[0], way[-1]) == (0, count - 1)
        assert (measure(lengths, way), len(way)) == best


def measure(lengths: Floats, way: tuple[int, ...]) -> float:
    return float(sum(lengths[a, b] for a, b in pairwise(way)))


def test_a_world_sends_over_the_links_of_its_second(make_world: MakeWorld) -> None:
    """A vehicle stands by the RSU for two seconds, then is off the road."""
    tracks = np.full((6, 1, 2), 0.0)
    present = np.array([[True], [True], [True], [False], [False], [False]])
    world = make_world(tracks, present=present)
    tracks[:] = world.rsus[0] + [5.0, 0.0]
    parcel = [Parcel(sender=world.links.rsu(EdgeServerId(0)), receiver=0, size=BYTES)]
    world.advance(Instant(SECOND + SECOND // 2))
    assert world.send(parcel)[0].link == "d2d"
    world.advance(Instant(2 * SECOND + 1))
    assert world.send(parcel)[0].link == "lost"


def test_a_restored_world_sends_as_the_undisturbed_one(make_world: MakeWorld, tmp_path: Path) -> None:
    tracks = np.linspace([[0.0, 0.0], [900.0, 0.0]], [[600.0, 0.0], [3000.0, 0.0]], 12)
    world, other = make_world(tracks), make_world(tracks)
    rsu = world.links.rsu(EdgeServerId(0))
    parcels = [Parcel(sender=rsu, receiver=i, size=BYTES) for i in (0, 1)]
    world.advance(Instant(4 * SECOND + 300_000))
    world.send(parcels)
    world.abandon_round()
    world.save(tmp_path)
    other.restore(tmp_path)
    assert other.send(parcels) == world.send(parcels)
    for place in (world, other):
        place.advance(Instant(7 * SECOND + 1))
    assert other.send(parcels) == world.send(parcels)


def test_invalid_interference_below_the_range() -> None:
    with pytest.raises(
        UserError, match=r"interference_m = 400 is below range_m = 500: .* allowed: range_m or more"
    ):
        Scenario.from_table({"sidelink": {"interference_m": 400.0}})
