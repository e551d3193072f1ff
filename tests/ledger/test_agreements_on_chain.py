"""Requests, responses and payments on the chain: what is taken, and each reason to refuse by its name."""

from dataclasses import replace

import pytest

from platoon.ledger.audit import audit
from platoon.ledger.contracts import Event
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
from platoon.records.identity import sign_rotation
from platoon.records.signing import ORDER, simulated_account

PURSE = Tokens(50_000_000)
BUDGET = 40_000_000
OTHER = Digest(b"\x09" * 32)
DEADLINE = Instant(1_000_000)


@pytest.fixture
def town(make_town):
    return make_town(purse=PURSE)


def make_request(town):
    return TaskRequest(
        publisher=town.publisher.address,
        content=Digest(b"\x07" * 32),
        vehicles=3,
        samples=300,
        cycles=10**6,
        deadline=DEADLINE,
        budget=BUDGET,
        serial=1,
    )


def name_of(town):
    return compute_agreement_digest(town.chain.registry, make_request(town))


def make_response(town, vehicle):
    servers = sorted(server.address for server in town.servers[:2])
    return TaskResponse(
        request=name_of(town),
        vehicle=vehicle.address,
        clock=2 * 10**9,
        samples=300,
        rate=10**7,
        opinions=tuple(Opinion(subject=server, reputation=700_000) for server in servers),
    )


def make_order(town, **changes):
    fields = {
        "request": name_of(town),
        "payer": town.publisher.address,
        "receiver": town.chain.ledger.contracts.addresses["Escrow"],
        "amount": 10_000_000,
        "round": 0,
        "serial": 2,
    }
    return Payment(**(fields | changes))


def sign(town, account, agreement):
    return Signed(agreement=agreement, signature=sign_agreement(account, town.chain.registry, agreement))


def publish(town, server=0, at=10):
    signed = sign(town, town.publisher, make_request(town))
    return town.send(town.servers[server], town.chain.agreements.publish(Instant(at), signed))


def respond(town, *signed, server=0, at=20):
    (call,) = town.chain.agreements.respond(Instant(at), signed)
    return town.send(town.servers[server], call)


def pay(town, account, order, server=0):
    return town.send(
        town.servers[server], town.chain.agreements.pay_order(Instant(30), sign(town, account, order))
    )


def state(town):
    views = ("request", "content", "samples", "deadline", "budget", "spent", "joined", "responses")
    contracts = town.chain.ledger.contracts
    read = [town.chain.ledger.read(contracts.call("Agreements", view)) for view in views]
    return read, town.chain.answered().tolist(), town.chain.balances().tolist(), town.chain.escrow_left()


def refuse(town, account, call, reason):
    """The call is rejected for this reason and changes nothing."""
    before = state(town)
    receipt = town.send(account, call)
    assert (receipt.ok, receipt.error, receipt.events) == (False, reason, ())
    assert state(town) == before


# ---- what is taken ----


def test_a_task_comes_about(town):
    """The publisher asks, edge servers join, vehicles answer in two packs, an order fills the escrow."""
    escrow = town.chain.escrow_left()
    assert publish(town).ok
    for server in town.servers:
        assert town.send(server, town.chain.agreements.join(Instant(20), name_of(town))).ok
    answers = [sign(town, vehicle, make_response(town, vehicle)) for vehicle in town.vehicles]
    assert respond(town, *answers[:4]).ok
    assert town.chain.answered().tolist() == [True] * 4 + [False] * 2
    assert respond(town, *answers[4:], server=1).ok
    assert town.chain.answered().all()
    assert pay(town, town.publisher, make_order(town)).ok
    assert town.chain.escrow_left() == escrow + 10_000_000
    town.chain.commit("agreed on")
    town.reopen()
    assert town.chain.answered().all()
    town.chain.close()
    assert len(list(audit(town.path))) == 1


