"""Committees on the road: requests and seals travel over the links of a world. Members drive away, lie, or are out
of reach; light devices carry what they may not seal; and the task settles as it does on a perfect network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from tests.protocol.conftest import TOY, Play, Played, begin, play_on
from tests.world.conftest import make_street

from platoon.drivers.event_loop import Delivery
from platoon.drivers.local_traffic import LinkUse, LocalTraffic
from platoon.drivers.lossy import LossyCarrier, Network, ToyParts
from platoon.ledger.audit import AuditedLocalBlock, audit
from platoon.nouns import Bools, EdgeServerId, Floats, Instant, VehicleId, seconds
from platoon.protocol.messages import Message, SealReply, SealRequest, edge_server_peer
from platoon.records.committee import is_full_device
from platoon.records.signing import Account, simulated_account
from platoon.scenario import Scenario
from platoon.world.links import Parcel, Transfer
from platoon.world.trace import TraceTraffic
from platoon.world.world import World

SECONDS = 60
BEGINS = 10
"""Second of the toy task's start; its slowest vehicle is done 3 s later, when seals are asked for."""
ASKED = BEGINS + 3
ONE_SERVER = {
    "radio.rsus": 1,
    "round.participants": 9,
    "task.rounds": 1,
    "committee.full_share": 1.0,
    "committee.patience_s": 0.5,
}
Mischief = Mapping[VehicleId, Callable[[SealReply, Account], SealReply]]


@dataclass(kw_only=True)
class Watched:
    """A played task, and what went over its links."""

    played: Played
    use: LinkUse
    transfers: list[tuple[Parcel, Transfer]]

    @property
    def blocks(self) -> list[AuditedLocalBlock]:
        """The anchored local blocks, checked by the audit."""
        self.played.chain.ledger.close()
        assert self.played.path is not None
        return [local for audited in audit(self.played.path) for local in audited.local_blocks]


@dataclass(kw_only=True)
class Street:
    """A street of 4 km; its RSU stands in the middle. Rows of the tracks: vehicles."""

    positions: Sequence[float]
    """(9,) metres from the RSU along the street."""
    leaves: Mapping[int, int] = field(default_factory=dict)
    """Second from which on a vehicle is off the road."""
    mischief: Mischief = field(default_factory=dict)
    overrides: Mapping[str, object] = field(default_factory=dict)

    def tracks(self, rsu: Floats) -> tuple[Floats, Bools]:
        """Positions (T, N, 2) and presence (T, N)."""
        tracks = np.zeros((SECONDS, len(self.positions), 2))
        tracks[..., 0] = rsu[0] + np.array(self.positions)
        present = np.ones(tracks.shape[:2], dtype=np.bool_)
        for vehicle, second in self.leaves.items():
            present[second:, vehicle] = False
        return tracks, present


class RoadCarrier(LossyCarrier):
    """The toy driver, but what committees say goes over the links of a world."""

    def __init__(self, parts: ToyParts, world: World, mischief: Mischief) -> None:
        super().__init__(parts)
        self._world, self._mischief, self._accounts = world, mischief, parts.accounts
        servers = range(parts.chain.edge_servers)
        addresses = {
            parts.accounts[edge_server_peer(EdgeServerId(i))].address: EdgeServerId(i) for i in servers
        }
        self.local = LocalTraffic(world, addresses)

    def route(self, message: Message, now: Instant) -> Sequence[Delivery]:
        """Seals take the road, all else the network."""
        if not isinstance(message.body, SealRequest | SealReply):
            return super().route(message, now)
        change = self._mischief.get(VehicleId(message.sender.number))
        if change is not None and isinstance(message.body, SealReply):
            message = replace(message, body=change(message.body, self._accounts[message.sender]))
        self.local.take(message)
        return ()

    def advance(self, limit: Instant) -> tuple[Instant, Sequence[Delivery]]:
        """Send what waits, or let the traffic move on."""
        sent = self.local.send()
        if sent:
            return self._world.now, sent
        self._world.advance(limit)
        return limit, ()


