"""Reputations across task chains: what two shards report to a main chain, and every reason to refuse a report."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from platoon.errors import VerificationError
from platoon.ledger.audit import audit_state
from platoon.ledger.main_chain import MainChain, MainRules, verify_main_chain
from platoon.ledger.membership import Membership
from platoon.ledger.shard_reports import StandingsReport, list_names, read_reports
from platoon.nouns import MILLION, Address
from platoon.records.identity import sign_rotation
from platoon.records.rules import Rule, Rules
from platoon.records.shards import MAX_EVIDENCE, MAX_ROWS, Reputation, Row
from platoon.records.signing import simulated_account
from platoon.records.typed_data import Domain

EVIDENCE = Rules(rule=Rule.EVIDENCE, threshold=250_000, pool=10_000_000)
QUORUM = 3
"""Of four edge servers."""
MOST = 20 * MILLION
PAGE = Path(__file__).parents[2] / "docs" / "ledger" / "shards.md"


class Region:
    """Two task chains with the same vehicles, and the main chain that hears of both."""

    def __init__(self, make_town, folder, rules=EVIDENCE):
        self.shards = [make_town(rules, chain_id=7401 + i) for i in range(2)]
        self.vehicles = self.shards[0].vehicles
        self.operator = simulated_account(2, "main operator", 0)
        self.servers = [simulated_account(2, "main edge server", i) for i in range(4)]
        self.path = folder / "main.sqlite"
        self.main = MainChain.create(
            self.path,
            chain_id=7400,
            operator=self.operator,
            edge_servers=self.servers,
            vehicles=[vehicle.address for vehicle in self.vehicles],
        )
        for shard in self.shards:
            assert self.list(shard, shard.servers).ok

    def send(self, account, call):
        (receipt,) = self.main.submit(account, [call])
        return receipt

    def list(self, shard, servers, *, by=None):
        call = self.main.list_call(shard.chain.task, [server.address for server in servers])
        return self.send(by or self.operator, call)

    def read(self, shard, names=None):
        state = audit_state(shard.path)
        (report,) = read_reports(state, list_names(state) if names is None else names)
        return report

    def bring(self, report, sealers, *, by=None):
        call = self.main.report_call(report, [report.sign(server) for server in sealers])
        return self.send(by or self.servers[0], call)

    def report(self, shard):
        receipt = self.bring(self.read(shard), shard.servers[:QUORUM])
        assert receipt.ok, receipt.error
        return receipt.events[-1].values["taken"]

    def reputation(self, vehicle):
        return tuple(self.main.reputation(self.vehicles[vehicle].address))

    def refuse(self, report, sealers, reason, *, by=None):
        before = [self.reputation(vehicle) for vehicle in range(6)]
        receipt = self.bring(report, sealers, by=by)
        assert (receipt.ok, receipt.error) == (False, reason)
        assert [self.reputation(vehicle) for vehicle in range(6)] == before


@pytest.fixture
def region(make_town, tmp_path):
    """Two shards that have each settled a round."""
    region = Region(make_town, tmp_path)
    region.shards[0].play({0: MILLION, 1: 0, 2: MILLION})
    region.shards[1].play({0: 625_000, 1: MILLION})
    return region


def test_a_global_reputation_is_the_mean_of_the_shards_by_their_evidence(region):
    first, second = region.shards
    assert [region.reputation(vehicle) for vehicle in range(3)] == [(500_000, 0)] * 3
    assert region.report(first) == 3  # the vehicles that it has judged
    # one shard's word: its reputation and its evidence
    assert region.reputation(0) == (750_000, 1_000_000)
    assert region.reputation(1) == (166_667, 2_000_000)
    assert region.report(second) == 2
    assert region.reputation(0) == ((750_000 * 2 + 666_666) // 3, 1_500_000)
    assert region.reputation(1) == ((166_667 * 2 + 750_000) // 3, 3_000_000)
    # known in one shard alone, and in none
    assert region.reputation(2) == (750_000, 1_000_000)
    assert region.reputation(3) == (500_000, 0)
    task, vehicle = second.chain.task, region.vehicles[0].address
    assert region.main.reported(task, vehicle) == (1, Reputation(666_666, 500_000))
    assert region.main.reported(task, region.vehicles[2].address) == (0, Reputation(0, 0))
    verify_main_chain(region.path).close()


@pytest.mark.parametrize("rule", [Rule.DEFAULT, Rule.AS_WRITTEN])
def test_shards_whose_rule_keeps_no_evidence_speak_with_one_observation_each(make_town, tmp_path, rule):
    region = Region(make_town, tmp_path, dataclasses.replace(EVIDENCE, rule=rule, beta=500_000))
    first, second = region.shards
    first.play({0: MILLION, 1: 0})
    for _ in range(3):  # however often it has judged
        second.play({0: 500_000})
    assert (region.report(first), region.report(second)) == (2, 1)
    assert region.reputation(0) == ((750_000 + 500_000) // 2, 2_000_000)
    assert region.reputation(1) == (first.chain.reputations()[1], 1_000_000)
    assert region.reputation(2) == (500_000, 0)


def test_a_shard_that_scores_nothing_says_nothing(make_town, tmp_path):
    region = Region(make_town, tmp_path, Rules(rule=Rule.NONE, start=900_000))
    town = region.shards[0]
    town.record_all([0, 1])
    assert town.judge().ok
    assert all(town.vote(i).ok for i in range(3))
    assert town.settle().ok
    town.chain.commit("round 1")
    assert region.report(town) == 2
    assert region.reputation(0) == (500_000, 0)


def test_the_newest_round_counts_whatever_the_order_in_which_reports_arrive(region):
    shard = region.shards[0]
    first = region.read(shard)
    shard.play({0: 0})
    second = region.read(shard)
    assert region.bring(second, shard.servers).ok
    newest = region.reputation(0)
    # the first one comes late, the second one twice: nothing is taken
    for report in (first, second):
        assert region.bring(report, shard.servers).events[-1].values["taken"] == 0
    said = {row.vehicle: row.reputation for row in second.rows}
    assert region.reputation(0) == newest == said[region.vehicles[0].address]


def test_a_shard_that_claims_more_evidence_than_updates_can_gather_outweighs_nobody(region):
    region.report(region.shards[0])
    honest = region.read(region.shards[1])
    boast = dataclasses.replace(
        honest, rows=tuple(row._replace(reputation=Reputation(MILLION, MAX_EVIDENCE)) for row in honest.rows)
    )
    assert region.bring(boast, region.shards[1].servers).ok
    assert region.reputation(1) == ((166_667 * 2 + MILLION * 20) // 22, 2 * MILLION + MOST)


def test_a_shard_that_is_closed_counts_no_more_and_counts_again_when_it_is_listed(region):
    for shard in region.shards:
        region.report(shard)
    both = region.reputation(1)
    closed = region.shards[0]
    assert region.list(closed, []).ok
    assert region.main.edge_servers(closed.chain.task) == ()
    assert region.reputation(1) == (750_000, 1_000_000)
    region.refuse(region.read(closed), closed.servers, "no such shard")
    assert region.list(closed, closed.servers).ok
    assert set(region.main.edge_servers(closed.chain.task)) == {server.address for server in closed.servers}
    assert region.reputation(1) == both


def rotate(chain, retired, index):
    renewed = simulated_account(1, "pseudonym", index)
    registry = Domain(chain_id=chain.chain_id, contract=chain.contracts.addresses["Registry"]).separator
    return renewed, sign_rotation(registry, retired=retired, renewed=renewed)


def test_a_vehicle_that_changed_its_name_on_a_shard_is_reported_by_the_one_that_the_main_chain_knows(region):
    shard = region.shards[0]
    _, rotation = rotate(shard.chain.ledger, shard.vehicles[0], 0)
    assert shard.send(shard.servers[0], shard.chain.membership.rotate([rotation])).ok
    shard.chain.commit("renamed")
    assert region.report(shard) == 3
    assert region.reputation(0) == (750_000, 1_000_000)


def test_a_global_reputation_follows_the_vehicle_through_its_pseudonyms_on_the_main_chain(region):
    region.report(region.shards[0])
    retired = region.vehicles[0].address
    renewed, rotation = rotate(region.main.ledger, region.vehicles[0], 1)
    call = Membership(contracts=region.main.ledger.contracts).rotate([rotation])
    assert region.send(region.servers[0], call).ok
    assert region.main.reputation(renewed.address) == (750_000, 1_000_000)
    assert region.reputation(0) == (500_000, 0)
    # a report by the old name is of nobody here, one by the new name is of the vehicle
    shard = region.shards[1]
    assert region.report(shard) == 1
    report = region.read(shard, {renewed.address: retired})
    assert region.bring(report, shard.servers).events[-1].values["taken"] == 1
    assert region.main.reputation(renewed.address) == ((750_000 * 2 + 666_666) // 3, 1_500_000)
    verify_main_chain(region.path).close()


def test_who_is_no_vehicle_of_the_main_chain_is_left_out(region):
    call = region.main.ledger.contracts.call("Registry", "revoke", region.vehicles[2].address)
    assert region.send(region.operator, call).ok
    assert region.report(region.shards[0]) == 2
    assert region.reputation(2) == (500_000, 0)


def test_a_flag_or_an_appeal_after_the_last_round_is_in_the_report(region):
    state = audit_state(region.shards[0].path)
    before = read_reports(state, list_names(state))
    state.training.correct(0, -300_000)
    after = read_reports(state, list_names(state))
    changed = [
        (old.reputation, new.reputation)
        for old, new in zip(before[0].rows, after[0].rows, strict=True)
        if old != new
    ]
    # the reputation, not what it rests on
    assert changed == [(Reputation(750_000, MILLION), Reputation(450_000, MILLION))]


def test_a_restart_changes_nothing(region):
    region.report(region.shards[0])
    before = [region.reputation(vehicle) for vehicle in range(6)]
    region.main.close()
    region.main = MainChain.open(region.path, edge_servers=region.servers)
    assert [region.reputation(vehicle) for vehicle in range(6)] == before
    assert region.main.rules == MainRules(start=500_000, most=MOST)
    assert region.report(region.shards[1]) == 2  # and it goes on


def test_invalid_report_one_short_of_a_quorum(region):
    shard = region.shards[0]
    region.refuse(region.read(shard), shard.servers[: QUORUM - 1], "seals lack a quorum")
    region.refuse(region.read(shard), [], "seals lack a quorum")


def test_invalid_report_sealed_by_somebody_of_another_shard(region):
    shard = region.shards[0]
    outsider = simulated_account(9, "edge server", 0)
    region.refuse(region.read(shard), [*shard.servers[: QUORUM - 1], outsider], "not of the shard")


def test_invalid_report_that_was_changed_after_it_was_sealed(region):
    shard = region.shards[0]
    report = region.read(shard)
    seals = [report.sign(server) for server in shard.servers]
    better = report.rows[0]._replace(reputation=Reputation(MILLION, MILLION))
    changed = dataclasses.replace(report, rows=(better, *report.rows[1:]))
    receipt = region.send(region.servers[0], region.main.report_call(changed, seals))
    assert (receipt.ok, receipt.error) == (False, "not of the shard")


def test_invalid_report_in_the_name_of_another_shard(region):
    # the same edge servers keep both shards, but what they signed for one is nothing in the other
    first, second = region.shards
    report = region.read(first)
    seals = [report.sign(server) for server in first.servers]
    moved = dataclasses.replace(report, task=second.chain.task)
    receipt = region.send(region.servers[0], region.main.report_call(moved, seals))
    assert (receipt.ok, receipt.error) == (False, "not of the shard")


def test_invalid_seals_repeated_out_of_order_or_in_another_form(region):
    shard, contracts = region.shards[0], region.main.ledger.contracts
    report = region.read(shard)
    made = region.main.report_call(report, [report.sign(server) for server in shard.servers])
    task, number, rows, seals = contracts.decode_call(made)[1]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    v, r, s = seals[0]
    for wrong, reason in (
        ([seals[0]] * 3, "signers not ascending"),
        (seals[::-1], "signers not ascending"),
        ([(55 - v, r, order - s), *seals[1:]], "bad seal"),
        ([(0, r, s), *seals[1:]], "bad seal"),
    ):
        call = contracts.call("Shards", "report_standings", task, number, rows, wrong)
        receipt = region.send(region.servers[0], call)
        assert (receipt.ok, receipt.error) == (False, reason)


def test_invalid_report_of_a_shard_that_nobody_listed(region):
    report = dataclasses.replace(region.read(region.shards[0]), task=b"\x77" * 32)
    region.refuse(report, region.shards[0].servers, "no such shard")


def test_invalid_numbers_and_orders_of_a_report(region):
    shard = region.shards[0]
    report = region.read(shard)
    row = report.rows[0]
    for wrong, reason in (
        ({"round": 0}, "round out of bounds"),
        ({"round": 2**63}, "round out of bounds"),
        ({"rows": report.rows[::-1]}, "vehicles not ascending"),
        ({"rows": (row, row)}, "vehicles not ascending"),
        ({"rows": (row._replace(reputation=Reputation(MILLION + 1)),)}, "reputation out of bounds"),
        ({"rows": (row._replace(reputation=Reputation(0, MAX_EVIDENCE + 1)),)}, "evidence out of bounds"),
        ({"rows": (row._replace(vehicle=Address(bytes(20))),)}, "vehicles not ascending"),
    ):
        region.refuse(dataclasses.replace(report, **wrong), shard.servers, reason)


def test_invalid_calls_by_the_wrong_role(region):
    shard = region.shards[0]
    report = region.read(shard)
    stranger = simulated_account(1, "stranger", 0)
    for account in (region.operator, shard.servers[0], region.vehicles[0], stranger):
        region.refuse(report, shard.servers, "not an edge server", by=account)
    for account in (region.servers[0], shard.servers[0], stranger):
        assert region.list(shard, shard.servers, by=account).error == "only the operator"


def test_invalid_lists_of_edge_servers(region):
    task, call = region.shards[0].chain.task, region.main.ledger.contracts.call
    addresses = sorted(server.address for server in region.servers)
    for given, servers, reason in (
        (bytes(32), addresses, "no task"),
        (task, addresses[::-1], "edge servers not ascending"),
        (task, [addresses[0]] * 2, "edge servers not ascending"),
        (task, [bytes(20)], "edge servers not ascending"),
        (b"\x77" * 32, [], "no such shard"),
    ):
        receipt = region.send(region.operator, call("Shards", "list_shard", given, servers))
        assert (receipt.ok, receipt.error) == (False, reason)


def test_invalid_report_before_it_is_sent(region, make_town):
    state = audit_state(make_town(EVIDENCE).path)
    with pytest.raises(ValueError, match="no round is settled yet"):
        read_reports(state, list_names(state))
    address = region.vehicles[0].address
    report = StandingsReport(task=region.shards[0].chain.task, round=1, rows=(Row(address, Reputation(0)),))
    with pytest.raises(ValueError, match="a seal that is nobody's"):
        region.main.report_call(report, [bytes(65)])


def test_a_large_fleet_takes_several_reports(region):
    state = audit_state(region.shards[0].path)
    known = region.vehicles[0].address
    names = {Address(number.to_bytes(20, "big")): known for number in range(1, MAX_ROWS + 2)}
    reports = read_reports(state, names)
    assert [len(report.rows) for report in reports] == [MAX_ROWS, 1]
    assert [row.vehicle for report in reports for row in report.rows] == sorted(names)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (MainRules(start=MILLION + 1), "start"),
        (MainRules(most=0), "most"),
        (MainRules(most=MAX_EVIDENCE + 1), "most"),
    ],
)
def test_invalid_rules_of_a_main_chain(tmp_path, rules, reason):
    with pytest.raises(ValueError, match=reason):
        found(tmp_path, rules=rules)


def found(folder, **changed):
    given = {
        "chain_id": 7400,
        "operator": simulated_account(2, "main operator", 0),
        "edge_servers": [simulated_account(2, "main edge server", 0)],
        "vehicles": [],
    }
    return MainChain.create(folder / "main.sqlite", **(given | changed))


def test_invalid_participants_of_a_main_chain(tmp_path):
    server = simulated_account(2, "main edge server", 0)
    with pytest.raises(ValueError, match="0 edge servers: allowed: 1 to 64"):
        found(tmp_path, edge_servers=[])
    with pytest.raises(ValueError, match="must be distinct"):
        found(tmp_path, vehicles=[server.address])


def test_invalid_ledger_of_another_kind(region):
    region.shards[0].chain.close()
    with pytest.raises(VerificationError, match="the ledger of a task chain, not of a main chain"):
        MainChain.open(region.shards[0].path)
    region.main.close()
    with pytest.raises(VerificationError, match="contract set"):
        audit_state(region.path)


def test_what_the_page_shows_merges_two_ledgers(region, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    known: dict[str, Any] = {
        "ledgers": [shard.path for shard in region.shards],
        "edge_servers": [shard.servers for shard in region.shards],
        "operator": region.operator,
        "bringers": region.servers,
        "file": tmp_path / "again.sqlite",
    }
    exec(code, known)
    for shard in region.shards:
        region.report(shard)
    assert known["reputations"] == {
        vehicle.address: region.main.reputation(vehicle.address) for vehicle in region.vehicles
    }
    assert known["reputations"][region.vehicles[1].address] == ((166_667 * 2 + 750_000) // 3, 3_000_000)
    known["chain"].close()
    verify_main_chain(known["file"]).close()