def test_opinions_move_no_reputation(town):
    before = town.chain.reputations().tolist()
    publish(town)
    slander = replace(
        make_response(town, town.vehicles[0]),
        opinions=(Opinion(subject=town.vehicles[1].address, reputation=0),),
    )
    receipt = respond(town, sign(town, town.vehicles[0], slander))
    (event,) = receipt.events
    assert (event.values["subjects"], event.values["reputations"]) == ((town.vehicles[1].address,), (0,))
    assert town.chain.reputations().tolist() == before


def test_a_vehicle_that_rotates_has_still_answered(town):
    publish(town)
    old, new = town.vehicles[0], simulated_account(1, "renewed", 0)
    assert respond(town, sign(town, old, make_response(town, old))).ok
    rotation = sign_rotation(town.chain.registry, retired=old, renewed=new)
    assert town.send(town.servers[0], town.chain.membership.rotate([rotation])).ok
    assert town.chain.answered().tolist() == [True] + [False] * 5
    receipt = respond(town, sign(town, new, make_response(town, new)))
    assert receipt.events[0].values["reason"] == 2  # answered before, under its old name
    town.chain.commit("rotated")
    town.reopen()
    assert town.chain.answered().tolist() == [True] + [False] * 5


@pytest.mark.parametrize("payee", ["vehicle", "edge server"])
def test_an_order_may_pay_a_participant(town, payee):
    publish(town)
    account = town.vehicles[2] if payee == "vehicle" else town.servers[1]
    receipt = pay(town, town.publisher, make_order(town, receiver=account.address, round=3))
    assert receipt.ok
    transfer = receipt.events[0].values
    assert (transfer["receiver"], transfer["amount"]) == (account.address, 10_000_000)


def test_packs_of_128(make_town):
    town = make_town(purse=PURSE, fleet=200)
    publish(town)
    signed = [sign(town, vehicle, make_response(town, vehicle)) for vehicle in town.vehicles]
    calls = town.chain.agreements.respond(Instant(20), signed)
    assert len(calls) == 2
    raws = [town.chain.sign(town.servers[0], call, ahead=i) for i, call in enumerate(calls)]
    receipts = town.chain.submit(raws, round=1, at=Instant(20))
    assert [len(receipt.events) for receipt in receipts] == [128, 72]
    assert town.chain.answered().all()


# ---- requests ----


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vehicles": 0}, "asks for nobody"),
        ({"deadline": Instant(10)}, "expired"),
        ({"budget": 1}, "bad signature"),  # than was signed
    ],
)
def test_invalid_request(town, changes, reason):
    request = replace(make_request(town), **changes)
    signed = sign(town, town.publisher, make_request(town) if reason == "bad signature" else request)
    signed = replace(signed, agreement=request)
    refuse(town, town.servers[0], town.chain.agreements.publish(Instant(10), signed), reason)


def test_invalid_request_out_of_bounds(town):
    signed = sign(town, town.publisher, make_request(town))
    for name in ("vehicles", "samples", "cycles", "deadline", "budget", "serial"):
        request = replace(make_request(town), **{name: 2**63})
        call = town.chain.agreements.publish(Instant(10), replace(signed, agreement=request))
        refuse(town, town.servers[0], call, "number out of bounds")


def test_invalid_request_of_a_stranger(town):
    request = replace(make_request(town), publisher=town.stranger.address)
    call = town.chain.agreements.publish(Instant(10), sign(town, town.stranger, request))
    refuse(town, town.servers[0], call, "not the publisher's")


def test_invalid_request_signed_by_a_stranger(town):
    call = town.chain.agreements.publish(Instant(10), sign(town, town.stranger, make_request(town)))
    refuse(town, town.servers[0], call, "bad signature")


def test_invalid_request_of_a_revoked_publisher(town):
    assert town.send(town.operator, town.chain.calls.revoke(town.publisher.address)).ok
    call = town.chain.agreements.publish(Instant(10), sign(town, town.publisher, make_request(town)))
    refuse(town, town.servers[0], call, "not a publisher")