def drive(street: Street, folder: Path) -> Watched:
    """Play the toy task on a street."""
    scenario = Scenario.from_table(TOY, {**ONE_SERVER, **street.overrides})
    road_map = make_street(4000.0)
    still = World(scenario, folder, lambda s, f: TraceTraffic(road_map, np.zeros((1, 9, 2))))
    tracks, present = street.tracks(still.rsus[0])
    world = World(scenario, folder, lambda s, f: TraceTraffic(road_map, tracks, present))
    world.advance(Instant(seconds(BEGINS)))
    carriers: list[RoadCarrier] = []
    transfers: list[tuple[Parcel, Transfer]] = []
    send = world.send

    def watch(parcels: Sequence[Parcel]) -> tuple[Transfer, ...]:
        sent = send(parcels)
        transfers.extend(zip(parcels, sent, strict=True))
        return sent

    def make(parts: ToyParts) -> RoadCarrier:
        carriers.append(RoadCarrier(parts, world, street.mischief))
        return carriers[0]

    world.send = watch  # type: ignore[method-assign]
    path = folder / f"road{len(list(folder.iterdir()))}.sqlite"
    played = play_on(scenario, *begin(scenario, path, Network()), path=path, carrier=make)
    return Watched(played=played, use=carriers[0].local.use, transfers=transfers)


NEAR = tuple(20.0 * i for i in range(1, 10))


def order_of(folder: Path) -> list[int]:
    """Members of the undisturbed committee on this street, by vehicle."""
    (first,) = drive(Street(positions=NEAR), folder).blocks
    return [v for v in range(9) if simulated_account(5, "vehicle", v).address in first.committee]


def addresses(vehicles: Sequence[int]) -> set[bytes]:
    return {simulated_account(5, "vehicle", vehicle).address for vehicle in vehicles}


def test_everybody_in_reach_seals_over_d2d_and_it_takes_slots(tmp_path: Path) -> None:
    """Six members are asked one after the other, and answer as the band is free: twelve slots of half a
    millisecond, or a few more where a request is long."""
    watched = drive(Street(positions=NEAR), tmp_path)
    (block,) = watched.blocks
    assert block.block.sealed
    assert len(block.signers) == 7
    assert (watched.use.d2d, watched.use.relayed, watched.use.cellular, watched.use.lost) == (12, 0, 0, 0)
    (record,) = watched.played.records
    recorded = record.settled.merged.judged.recorded
    took = recorded.sealed - record.arrivals.now
    assert 12 * 500 <= took <= 30 * 500
    requests = [parcel.size for parcel, _ in watched.transfers if parcel.sender == 9]
    replies = [parcel.size for parcel, _ in watched.transfers if parcel.receiver == 9]
    assert set(requests) == {requests[0]}
    assert requests[0] > 9 * 117  # nine updates
    assert all(80 <= reply <= 100 for reply in replies)
    assert watched.use.size == sum(requests) + sum(replies)
    assert watched.use.joules > 0.0


def test_the_road_settles_what_a_perfect_network_settles(play: Play, tmp_path: Path) -> None:
    """Same models, reputations, balances and escrow; and the same head, were it not for the time."""
    perfect = play(overrides=ONE_SERVER)
    road = drive(Street(positions=NEAR), tmp_path).played
    again = drive(Street(positions=NEAR), tmp_path).played
    assert road.agreed == perfect.agreed
    assert road.chain.head == again.chain.head


def test_a_member_that_drives_away_before_it_answers_is_replaced_once(tmp_path: Path) -> None:
    """Requests leave on the second; three members are off the road when they would answer. Six seals of seven are
    no more, four lack a quorum of five: the next three of the order are asked, once."""
    members = order_of(tmp_path)
    gone = members[:3]
    watched = drive(Street(positions=NEAR, leaves=dict.fromkeys(gone, ASKED + 1)), tmp_path)
    (block,) = watched.blocks
    assert block.block.sealed
    assert block.is_drawn
    assert not addresses(gone) & set(block.committee)
    assert addresses(members[3:]) <= set(block.signers)
    assert len(block.committee) == len(block.signers) == 7
    # nine requests arrive; three answers are lost with their senders, six arrive
    assert (watched.use.d2d, watched.use.lost) == (15, 3)
    asked = [parcel.receiver for parcel, _ in watched.transfers if parcel.sender == 9]
    assert len(asked) == len(set(asked)) == 9
    (record,) = watched.played.records
    took = record.settled.merged.judged.recorded.sealed - record.arrivals.now
    assert seconds(0.5) < took < seconds(0.6)  # one patience, and some slots


