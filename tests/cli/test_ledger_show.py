"""`platoon ledger show` says what the record says: the audit's numbers, and who sent them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.conftest import NEXT_MODEL, Town
from typer.testing import CliRunner, Result

from platoon import Scenario
from platoon.cli.main import app
from platoon.ledger.audit import audit
from platoon.nouns import Address, Digest, Instant, Tokens
from platoon.records.agreements import (
    Opinion,
    Payment,
    Signed,
    TaskRequest,
    TaskResponse,
    compute_agreement_digest,
    sign_agreement,
)
from platoon.records.certificates import issue_certificate
from platoon.records.signing import Account, simulated_account

GARBAGE = Digest(b"\x0f" * 32)
HOME = Digest(b"\x0a" * 32)
"""The task that certificates come from."""
ISSUERS = [simulated_account(1, "issuer", i) for i in range(3)]
FAIR = {0: 900_000, 1: 700_000, 2: 100_000}
LIE = {0: -900_000, 1: 0, 2: 800_000}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that is not finished: round 1 settled, round 2 recorded; edge server 3 lies, then votes garbage."""
    town = Town(tmp_path, purse=Tokens(50_000_000))
    agree(town)
    (tmp_path / "scenario.toml").write_text(Scenario().to_toml())
    town.record_all(sorted(FAIR))
    for server in range(4):
        assert town.score(server, LIE if server == 3 else FAIR).ok
    assert town.judge().ok
    for server in (0, 1, 3):
        assert town.vote(server, GARBAGE if server == 3 else NEXT_MODEL).ok
    assert not town.settle().ok  # two of four are no majority
    assert town.vote(2).ok
    assert town.settle().ok
    assert town.record(0, town.update(4)).ok
    assert town.record(1, town.update(4), town.update(5)).ok  # vehicle 4 reached two edge servers
    admit(town)
    town.chain.commit("round 1")
    town.chain.close()
    return tmp_path


def agree(town: Town) -> None:
    """Three edge servers join, vehicles 0 to 2 answer (one twice), the last of three orders is over budget."""
    calls, at = town.chain.agreements, Instant(10)
    request = TaskRequest(
        publisher=town.publisher.address,
        content=Digest(b"\x07" * 32),
        vehicles=2,
        samples=300,
        cycles=10**6,
        deadline=Instant(1_000_000),
        budget=20_000_000,
        serial=1,
    )
    name = compute_agreement_digest(town.chain.registry, request)

    def sign(account: Account, agreement: Any) -> Any:
        return Signed(agreement=agreement, signature=sign_agreement(account, town.chain.registry, agreement))

    def respond(vehicle: int) -> Any:
        opinions = (Opinion(subject=town.servers[0].address, reputation=(vehicle + 1) * 100_000),)
        response = TaskResponse(
            request=name,
            vehicle=town.vehicles[vehicle].address,
            clock=2 * 10**9,
            samples=300,
            rate=10**7,
            opinions=opinions,
        )
        return sign(town.vehicles[vehicle], response)

    def order(receiver: Address, amount: int, serial: int) -> Any:
        return sign(
            town.publisher,
            Payment(
                request=name,
                payer=town.publisher.address,
                receiver=receiver,
                amount=amount,
                round=0,
                serial=serial,
            ),
        )

    assert not town.send(town.servers[1], calls.join(at, name)).ok  # before anything is asked for
    assert town.send(town.servers[0], calls.publish(at, sign(town.publisher, request))).ok
    assert all(town.send(server, calls.join(at, name)).ok for server in town.servers[:3])
    (pack,) = calls.respond(at, [respond(i) for i in (0, 1, 2, 1)])
    assert town.send(town.servers[0], pack).ok
    escrow = town.chain.ledger.contracts.addresses["Escrow"]
    assert town.send(town.servers[0], calls.pay_order(at, order(escrow, 15_000_000, 2))).ok
    assert town.send(town.servers[2], calls.pay_order(at, order(town.vehicles[2].address, 3, 3))).ok
    assert not town.send(town.servers[1], calls.pay_order(at, order(escrow, 6_000_000, 4))).ok


def admit(town: Town) -> None:
    """Vehicle 3 has a certificate, which is used twice; another one has expired; the last issuer is unknown."""
    membership = town.chain.membership
    trusted = [issuer.address for issuer in ISSUERS[:2]]
    assert town.send(town.operator, membership.trust_issuers(HOME, trusted)).ok
    assert town.send(town.operator, membership.distrust(trusted[1])).ok
    for at, issuer, vehicle, expiry in ((20, 0, 3, 500), (21, 0, 3, 500), (600, 0, 5, 500), (600, 2, 5, 900)):
        certificate = issue_certificate(
            ISSUERS[issuer],
            HOME,
            vehicle=town.vehicles[vehicle].address,
            reputation=810_000,
            round=7,
            expiry=Instant(expiry),
            serial=vehicle,
        )
        town.send(town.servers[0], membership.admit_certified(Instant(at), certificate))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["ledger", "show", *(str(argument) for argument in arguments)])