def test_invalid_second_request(town):
    publish(town)
    again = sign(town, town.publisher, replace(make_request(town), serial=5))
    refuse(town, town.servers[1], town.chain.agreements.publish(Instant(10), again), "published before")


@pytest.mark.parametrize("who", ["operator", "publisher", "vehicle", "revoked edge server"])
def test_invalid_role_brings_anything(town, who):
    account = {"operator": town.operator, "publisher": town.publisher, "vehicle": town.vehicles[0]}.get(
        who, town.servers[3]
    )
    if who == "revoked edge server":
        assert town.send(town.operator, town.chain.calls.revoke(account.address)).ok
    calls = town.chain.agreements
    signed = sign(town, town.publisher, make_request(town))
    refuse(town, account, calls.publish(Instant(10), signed), "not an edge server")
    publish(town)
    response = sign(town, town.vehicles[0], make_response(town, town.vehicles[0]))
    order = sign(town, town.publisher, make_order(town))
    for call in (
        calls.join(Instant(20), name_of(town)),
        *calls.respond(Instant(20), [response]),
        calls.pay_order(Instant(30), order),
    ):
        refuse(town, account, call, "not an edge server")


def test_invalid_time_that_runs_backwards(town):
    publish(town, at=30)
    (call,) = town.chain.agreements.respond(
        Instant(29), [sign(town, town.vehicles[0], make_response(town, town.vehicles[0]))]
    )
    refuse(town, town.servers[0], call, "time runs backwards")
    assert town.send(town.servers[1], call).ok


# ---- edge servers ----


def test_invalid_join(town):
    refuse(
        town, town.servers[0], town.chain.agreements.join(Instant(20), name_of(town)), "nothing is asked for"
    )
    publish(town)
    refuse(town, town.servers[0], town.chain.agreements.join(Instant(20), OTHER), "another request")
    assert town.send(town.servers[0], town.chain.agreements.join(Instant(20), name_of(town))).ok
    refuse(town, town.servers[0], town.chain.agreements.join(Instant(20), name_of(town)), "joined before")


# ---- responses ----


def test_invalid_response_before_the_request(town):
    signed = sign(town, town.vehicles[0], make_response(town, town.vehicles[0]))
    (call,) = town.chain.agreements.respond(Instant(20), [signed])
    refuse(town, town.servers[0], call, "nothing is asked for")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": OTHER}, "another request"),
        ({"samples": 299}, "too few samples"),
        ({"clock": 2**63}, "number out of bounds"),
        ({"rate": 2**256 - 1}, "number out of bounds"),
        ({"opinions": (Opinion(subject=Address(b"\x01" * 20), reputation=10**6 + 1),)}, "reputation out of bounds"),
        ({"opinions": (Opinion(subject=Address(b"\x01" * 20), reputation=1),) * 2}, "opinions not ascending"),
        ({"opinions": (Opinion(subject=Address(bytes(20)), reputation=1),)}, "opinions not ascending"),
        (
            {"opinions": tuple(Opinion(subject=Address(bytes([i]) * 20), reputation=1) for i in range(1, 6))},
            "too many opinions",
        ),
    ],
)  # fmt: skip
def test_invalid_response(town, changes, reason):
    publish(town)
    vehicle = town.vehicles[0]
    signed = sign(town, vehicle, make_response(town, vehicle))
    faulty = replace(signed, agreement=replace(signed.agreement, **changes))
    if max(faulty.agreement.clock, faulty.agreement.rate) < 2**63:
        faulty = sign(town, vehicle, faulty.agreement)
    sound = sign(town, town.vehicles[1], make_response(town, town.vehicles[1]))
    # what its edge server could have checked takes the sound one with it
    (call,) = town.chain.agreements.respond(Instant(20), [sound, faulty])
    refuse(town, town.servers[0], call, reason)


def test_invalid_response_with_an_opinion_of_itself(town):
    publish(town)
    vehicle = town.vehicles[0]
    praise = (Opinion(subject=vehicle.address, reputation=10**6),)
    signed = sign(town, vehicle, replace(make_response(town, vehicle), opinions=praise))
    (call,) = town.chain.agreements.respond(Instant(20), [signed])
    refuse(town, town.servers[0], call, "an opinion of itself")