def test_a_member_that_drove_away_before_it_was_asked_is_replaced_too(tmp_path: Path) -> None:
    gone = order_of(tmp_path)[:3]
    watched = drive(Street(positions=NEAR, leaves=dict.fromkeys(gone, ASKED)), tmp_path)
    (block,) = watched.blocks
    assert block.block.sealed
    assert not addresses(gone) & set(block.committee)
    assert (watched.use.d2d, watched.use.lost) == (12, 3)


def test_without_a_quorum_in_reach_the_block_is_unsealed_and_flagged(tmp_path: Path) -> None:
    """All drive away; the edge server anchors alone, after one patience for members and one for who replaces."""
    watched = drive(Street(positions=NEAR, leaves=dict.fromkeys(range(9), ASKED)), tmp_path)
    (record,) = watched.played.records
    assert record.outcome == "merged"
    assert [tip.unsealed for tip in watched.played.chain.local_tips()] == [1]
    (block,) = watched.blocks
    assert not block.block.sealed
    assert block.committee == block.signers == (block.block.edge_server,)
    assert (watched.use.d2d, watched.use.lost) == (0, 9)
    took = record.settled.merged.judged.recorded.sealed - record.arrivals.now
    assert took == 2 * seconds(0.5)


def sign_garbage(reply: SealReply, account: Account) -> SealReply:
    return replace(reply, signature=b"\x01" * 64 + b"\x1b")


def sign_another_block(reply: SealReply, account: Account) -> SealReply:
    """A genuine signature of the member's own, of something else than the block."""
    return replace(reply, signature=account.sign(account.address.ljust(32, b"\0")))  # type: ignore[arg-type]


def answer_another_edge_server(reply: SealReply, account: Account) -> SealReply:
    return replace(reply, edge_server=simulated_account(5, "edge server", 0).address, round=reply.round + 1)


@pytest.mark.parametrize("change", [sign_garbage, sign_another_block, answer_another_edge_server])
def test_malicious_members_are_replaced_and_their_seals_not_taken(
    tmp_path: Path, change: Callable[[SealReply, Account], SealReply]
) -> None:
    liars = order_of(tmp_path)[:3]
    mischief = {VehicleId(liar): change for liar in liars}
    (block,) = drive(Street(positions=NEAR, mischief=mischief), tmp_path).blocks
    assert block.block.sealed
    assert block.is_drawn
    assert not addresses(liars) & set(block.signers)


def test_all_members_malicious_leave_the_block_unsealed(tmp_path: Path) -> None:
    mischief = {VehicleId(liar): sign_another_block for liar in range(9)}
    (block,) = drive(Street(positions=NEAR, mischief=mischief), tmp_path).blocks
    assert not block.block.sealed


def test_cellular_carries_what_is_out_of_d2d_reach(tmp_path: Path) -> None:
    """All stand 700 m off, and have nobody between them and the RSU: served, but out of sidelink's range."""
    watched = drive(Street(positions=[700.0 + i for i in range(9)]), tmp_path)
    (block,) = watched.blocks
    assert block.block.sealed
    assert (watched.use.d2d, watched.use.relayed, watched.use.cellular, watched.use.lost) == (0, 0, 12, 0)
    (record,) = watched.played.records
    assert record.settled.merged.judged.recorded.sealed - record.arrivals.now > seconds(0.010)


def test_light_devices_carry_what_they_may_not_seal(tmp_path: Path) -> None:
    """Half the fleet are light devices. The full ones stand 700 m off, out of all service; the light ones stand
    half way: every message goes over a light device, and none of them seals."""
    full = [v for v in range(9) if is_full_device(v + 1, 500_000)]
    light = [v for v in range(9) if v not in full]
    positions = [700.0 if v in full else 350.0 for v in range(9)]
    overrides = {"committee.full_share": 0.5, "radio.service_radius_m": 200.0}
    watched = drive(Street(positions=positions, overrides=overrides), tmp_path)
    (block,) = watched.blocks
    assert block.block.sealed
    assert set(block.committee) - {block.block.edge_server} == addresses(full)
    assert watched.use.relayed == 2 * len(full)
    assert watched.use.d2d == watched.use.cellular == watched.use.lost == 0
    over = {b.hop.receiver for parcel, t in watched.transfers for b in t.bookings[:-1]}
    assert over
    assert over <= set(light)
    # without them there is no way
    away = dict.fromkeys(light, ASKED)
    (alone,) = drive(Street(positions=positions, overrides=overrides, leaves=away), tmp_path).blocks
    assert not alone.block.sealed