def read(*arguments: object) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_task_and_its_rounds(run: Path) -> None:
    task = read(run)
    first, second = task["rounds"]
    assert (first["updates"], first["valid"], first["merged"], first["paid"]) == (3, 2, 2, 10_000_000)
    assert first["model"] == "0x" + NEXT_MODEL.hex()
    assert first["votes"] == {"0x" + NEXT_MODEL.hex(): [0, 1, 2], "0x" + GARBAGE.hex(): [3]}
    assert first["named"] == [{"edge_server": 3, "reasons": ["scores", "vote"], "taken": 300_000}]
    assert (first["absent"], first["local_blocks"]) == ([], {})
    assert first["deviations"] == {"0": 0, "1": 0, "2": 0, "3": 1_066_666}
    # the second round is open
    assert (second["updates"], second["model"], second["paid"]) == (2, None, None)
    assert [server["stake"] for server in task["edge_servers"]] == [1_000_000] * 3 + [700_000]
    assert read(run, "--task", task["task"][:8]) == task


@pytest.mark.parametrize("vehicle", range(6))
def test_a_vehicle_as_the_audit_has_it(run: Path, vehicle: int) -> None:
    shown = read(run, "--vehicle", vehicle)
    audited = [u for round in audit(run / "ledger.sqlite") for u in round.updates if u.vehicle == vehicle]
    settled = [row for row in shown["rounds"] if row["reward"] is not None]
    assert len(settled) == len(audited)
    for row, update in zip(settled, audited, strict=True):
        assert (row["median"], row["valid"], row["merged"]) == (update.score, update.valid, update.merged)
        assert (row["reputation_before"], row["reputation_after"]) == (
            update.reputation_before,
            update.reputation_after,
        )
        assert (row["reward"], row["edge_server"]) == (update.reward, update.edge_server)
        assert row["digest"] == "0x" + update.digest.hex()
        assert row["scores"] == {str(i): (LIE if i == 3 else FAIR)[vehicle] for i in range(4)}
    assert read(run, "--vehicle", shown["address"]) == shown


def test_a_refused_update_is_shown_beside_the_one_that_counts(run: Path) -> None:
    rows = read(run, "--vehicle", 4)["rounds"]
    assert [(row["edge_server"], row["refused"]) for row in rows] == [(0, None), (1, "recorded before")]


def test_the_request_its_answers_and_the_payments(run: Path) -> None:
    task = read(run)
    request = task["request"]
    asked = ("publisher", "vehicles", "samples", "cycles", "deadline_us", "budget", "serial", "brought_by")
    assert [request[name] for name in asked] == [
        *("publisher", 2, 300, 10**6, 1_000_000, 20_000_000, 1),
        "edge server 0",
    ]
    assert request["content"] == "0x" + "07" * 32
    assert task["joined"] == ["edge server 0", "edge server 1", "edge server 2"]
    assert [row["vehicle"] for row in task["responses"]] == ["vehicle 0", "vehicle 1", "vehicle 2"]
    assert task["responses"][1] == {
        "vehicle": "vehicle 1",
        "block": request["block"] + 4,
        "brought_by": "edge server 0",
        "clock_hz": 2 * 10**9,
        "samples": 300,
        "rate_bit_s": 10**7,
        "opinions": {"edge server 0": 200_000},
    }
    (declined,) = task["declined"]
    assert (declined["vehicle"], declined["reason"]) == ("vehicle 1", "answered before")
    assert task["opinions"] == [{"subject": "edge server 0", "opinions": 3, "mean": 200_000}]
    (refused,) = task["refused"]
    assert (refused["what"], refused["brought_by"], refused["refused"]) == (
        "join",
        "edge server 1",
        "nothing is asked for",
    )
    paid = [(row["receiver"], row["amount"], row["brought_by"], row["refused"]) for row in task["payments"]]
    assert paid == [
        ("Escrow", 15_000_000, "edge server 0", None),
        ("vehicle 2", 3, "edge server 2", None),
        ("Escrow", 6_000_000, "edge server 1", "over budget"),
    ]


def test_certificates_as_what_they_are(run: Path) -> None:
    task = read(run)
    said = [(row["vehicle"], row["kind"], row["expiry_us"], row["refused"]) for row in task["certificates"]]
    assert said == [
        ("vehicle 3", "certificate", 500, None),
        ("vehicle 3", "certificate", 500, "used before"),
        ("vehicle 5", "certificate", 500, "expired"),
        ("vehicle 5", "certificate", 900, "unknown issuer"),
    ]
    first = task["certificates"][0]
    assert first["issuer"] == "0x" + ISSUERS[0].address.hex()
    assert (first["task"], first["reputation"], first["round"], first["serial"]) == (
        "0x" + HOME.hex(),
        810_000,
        7,
        3,
    )
    assert [(row["issuer"], row["trusted"]) for row in task["issuers"]] == [
        ("0x" + ISSUERS[0].address.hex(), True),
        ("0x" + ISSUERS[1].address.hex(), False),
    ]