@pytest.mark.parametrize("change", ["samples", "opinion", "signer", "twin", "elsewhere"])
def test_invalid_response_with_a_bad_signature(town, change):
    publish(town)
    vehicle = town.vehicles[0]
    response = make_response(town, vehicle)
    signed = sign(town, vehicle, response)
    if change == "samples":
        signed = replace(signed, agreement=replace(response, samples=301))
    elif change == "opinion":
        signed = replace(signed, agreement=replace(response, opinions=response.opinions[:1]))
    elif change == "signer":
        signed = replace(signed, agreement=replace(response, vehicle=town.vehicles[1].address))
    elif change == "twin":
        raw = signed.signature
        s = ORDER - int.from_bytes(raw[32:64], "big")
        signed = replace(signed, signature=raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]]))
    else:
        signed = replace(signed, signature=sign_agreement(vehicle, town.chain.task, response))
    (call,) = town.chain.agreements.respond(Instant(20), [signed])
    refuse(town, town.servers[0], call, "bad signature")


@pytest.mark.parametrize(("claimed", "reason"), [(3, "opinions are missing"), (1, "opinions are left over")])
def test_invalid_number_of_opinions(town, claimed, reason):
    publish(town)
    vehicle = town.vehicles[0]
    response = make_response(town, vehicle)
    signed = sign(town, vehicle, replace(response, opinions=response.opinions[:claimed]))
    contracts = town.chain.ledger.contracts
    (call,) = town.chain.agreements.respond(Instant(20), [signed])
    _, (at, entries, _) = contracts.decode_call(call)
    entry = (*entries[0][:5], claimed, *entries[0][6:])
    opinions = [(opinion.subject, opinion.reputation) for opinion in response.opinions]
    refuse(town, town.servers[0], contracts.call("Agreements", "respond", at, [entry], opinions), reason)


def test_invalid_response_after_the_deadline(town):
    publish(town)
    signed = sign(town, town.vehicles[0], make_response(town, town.vehicles[0]))
    (late,) = town.chain.agreements.respond(DEADLINE, [signed])
    refuse(town, town.servers[0], late, "expired")
    # two of four edge servers have seen the deadline pass: the early clock of another does not help
    (early,) = town.chain.agreements.respond(Instant(DEADLINE - 1), [signed])
    for server in town.servers[1:3]:
        assert town.send(server, town.chain.agreements.join(DEADLINE, name_of(town))).ok
    refuse(town, town.servers[0], early, "expired")


def test_an_edge_server_that_is_fast_keeps_nobody_out(town):
    publish(town)
    signed = sign(town, town.vehicles[0], make_response(town, town.vehicles[0]))
    far = Instant(2**63 - 1)
    assert town.send(town.servers[3], town.chain.agreements.join(far, name_of(town))).ok
    assert respond(town, signed).ok


@pytest.mark.parametrize("who", ["stranger", "revoked vehicle", "edge server", "publisher"])
def test_invalid_response_of_somebody_who_is_no_vehicle_is_left_out(town, who):
    publish(town)
    account = {"stranger": town.stranger, "edge server": town.servers[3], "publisher": town.publisher}.get(
        who, town.vehicles[5]
    )
    if who == "revoked vehicle":
        assert town.send(town.operator, town.chain.calls.revoke(account.address)).ok
    pack = [sign(town, each, bare(town, each)) for each in (account, town.vehicles[0])]
    receipt = respond(town, *pack)
    assert [event.name for event in receipt.events] == ["Declined", "Responded"]
    declined = {"vehicle": account.address, "edge_server": town.servers[0].address, "reason": 1}
    assert receipt.events[0] == Event("Agreements", "Declined", declined)
    assert town.chain.answered().tolist() == [True] + [False] * 5


def bare(town, account):
    """A response without opinions, for who could be among their subjects."""
    return replace(make_response(town, account), opinions=())


