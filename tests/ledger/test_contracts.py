"""The contracts' artefacts and limits."""

from importlib import resources

import pytest

from platoon.contracts.build import NAMES, render_artefact
from platoon.ledger.agreement_calls import AgreementCalls
from platoon.ledger.contract_kinds import KINDS, TASK_CHAIN
from platoon.ledger.contracts import CONTRACTS, ContractSet, load_artefact
from platoon.ledger.evm import Machine
from platoon.ledger.membership import Membership
from platoon.ledger.model import write_committee, write_rules
from platoon.ledger.task_chain import Calls
from platoon.nouns import Digest, Instant
from platoon.records.abi import Arguments
from platoon.records.agreements import (
    MOST_OPINIONS,
    Opinion,
    Payment,
    Signed,
    TaskRequest,
    TaskResponse,
    compute_agreement_digest,
    sign_agreement,
)
from platoon.records.certificates import issue_certificate
from platoon.records.committee import CommitteeRules
from platoon.records.encoding import compute_contract_address, keccak
from platoon.records.identity import sign_rotation
from platoon.records.lanes import pack_scores
from platoon.records.local_block import make_local_block
from platoon.records.rules import MAX_EDGE_SERVERS, MAX_UPDATES, Rules
from platoon.records.signing import sign_update, simulated_account
from platoon.records.transactions import MAX_GAS
from platoon.records.typed_data import Domain

CODE_LIMIT = 24_576
"""Bytes of a contract at most (EIP-170)."""


@pytest.mark.parametrize("name", NAMES)
def test_artefacts_are_what_the_sources_compile_to(name):
    folder = resources.files("platoon.contracts").joinpath("artefacts")
    assert folder.joinpath(f"{name}.json").read_text(encoding="utf-8") == render_artefact(name)


@pytest.mark.parametrize("name", NAMES)
def test_contracts_never_read_the_block(name):
    source = resources.files("platoon.contracts").joinpath(f"{name}.vy").read_text(encoding="utf-8")
    code = [line.split("#")[0] for line in source.splitlines()]
    assert not any("block." in line or "blockhash" in line for line in code)


def test_every_contract_is_deployed():
    # the mechanism alone is for whoever wants to check an award; no chain needs it
    assert {name for kind in KINDS for name in kind.contracts} | {"AffineMaximiser"} == set(NAMES)