def test_a_vehicles_papers(run: Path) -> None:
    """What vehicle 2 answered and was paid by order; by what vehicle 3 was admitted, and by what not again."""
    second, third = read(run, "--vehicle", 2), read(run, "--vehicle", 3)
    assert second["response"]["opinions"] == {"edge server 0": 300_000}
    assert [(row["amount"], row["serial"]) for row in second["payments"]] == [(3, 3)]
    assert (second["certificates"], third["response"]) == ([], None)
    assert [row["refused"] for row in third["certificates"]] == [None, "used before"]
    assert third["reputation"] == 810_000
    assert [event["event"] for event in third["other_events"]] == []
    assert read(run, "--vehicle", 1)["declined"][0]["reason"] == "answered before"


def test_papers_in_their_blocks(run: Path) -> None:
    sent = [t for height in range(read(run)["blocks"]) for t in read(run, "--block", height)["transactions"]]
    (published,) = [t for t in sent if t["function"] == "publish"]
    assert published["arguments"]["asked"]["deadline_us"] == 1_000_000
    (pack,) = [t for t in sent if t["function"] == "respond"]
    assert [row["vehicle"] for row in pack["arguments"]["responses"]] == [
        f"vehicle {i}" for i in (0, 1, 2, 1)
    ]
    assert pack["arguments"]["responses"][0]["opinions"] == [["edge server 0", 100_000]]
    orders = [t["arguments"]["order"] for t in sent if t["function"] == "pay_order"]
    assert [order["serial"] for order in orders] == [2, 3, 4]
    expired = next(t for t in sent if t["error"] == "expired")
    assert expired["arguments"]["certificate"]["vehicle"] == "vehicle 5"
    assert len(expired["arguments"]["certificate"]["signature"]) == 2 + 2 * 65


def test_a_block_says_who_sent_what(run: Path) -> None:
    heights = range(read(run)["blocks"])
    blocks = [read(run, "--block", height) for height in heights]
    assert [block["parent"] for block in blocks[1:]] == [block["hash"] for block in blocks[:-1]]
    sent = [
        (t["sender"], t["function"], t["ok"], t["error"])
        for b in blocks[1:]
        for t in b["transactions"]
        if t["contract"] == "Training"
    ]
    assert sent[:2] == [("edge server 0", "record", True, ""), ("edge server 1", "record", True, "")]
    assert ("edge server 0", "settle", False, "no model has a majority") in sent
    assert all(block["sealed_by"] == blocks[0]["sealed_by"] for block in blocks)
    scored = next(t for b in blocks for t in b["transactions"] if t["function"] == "score")
    assert scored["arguments"]["scores"] == {f"vehicle {i}": value for i, value in FAIR.items()}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("3 (scores, vote, -0.30)", "rounds", "edge servers")),
        (
            (),
            ("joined by", "3 vehicles, 1 answers declined", "20.00 tokens", "refused: over budget", "0.200"),
        ),
        (
            (),
            ("certificates", "refused: used before", "refused: expired", "0.810", "refused: unknown issuer"),
        ),
        (("--block", 10), ("edge server 0: Training.record", "-> Recorded", "sealed by")),
        (("--block", 22), ("refused: no model has a majority",)),
        (("--block", 6), ("responses  request", "vehicle vehicle 2", "-> Declined")),
        (("--vehicle", 2), ("invalid", "0.100", "0.800", "0.500 -> 0.300", "2.00 GHz", "payments by order")),
        (("--vehicle", 3), ("certificate", "admitted", "refused: used before")),
    ],
)
def test_tables_for_people(
    run: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...], words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("platoon.cli.options.stdout.width", 200)
    result = call(run, *options)
    assert result.exit_code == 0, result.output
    for word in words:
        assert word in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--block", 99), ("--block 99", "allowed: 0 to")),
        (("--block", -1), ("--block -1", "allowed: 0 to")),
        (("--vehicle", 6), ("--vehicle 6", "allowed: 0 to 5")),
        (("--vehicle", "x"), ("--vehicle x", "or an address")),
        (("--task", "0x0000"), ("--task 0x0000", "its task is 0x")),
        (("--task", ""), ("--task", "its task is 0x")),
        (("--block", 1, "--vehicle", 1), ("allowed is one of them",)),
    ],
)
def test_invalid_options_are_refused(run: Path, options: tuple[object, ...], words: tuple[str, ...]) -> None:
    result = call(run, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    for word in words:
        assert word in result.stderr


def test_invalid_folders_are_refused(tmp_path: Path, run: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path.parent):
        assert call(folder).exit_code == 2
    (run / "early").mkdir()
    (run / "early" / "scenario.toml").write_text(Scenario().to_toml())
    assert call(run / "early").exit_code == 2
    (run / "ledger.sqlite").write_bytes(b"not a database" * 1000)
    result = call(run)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not a ledger" in result.stderr