def test_invalid_second_response_is_left_out(town):
    publish(town)
    vehicle = town.vehicles[0]
    signed = sign(town, vehicle, make_response(town, vehicle))
    first = respond(town, signed, signed)  # twice in one pack
    assert [event.name for event in first.events] == ["Responded", "Declined"]
    better = sign(town, vehicle, replace(make_response(town, vehicle), samples=10**6))
    second = respond(town, better, server=1)
    assert [event.name for event in second.events] == ["Declined"]
    assert second.events[0].values["reason"] == 2


# ---- payments ----


def test_invalid_payment_before_the_request(town):
    call = town.chain.agreements.pay_order(Instant(30), sign(town, town.publisher, make_order(town)))
    refuse(town, town.servers[0], call, "nothing is asked for")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": OTHER}, "another request"),
        ({"amount": 0}, "nothing to pay"),
        ({"amount": BUDGET + 1}, "over budget"),
        ({"serial": 1}, "serial used before"),  # the request's own
        ({"receiver": Address(b"\x01" * 20)}, "no payee of this task"),
    ],
)
def test_invalid_payment(town, changes, reason):
    publish(town)
    call = town.chain.agreements.pay_order(
        Instant(30), sign(town, town.publisher, make_order(town, **changes))
    )
    refuse(town, town.servers[0], call, reason)


@pytest.mark.parametrize("payee", ["publisher", "operator", "revoked vehicle", "Token"])
def test_invalid_payee(town, payee):
    publish(town)
    accounts = {"publisher": town.publisher, "operator": town.operator, "revoked vehicle": town.vehicles[0]}
    if payee == "revoked vehicle":
        assert town.send(town.operator, town.chain.calls.revoke(town.vehicles[0].address)).ok
    receiver = (
        accounts[payee].address if payee in accounts else town.chain.ledger.contracts.addresses["Token"]
    )
    call = town.chain.agreements.pay_order(
        Instant(30), sign(town, town.publisher, make_order(town, receiver=receiver))
    )
    refuse(town, town.servers[0], call, "no payee of this task")


def test_invalid_payment_of_another_payer(town):
    publish(town)
    order = make_order(town, payer=town.stranger.address)
    call = town.chain.agreements.pay_order(Instant(30), sign(town, town.stranger, order))
    refuse(town, town.servers[0], call, "not the publisher's")


def test_invalid_payment_signed_by_a_stranger(town):
    publish(town)
    call = town.chain.agreements.pay_order(Instant(30), sign(town, town.stranger, make_order(town)))
    refuse(town, town.servers[0], call, "bad signature")


def test_invalid_payment_of_a_revoked_publisher(town):
    publish(town)
    assert town.send(town.operator, town.chain.calls.revoke(town.publisher.address)).ok
    call = town.chain.agreements.pay_order(Instant(30), sign(town, town.publisher, make_order(town)))
    refuse(town, town.servers[0], call, "not a publisher")


def test_invalid_replayed_payment(town):
    publish(town)
    assert pay(town, town.publisher, make_order(town)).ok
    call = town.chain.agreements.pay_order(Instant(30), sign(town, town.publisher, make_order(town)))
    refuse(town, town.servers[1], call, "serial used before")


def test_invalid_payments_that_together_are_over_budget(town):
    publish(town)
    assert pay(town, town.publisher, make_order(town, amount=BUDGET - 1)).ok
    call = town.chain.agreements.pay_order(
        Instant(30), sign(town, town.publisher, make_order(town, amount=2, serial=3))
    )
    refuse(town, town.servers[0], call, "over budget")
    assert pay(town, town.publisher, make_order(town, amount=1, serial=3)).ok


def test_invalid_payment_beyond_the_purse(make_town):
    town = make_town(purse=Tokens(5_000_000))
    publish(town)
    call = town.chain.agreements.pay_order(Instant(30), sign(town, town.publisher, make_order(town)))
    refuse(town, town.servers[0], call, "allowance too small")