class Stress:
    """64 edge servers and 128 updates in one round, every slot touched for the first time."""

    def __init__(self) -> None:
        operator, publisher = simulated_account(3, "operator", 0), simulated_account(3, "publisher", 0)
        self.servers = [simulated_account(3, "edge server", i) for i in range(MAX_EDGE_SERVERS)]
        self.set = ContractSet(operator.address)
        at = self.set.addresses
        rules = write_rules(Rules(pool=10**12))
        constructors = (
            (),
            (),
            (at["Registry"], at["Token"], publisher.address),
            (
                at["Registry"],
                at["Escrow"],
                at["Stakes"],
                at["Plausibility"],
                publisher.address,
                b"\x01" * 32,
                rules,
            ),
            (at["Registry"], at["Training"], write_committee(CommitteeRules())),
            (at["Registry"], at["Token"], at["Checkpoint"], publisher.address, 700),
            (at["Registry"], at["Token"], at["Escrow"], at["Training"], 100_000),
            (at["Registry"], at["Training"], 600_000),
            (at["Registry"], at["Training"], 300_000),
            (at["Registry"], at["Token"], at["Escrow"], at["Sealing"], publisher.address),
        )
        self.machine = Machine(7400)
        self.gas: dict[str, tuple[int, int]] = {}
        for i, arguments in enumerate(constructors):
            call = self.set.deployment(i, arguments)
            assert self.machine.execute(operator.address, None, call.data, call.gas).ok
        fleet = sorted(
            (simulated_account(3, "vehicle", i) for i in range(MAX_UPDATES)), key=lambda a: a.address
        )
        self.run(operator, "Registry", "register", 1, [server.address for server in self.servers])
        self.run(operator, "Registry", "register", 2, [vehicle.address for vehicle in fleet])
        self.run(
            operator, "Registry", "register", 2, [simulated_account(3, "x", i).address for i in range(256)]
        )
        self.run(operator, "Registry", "register", 3, [publisher.address])
        self.run(operator, "Token", "mint", publisher.address, 10**15)
        self.run(operator, "Escrow", "bind", at["Training"])
        self.run(publisher, "Token", "approve", at["Escrow"], 10**15)
        self.run(publisher, "Escrow", "fund", 10**14)
        self.run(publisher, "Token", "approve", at["Sealing"], 10**15)
        self.run(publisher, "Sealing", "fund", 10**4)
        for server in self.servers:
            self.run(server, "Training", "commit_probe", b"\x07" * 32)
            self.run(operator, "Token", "mint", server.address, 10**9)
            self.run(server, "Token", "approve", at["Stakes"], 10**9)
            self.run(server, "Stakes", "deposit", 10**9)
        self.anchor(fleet)
        self.run(operator, "Registry", "bind", at["Admission"])
        self.move(operator, [simulated_account(3, "x", i) for i in range(256)])
        self.suspect(fleet)
        self.play(fleet)
        self.agree(publisher, fleet)
        many = [simulated_account(3, "y", i).address for i in range(MAX_UPDATES)]
        self.run(publisher, "Token", "transfer_many", many, [1] * MAX_UPDATES)

    def run(self, account, contract, name, *arguments):
        call = self.set.call(contract, name, *arguments)
        result = self.machine.execute(account.address, self.set.addresses[contract], call.data, call.gas)
        assert result.ok, (name, result.error)
        self.gas[name] = max(self.gas.get(name, (0, 0)), (result.gas, call.gas))
        return [self.set.decode_log(log) for log in result.logs]

    def agree(self, publisher, fleet):
        """Every edge server joins, each a little later; all vehicles answer at once, at length."""
        calls, at = AgreementCalls(contracts=self.set), self.set.addresses
        separator = Domain(chain_id=7400, contract=at["Registry"]).separator
        request = TaskRequest(
            publisher=publisher.address,
            content=Digest(b"\x07" * 32),
            vehicles=10,
            samples=300,
            cycles=10**6,
            deadline=Instant(10**6),
            budget=10**9,
            serial=1,
        )
        name = compute_agreement_digest(separator, request)
        opinions = tuple(
            Opinion(subject=subject, reputation=10**6)
            for subject in sorted(server.address for server in self.servers[:MOST_OPINIONS])
        )
        signed = [
            TaskResponse(
                request=name,
                vehicle=vehicle.address,
                clock=2**60,
                samples=2**60,
                rate=2**60,
                opinions=opinions,
            )
            for vehicle in fleet
        ]
        order = Payment(
            request=name, payer=publisher.address, receiver=fleet[0].address, amount=1, round=1, serial=2
        )

        def send(server, call):
            function, arguments = self.set.decode_call(call)
            return self.run(server, function.contract, function.name, *arguments)

        def sign(account, agreement):
            return Signed(agreement=agreement, signature=sign_agreement(account, separator, agreement))

        self.run(publisher, "Token", "approve", at["Agreements"], 10**9)
        send(self.servers[0], calls.publish(Instant(1), sign(publisher, request)))
        for i, server in enumerate(self.servers):
            send(server, calls.join(Instant(1 + i), name))
            self.run(server, "Agreements", "respond", 1 + i, [], [])
        (whole,) = calls.respond(
            Instant(100), [sign(vehicle, one) for vehicle, one in zip(fleet, signed, strict=True)]
        )
        events = send(self.servers[63], whole)
        assert [event.name for event in events] == ["Responded"] * MAX_UPDATES
        send(self.servers[63], calls.pay_order(Instant(100), sign(publisher, order)))

    def move(self, operator, newcomers):
        """Newcomers come in by every door, each edge server a little later than the one before, and rotate."""
        calls, home, issuer = (
            Membership(contracts=self.set),
            Digest(b"\x0a" * 32),
            simulated_account(3, "issuer", 0),
        )
        self.run(operator, "Admission", "trust_issuers", home, [i.to_bytes(20, "big") for i in range(1, 64)])
        self.run(operator, "Admission", "trust_issuers", home, [issuer.address])
        for i, server in enumerate(self.servers):
            certificate = issue_certificate(
                issuer,
                home,
                vehicle=newcomers[i].address,
                reputation=700_000,
                round=1,
                expiry=Instant(10**6),
                serial=i,
            )
            certified = self.set.decode_call(calls.admit_certified(Instant(i), certificate))[1]
            self.run(server, "Admission", "admit_certified", *certified)
        rest = [account.address for account in newcomers[64:]]
        self.run(self.servers[63], "Admission", "admit_attested", 10**6, rest)
        separator = Domain(chain_id=7400, contract=self.set.addresses["Registry"]).separator
        rotations = [
            sign_rotation(separator, retired=old, renewed=simulated_account(3, "renewed", i))
            for i, old in enumerate(newcomers[:128])
        ]
        (rotated,) = self.run(
            self.servers[0], "Registry", "rotate", *self.set.decode_call(calls.rotate(rotations))[1]
        )
        assert rotated.values["count"] == 128

    def suspect(self, fleet):
        """The largest cluster: alleged by all, appealed by its last member, and lifted."""
        members = [account.address for account in fleet[:64]]
        for server in self.servers:
            self.run(server, "Plausibility", "report", 1, 1, members, 50, 10**6, b"\x01" * 32)
        self.run(fleet[63], "Plausibility", "appeal", 1)
        for server in self.servers[:32]:
            *_, last = self.run(server, "Plausibility", "review", 1, False, 50, 10**6, b"\x01" * 32)
        assert (last.name, last.values["now"]) == ("Decided", (500_000,) * 64)

    def play(self, fleet):
        task = Domain(chain_id=7400, contract=self.set.addresses["Training"]).separator
        # descending batches, one vehicle each from the last: the order that costs the sort most
        batches = [[vehicle] for vehicle in reversed(fleet[63:])][: MAX_EDGE_SERVERS - 1]
        rest = [vehicle for vehicle in fleet if [vehicle] not in batches]
        for server, batch in zip(self.servers, [*batches, rest], strict=False):
            entries = []
            for vehicle in batch:
                update = sign_update(vehicle, task, round=1, digest=Digest(b"\x05" * 32), samples=2**32 - 1)
                r, s = (int.from_bytes(update.signature[i : i + 32], "big") for i in (0, 32))
                entries.append((update.vehicle, update.digest, update.samples, update.signature[64], r, s))
            self.run(server, "Training", "record", 1, entries)
        for server in self.servers[len(batches) + 1 :]:
            self.run(server, "Training", "record", 1, [])
        updates = b""
        for i, server in enumerate(self.servers):
            values = [(j * 7919 + i * 104_729) % 700_000 + 300_000 for j in range(MAX_UPDATES)]
            if i == 0:
                updates = self.find_updates_digest()
            self.run(server, "Training", "score", 1, updates, pack_scores(values, 1_000_000))
        self.run(self.servers[0], "Training", "judge", 1)
        for i, server in enumerate(self.servers):
            # as many as can be named for their vote, besides those named for their scores
            self.run(server, "Training", "vote", 1, b"\x02" * 32 if i < 33 else bytes([i]) * 32)
        self.run(self.servers[0], "Training", "settle", 1)

    def anchor(self, fleet):
        """A full block, sealed by a full committee, released with the longest proofs, and a fork of it."""
        at, server = self.set.addresses, self.servers[0]
        task = Domain(chain_id=7400, contract=at["Training"]).separator
        digest = Digest(b"\x05" * 32)
        updates = [sign_update(vehicle, task, round=1, digest=digest, samples=1) for vehicle in fleet]
        fields = {"task": task, "edge_server": server.address, "height": 1, "round": 1, "parent": bytes(32)}
        block, other = (make_local_block(updates=some, **fields) for some in (updates, updates[1:]))
        members = sorted([server, *fleet[:6]], key=lambda account: account.address)
        seals, others = ([member.sign(b.digest) for member in members] for b in (block, other))
        calls = Calls(contracts=self.set)
        for name, call in (
            ("anchor", calls.anchor(block, [member.address for member in members], seals)),
            ("release", calls.release(block, updates, [member.address for member in members])),
            ("report_fork", calls.report_fork(other, others)),
        ):
            result = self.machine.execute(server.address, call.to, call.data, call.gas)
            assert result.ok, (name, result.error)
            self.gas[name] = (result.gas, call.gas)

    def find_updates_digest(self):
        view = self.set.call("Training", "updates")
        keys, digests = self.set.decode_output(
            view, self.machine.read(self.set.addresses["Training"], view.data)
        )
        heads, ordered = zip(
            *sorted((key >> 8, digest) for key, digest in zip(keys, digests, strict=True)), strict=True
        )
        return keccak(Arguments([{"type": "uint256[]"}, {"type": "bytes32[]"}]).encode([heads, ordered]))


