"""Reputation certificates between two task chains: what is believed, and every reason not to."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.ledger.audit import audit
from platoon.ledger.task_chain import Participants, TaskChain
from platoon.nouns import Digest, Instant, Tokens
from platoon.records.certificates import (
    CERTIFICATE_BYTES,
    Certificate,
    check_certificate,
    compute_initial_reputation,
    issue_certificate,
)
from platoon.records.rules import Rules
from platoon.records.signing import ORDER, simulated_account

RHO_MIN, NEUTRAL, DELTA = 400_000, 500_000, 120_000
EXPIRY = Instant(1_000)


class Region:
    """A second task chain, in another region: same vehicles, other edge servers, hybrid initialisation."""

    def __init__(self, folder, vehicles):
        self.operator = simulated_account(2, "operator", 0)
        self.servers = [simulated_account(2, "edge server", i) for i in range(4)]
        self.path = folder / "region.sqlite"
        self.chain = TaskChain.create(
            self.path,
            chain_id=7401,
            participants=Participants(
                operator=self.operator,
                publisher=simulated_account(2, "publisher", 0),
                edge_servers=tuple(self.servers),
                vehicles=tuple(vehicle.address for vehicle in vehicles),
            ),
            rules=Rules(start=RHO_MIN, rho_min=RHO_MIN),
            model=Digest(b"\x01" * 32),
            escrow=Tokens(0),
            probes=[Digest(bytes([7 + i]) * 32) for i in range(4)],
            attested=compute_initial_reputation(
                certified=None, attested=True, neutral=NEUTRAL, bonus=DELTA, rho_min=RHO_MIN
            ),
        )
        self.at = 0

    def send(self, account, call):
        self.at += 1
        (receipt,) = self.chain.submit([self.chain.sign(account, call)], round=1, at=Instant(self.at))
        return receipt

    def admit(self, certificate, *, at=10, server=0):
        return self.send(
            self.servers[server], self.chain.membership.admit_certified(Instant(at), certificate)
        )

    def attest(self, *vehicles, at=10, server=0):
        accounts = [vehicle.address for vehicle in vehicles]
        return self.send(self.servers[server], self.chain.membership.admit_attested(Instant(at), accounts))


@pytest.fixture
def home(town):
    """The first region, in which vehicle 0 has become reputable and vehicle 1 notorious."""
    for _ in range(2):
        town.play({0: 950_000, 1: 50_000})
    return town


@pytest.fixture
def region(home, tmp_path):
    region = Region(tmp_path, home.vehicles)
    issuers = [server.address for server in home.servers]
    assert region.send(region.operator, region.chain.membership.trust_issuers(home.chain.task, issuers)).ok
    return region


def certify(home, vehicle, *, serial=1, server=0, expiry=EXPIRY):
    """What an edge server of the first region writes for a vehicle that drives to the second."""
    return issue_certificate(
        home.servers[server],
        home.chain.task,
        vehicle=home.vehicles[vehicle].address,
        reputation=int(home.chain.reputations()[vehicle]),
        round=home.chain.round - 1,
        expiry=expiry,
        serial=serial,
    )


def trusted(home):
    return {server.address: home.chain.task for server in home.servers}


def refuse(region, certificate, reason, **options):
    before = region.chain.reputations().tolist()
    receipt = region.admit(certificate, **options)
    assert (receipt.ok, receipt.error, receipt.events) == (False, reason, ())
    assert region.chain.reputations().tolist() == before


def test_newcomers_start_by_equation_13(home, region):
    """A certificate counts as it stands, good or bad; an attestation gives 0.5 + Delta; all others rho_min."""
    earned = home.chain.reputations()
    assert earned[0] > NEUTRAL > RHO_MIN > earned[1]
    assert region.chain.reputations().tolist() == [RHO_MIN] * 6
    assert region.admit(certify(home, 0)).ok
    assert region.admit(certify(home, 1, serial=2)).ok
    assert region.attest(home.vehicles[2], home.vehicles[3]).ok
    expected = [earned[0], earned[1], NEUTRAL + DELTA, NEUTRAL + DELTA, RHO_MIN, RHO_MIN]
    assert region.chain.reputations().tolist() == expected


def test_what_was_admitted_is_where_training_goes_on_and_audit_agrees(home, region):
    certificate = certify(home, 0)
    receipt = region.admit(certificate)
    values = {
        "vehicle": certificate.vehicle,
        "edge_server": region.servers[0].address,
        "reputation": certificate.reputation,
    }
    assert receipt.events[-1].values == {**values, "issuer": certificate.issuer, "serial": 1}
    region.chain.commit("admitted")
    assert [audited.round for audited in audit(region.path)] == [0]
    before = region.chain.reputations().tolist()
    region.chain.close()
    reopened = TaskChain.open(
        region.path, edge_servers=region.servers, vehicles=[vehicle.address for vehicle in home.vehicles]
    )
    assert reopened.reputations().tolist() == before


def test_certificates_are_checked_without_any_chain(home):
    certificate = certify(home, 0)
    assert check_certificate(certificate, trusted(home), Instant(10)) is None
    assert Certificate.decode(certificate.encode()) == certificate


# ---- reasons to refuse: by the contract and without it, in the same words ----


def refuse_twice(home, region, certificate, reason, *, at=10):
    assert check_certificate(certificate, trusted(home), Instant(at)) == reason
    refuse(region, certificate, reason, at=at)


@pytest.mark.parametrize("field", ["vehicle", "reputation", "round", "expiry", "serial"])
def test_invalid_forged_certificate(home, region, field):
    certificate = certify(home, 1)
    better = {
        "vehicle": home.vehicles[2].address,
        "reputation": 1_000_000,
        "round": 99,
        "expiry": Instant(10**9),
        "serial": 2,
    }
    refuse_twice(home, region, dataclasses.replace(certificate, **{field: better[field]}), "bad signature")


def test_invalid_certificate_signed_by_somebody_else(home, region):
    forged = dataclasses.replace(certify(home, 1), issuer=home.servers[1].address)
    refuse_twice(home, region, forged, "bad signature")


def test_invalid_certificate_with_the_malleable_twin_of_its_signature(home, region):
    certificate = certify(home, 0)
    signature = certificate.signature
    s = ORDER - int.from_bytes(signature[32:64], "big")
    twin = signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - signature[64]])
    refuse_twice(home, region, dataclasses.replace(certificate, signature=twin), "bad signature")


def test_invalid_certificate_of_an_unknown_issuer(home, region):
    own = issue_certificate(
        home.stranger,
        home.chain.task,
        vehicle=home.vehicles[0].address,
        reputation=10**6,
        round=1,
        expiry=EXPIRY,
        serial=1,
    )
    refuse_twice(home, region, own, "unknown issuer")


def test_invalid_certificate_for_another_task(home, region):
    other = issue_certificate(
        home.servers[0],
        Digest(b"\x09" * 32),
        vehicle=home.vehicles[0].address,
        reputation=10**6,
        round=1,
        expiry=EXPIRY,
        serial=1,
    )
    refuse_twice(home, region, other, "issuer of another task")


def test_invalid_certificate_of_a_revoked_issuer(home, region):
    assert region.send(region.operator, region.chain.membership.distrust(home.servers[0].address)).ok
    refuse(region, certify(home, 0), "revoked issuer")
    assert region.admit(certify(home, 0, server=1)).ok
    # trust does not come back
    again = region.chain.membership.trust_issuers(home.chain.task, [home.servers[0].address])
    assert region.send(region.operator, again).error == "known before"


def test_invalid_certificate_that_has_expired(home, region):
    certificate = certify(home, 0)
    refuse_twice(home, region, certificate, "expired", at=EXPIRY)
    assert region.admit(certificate, at=EXPIRY - 1).ok


def test_invalid_certificate_used_before(home, region):
    certificate = certify(home, 0)
    assert region.admit(certificate).ok
    refuse(region, certificate, "used before")
    # the same serial for another vehicle is no second one
    refuse(region, certify(home, 2, serial=1), "used before")
    # numbers are each issuer's own
    assert region.admit(certify(home, 2, serial=1, server=1)).ok


def test_invalid_second_admission(home, region):
    assert region.attest(home.vehicles[0]).ok
    refuse(region, certify(home, 0), "admitted before")
    assert region.attest(home.vehicles[0]).error == "admitted before"
    assert region.attest(home.vehicles[2], home.vehicles[2]).error == "admitted before"


def test_invalid_admission_of_a_vehicle_that_is_no_newcomer(home):
    # at home everybody who was ever recorded has a reputation, which no certificate replaces
    trust = home.chain.membership.trust_issuers(home.chain.task, [home.servers[0].address])
    assert home.send(home.operator, trust).ok
    call = home.chain.membership.admit_certified(Instant(10), certify(home, 1))
    assert home.send(home.servers[0], call).error == "not a newcomer"


@pytest.mark.parametrize("who", ["unknown", "edge server", "revoked"])
def test_invalid_admission_of_what_is_no_vehicle(home, region, who):
    account = {"unknown": home.stranger, "edge server": region.servers[1], "revoked": home.vehicles[0]}[who]
    if who == "revoked":
        assert region.send(region.operator, region.chain.calls.revoke(account.address)).ok
    certificate = issue_certificate(
        home.servers[0],
        home.chain.task,
        vehicle=account.address,
        reputation=10**6,
        round=1,
        expiry=EXPIRY,
        serial=1,
    )
    refuse(region, certificate, "not a vehicle")
    assert region.attest(account).error == "not a vehicle"


def test_invalid_admission_by_the_wrong_role(home, region):
    call = region.chain.membership.admit_certified(Instant(10), certify(home, 0))
    for account in (home.vehicles[0], region.operator, home.servers[0]):
        assert region.send(account, call).error == "not an edge server"
    for account in (region.servers[0], home.vehicles[0]):
        trust = region.chain.membership.trust_issuers(home.chain.task, [account.address])
        assert region.send(account, trust).error == "only the operator"
        distrust = region.chain.membership.distrust(home.servers[0].address)
        assert region.send(account, distrust).error == "only the operator"


# ---- time ----


def test_invalid_time_that_runs_backwards(home, region):
    assert region.attest(at=20).ok
    refuse(region, certify(home, 0), "time runs backwards", at=19)
    assert region.admit(certify(home, 0), at=19, server=1).ok


def test_one_lying_edge_server_cannot_have_certificates_expire(home, region):
    assert region.attest(at=2**63 - 1, server=3).ok
    assert region.admit(certify(home, 0), at=10).ok


def test_one_lying_edge_server_cannot_bring_an_expired_certificate(home, region):
    # two of four have reached the expiry: an early time of a third does not turn it back
    assert region.attest(at=EXPIRY, server=1).ok
    assert region.attest(at=EXPIRY + 5, server=2).ok
    refuse(region, certify(home, 0), "expired", at=0, server=3)


def test_invalid_time_out_of_bounds(home, region):
    assert region.attest(at=2**63).error == "time out of bounds"


# ---- bytes ----


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_certificates_from_arbitrary_bytes(data):
    with pytest.raises(ValueError, match=r"bytes|out of bounds"):
        Certificate.decode(data)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=65, max_size=65), st.lists(st.integers(0, 2**63 - 1), min_size=4, max_size=4))
def test_well_formed_certificates_are_read_and_not_believed(signature, numbers):
    words = [
        b"\x01" * 32,
        bytes(12) + b"\x02" * 20,
        bytes(12) + b"\x03" * 20,
        *(n.to_bytes(32, "big") for n in numbers),
    ]
    data = b"".join(words) + signature
    assert len(data) == CERTIFICATE_BYTES
    certificate = Certificate.decode(data)
    assert certificate.encode() == data
    believed = check_certificate(certificate, {certificate.issuer: certificate.task}, Instant(0))
    assert believed in ("reputation out of bounds", "bad signature")


@pytest.mark.parametrize(
    "numbers", [{"reputation": 10**6 + 1}, {"serial": -1}, {"expiry": 2**63}, {"round": -1}]
)
def test_invalid_numbers_are_not_certified(numbers):
    fields = {"vehicle": b"\x01" * 20, "reputation": 1, "round": 1, "expiry": 1, "serial": 1, **numbers}
    with pytest.raises(ValueError, match="out of bounds"):
        issue_certificate(simulated_account(1, "edge server", 0), Digest(b"\x01" * 32), **fields)


def test_invalid_delta():
    with pytest.raises(ValueError, match="bonus = 200001"):
        compute_initial_reputation(certified=None, attested=True, neutral=1, bonus=200_001, rho_min=0)