@pytest.fixture(scope="module")
def stress():
    return Stress()


def test_the_largest_round_stays_within_every_gas_limit(stress):
    # pyrevm keeps slots warm over a round; on a network each of about 20 slots per update costs 2,000 more
    margin = 20 * MAX_UPDATES * 2_000
    for name, (used, limit) in stress.gas.items():
        assert limit <= MAX_GAS, name
        whole = name in ("judge", "settle")
        assert used + (margin if whole else 0) <= limit, (name, used, limit)
    # cold slots, the transaction itself and its calldata cost more on a network than pyrevm counts
    assert all(
        2 * stress.gas[name][0] <= stress.gas[name][1] for name in ("anchor", "release", "report_fork")
    )
    assert set(stress.gas) >= {
        "register",
        "record",
        "score",
        "judge",
        "vote",
        "settle",
        "transfer_many",
        "deposit",
    }
    assert set(stress.gas) >= {
        "publish",
        "join",
        "respond",
        "pay_order",
        "rotate",
        "admit_certified",
        "admit_attested",
        "trust_issuers",
    }


def test_contracts_are_small_enough_to_deploy_anywhere(stress):
    for name in NAMES:
        # creation code is larger than what stays on the chain
        assert len(load_artefact(name).bytecode) < CODE_LIMIT


def test_invalid_calls_that_need_more_gas_than_a_block_has():
    with pytest.raises(ValueError, match="send it in parts"):
        TASK_CHAIN.compute_gas_limit("register", 1000)


def test_addresses_follow_the_operator(stress):
    operator = stress.set.operator
    assert [stress.set.addresses[name] for name in CONTRACTS] == [
        compute_contract_address(operator, nonce) for nonce in range(len(CONTRACTS))
    ]
