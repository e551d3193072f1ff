"""The contracts in the EVM and the reference in plain integers say the same to arbitrary calls.

Hypothesis drives every public function of all contracts, mostly with arguments that fit the state, and else
with arbitrary ones. Whatever comes: no crash, the same events or the same reason, nothing changed by a rejected
call, and no token made or lost.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platoon.ledger.agreement_calls import AgreementCalls
from platoon.ledger.contracts import CONTRACTS, ContractSet, load_artefact
from platoon.ledger.evm import Machine
from platoon.ledger.membership import Membership
from platoon.ledger.model import Model, write_committee, write_rules
from platoon.ledger.model_registry import RETIRED, Rejected
from platoon.ledger.model_training import Phase
from platoon.nouns import Digest, Instant
from platoon.records.agreements import (
    Opinion,
    Signed,
    TaskRequest,
    TaskResponse,
    sign_agreement,
)
from platoon.records.agreements import Payment as Order
from platoon.records.certificates import issue_certificate
from platoon.records.committee import CommitteeRules
from platoon.records.identity import sign_rotation
from platoon.records.lanes import pack_scores
from platoon.records.rules import MAX_SEVERITY, MAX_TOKENS, Payment, Rule, Rules, WeightRule
from platoon.records.signing import sign_update, simulated_account

CHAIN_ID = 7400
OPERATOR = simulated_account(2, "operator", 0)
PUBLISHER = simulated_account(2, "publisher", 0)
SERVERS = [simulated_account(2, "edge server", i) for i in range(4)]
VEHICLES = [simulated_account(2, "vehicle", i) for i in range(4)]
STRANGER = simulated_account(2, "stranger", 0)
SPARES = [simulated_account(2, "spare", i) for i in range(3)]
"""Pseudonyms to come."""
ISSUERS = [simulated_account(2, "issuer", i) for i in range(2)]
EVERYBODY = [OPERATOR, PUBLISHER, *SERVERS, *VEHICLES, STRANGER, *SPARES]
HOME = Digest(b"\x0a" * 32)
"""The task that certificates come from."""
FLEET = [account.address for account in (*VEHICLES, *SPARES)]
SET = ContractSet(OPERATOR.address)
SUPPLY = 1_000_000
ATTESTED = 620_000
FLAG_PENALTY = 300_000
COMMITTEE = CommitteeRules(reward=1_000)
STAKE = 999

ppm = st.integers(0, 1_000_000) | st.sampled_from([0, 1, 400_000, 500_000, 1_000_000])
tokens = st.integers(0, 10_000) | st.sampled_from([0, 1, SUPPLY, MAX_TOKENS])
words = st.integers(0, 2**256 - 1) | st.integers(0, 3)
digests = st.integers(0, 3).map(lambda i: Digest(bytes([i]) * 32))
accounts = st.sampled_from([*(account.address for account in EVERYBODY), *SET.addresses.values(), bytes(20)])
rules = st.builds(
    Rules,
    rule=st.sampled_from(Rule),
    weights=st.sampled_from([WeightRule.TRUST, WeightRule.VERDICT]),
    payment=st.sampled_from(Payment),
    beta=ppm,
    rho_min=ppm,
    start=ppm.filter(bool),
    threshold=st.integers(-1_000_000, 1_000_000),
    penalty=ppm,
    severity=st.integers(0, MAX_SEVERITY),
    memory=ppm,
    prior=st.integers(1, 10_000_000),
    pool=tokens,
    base=tokens,
    bonus=tokens,
    mean_tolerance=st.integers(0, 2_000_000),
    single_tolerance=st.integers(0, 2_000_000),
)


class Pair:
    """A machine with the contracts, and the model, set up alike."""

    def __init__(
        self,
        rules: Rules,
        bound: bytes = SET.addresses["Training"],
        committee: CommitteeRules = COMMITTEE,
        share: int = 300_000,
    ) -> None:
        at = SET.addresses
        constructors: list[tuple[Any, ...]] = [
            (),
            (),
            (at["Registry"], at["Token"], PUBLISHER.address),
            (
                at["Registry"],
                at["Escrow"],
                at["Stakes"],
                at["Plausibility"],
                PUBLISHER.address,
                b"\x01" * 32,
                write_rules(rules),
            ),
            (at["Registry"], at["Training"], write_committee(committee)),
            (at["Registry"], at["Token"], at["Checkpoint"], PUBLISHER.address, committee.reward),
            (at["Registry"], at["Token"], at["Escrow"], at["Training"], share),
            (at["Registry"], at["Training"], ATTESTED),
            (at["Registry"], at["Training"], FLAG_PENALTY),
            (at["Registry"], at["Token"], at["Escrow"], at["Sealing"], PUBLISHER.address),
        ]
        self.machine = Machine(CHAIN_ID)
        for i, arguments in enumerate(constructors):
            call = SET.deployment(i, arguments)
            assert self.machine.execute(OPERATOR.address, None, call.data, call.gas).ok
        self.model = Model(SET, CHAIN_ID, constructors)
        self.both(OPERATOR, "Registry", "register", 1, [server.address for server in SERVERS])
        self.both(OPERATOR, "Registry", "register", 2, [vehicle.address for vehicle in VEHICLES])
        self.both(OPERATOR, "Registry", "register", 3, [PUBLISHER.address])
        self.both(OPERATOR, "Token", "mint", PUBLISHER.address, SUPPLY)
        self.both(OPERATOR, "Escrow", "bind", bound)
        self.both(OPERATOR, "Registry", "bind", at["Admission"])
        self.both(OPERATOR, "Admission", "trust_issuers", HOME, [ISSUERS[0].address])
        self.both(PUBLISHER, "Token", "approve", at["Agreements"], SUPPLY // 2)
        self.both(PUBLISHER, "Token", "approve", at["Escrow"], SUPPLY)
        self.both(PUBLISHER, "Escrow", "fund", SUPPLY // 10)
        for server in SERVERS:
            self.both(server, "Training", "commit_probe", b"\x07" * 32)
        for server in SERVERS[:3]:  # the last one has nothing at stake
            self.both(OPERATOR, "Token", "mint", server.address, STAKE)
            self.both(server, "Token", "approve", at["Stakes"], STAKE)
            self.both(server, "Stakes", "deposit", STAKE)

    def both(self, account: Any, contract: str, name: str, *arguments: Any) -> bool:
        """One call to both; whether it went through."""
        call = SET.call(contract, name, *arguments)
        before = self.read()
        execution = self.machine.execute(account.address, SET.addresses[contract], call.data, call.gas)
        outcome = self.model.apply(account.address, contract, name, arguments)
        assert (execution.ok, execution.error) == (outcome.ok, outcome.error), (contract, name, arguments)
        assert tuple(SET.decode_log(log) for log in execution.logs) == outcome.events
        after = self.read()
        assert execution.ok or after == before
        self.compare(after)
        return execution.ok

    def view(self, contract: str, name: str, *arguments: Any) -> Any:
        """What a view returns."""
        call = SET.call(contract, name, *arguments)
        values = SET.decode_output(call, self.machine.read(SET.addresses[contract], call.data))
        return values[0] if len(values) == 1 else values

    def read(self) -> dict[str, Any]:
        """What the contracts say of their state."""
        holders = [*(account.address for account in EVERYBODY), *SET.addresses.values()]
        plain = ("round", "phase", "model", "closed", "final", "seats", "updates")
        return {
            "balances": self.view("Token", "balances", holders),
            "stakes": self.view("Stakes", "stakes", [server.address for server in SERVERS]),
            "reputations": self.view("Training", "reputations", FLEET),
            "cases": [
                self.view("Plausibility", "case", number)
                for number in range(1, self.view("Plausibility", "cases") + 1)
            ],
            "admission": [
                (
                    self.view("Admission", "trust", issuer.address),
                    self.view("Admission", "is_used", issuer.address, 1),
                )
                for issuer in ISSUERS
            ],
            "agreed": [self.view("Agreements", name) for name in ("request", "spent", "responses", "joined")],
            "answered": self.view("Agreements", "answered", range(1, 9)),
            "members": self.view("Registry", "members"),
            "tips": self.view("Checkpoint", "tips", [server.address for server in SERVERS]),
            "forked": [self.view("Checkpoint", "forked", server.address) for server in SERVERS],
            "roles": [self.view("Registry", "role", account.address) for account in EVERYBODY],
            **{name: self.view("Training", name) for name in plain},
        }

    def compare(self, said: dict[str, Any]) -> None:
        """The contracts' state is the model's, and every token is somewhere."""
        model, training = self.model, self.model.training
        holders = [*(account.address for account in EVERYBODY), *SET.addresses.values()]
        assert said["balances"] == tuple(model.token.balance(holder) for holder in holders)
        assert sum(said["balances"]) == model.token.supply == self.view("Token", "totalSupply")
        assert said["stakes"] == tuple(model.stakes.left.get(server.address, 0) for server in SERVERS)
        assert sum(said["stakes"]) <= model.token.balance(SET.addresses["Stakes"])
        retired = {account for account, role in model.registry.roles.items() if role == RETIRED}
        assert said["reputations"] == tuple(
            training.rules.start if account in retired else training.reputation(account) for account in FLEET
        )
        assert said["cases"] == [
            (
                case.status,
                case.round,
                case.kind,
                tuple((v + 1) << 32 | taken for v, taken in zip(case.vehicles, case.taken, strict=True)),
            )
            for case in model.plausibility.cases
        ]
        assert said["admission"] == [
            (model.admission.trust.get(issuer.address, 0), (issuer.address, 1) in model.admission.used)
            for issuer in ISSUERS
        ]
        assert said["roles"] == [model.registry.roles.get(account.address, 0) for account in EVERYBODY]
        assert (said["round"], said["phase"]) == (training.open.round, training.open.phase)
        assert (said["final"], said["closed"]) == (training.open.final, training.closed)
        assert said["model"] == (training.open.model or training.model)
        self.compare_local_chains(said)
        agreements, seats = model.agreements, model.registry.seats
        assert said["agreed"] == [
            agreements.request or bytes(32),
            agreements.spent,
            len(agreements.answered),
            sum(1 << seats[server] for server in agreements.joined),
        ]
        assert said["answered"] == tuple(number in agreements.answered for number in range(8))

    def compare_local_chains(self, said: dict[str, Any]) -> None:
        """The tips of the local chains are the model's."""
        checkpoint = self.model.checkpoint
        assert said["forked"] == [checkpoint.is_forked(server.address) for server in SERVERS]
        for server, tip in zip(SERVERS, said["tips"], strict=True):
            kept = checkpoint.kept.get(server.address, {})
            unsealed = sum(not checkpoint.is_sealed(server.address, number) for number in kept)
            newest = checkpoint.newest.get(server.address)
            digest = newest.block.digest if newest else bytes(32)
            assert tip == (len(kept), max(kept, default=0), unsealed, digest)


@st.composite
def arbitrary_calls(draw: st.DrawFn) -> tuple[str, str, tuple[Any, ...]]:
    """Any public function with any arguments of the right types."""
    by_type = {
        "uint256": words,
        "bool": st.booleans(),
        "int256": st.integers(-(2**255), 2**255 - 1),
        "address": accounts,
        "bytes32": digests,
    }
    functions = [
        function
        for name in CONTRACTS
        for function in load_artefact(name).functions.values()
        if not function.is_view
    ]
    function = draw(st.sampled_from(sorted(functions, key=lambda f: (f.contract, f.name))))
    arguments = []
    for codec in function.inputs.codecs:
        element = codec.signature.removesuffix("[]")
        if element.startswith("("):
            value = st.tuples(*(by_type[part] for part in element[1:-1].split(",")))
        else:
            value = by_type[element]
        arguments.append(draw(st.lists(value, max_size=3) if codec.is_array else value))
    return function.contract, function.name, tuple(arguments)


@st.composite
def fitting_calls(draw: st.DrawFn, pair: Pair) -> tuple[Any, str, str, tuple[Any, ...]]:
    """A call that the state could take: mostly what comes next in the round, now and then something beside it."""
    training = pair.model.training
    number, server = training.open.round, draw(st.sampled_from(SERVERS))
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.one_of(
                st.tuples(st.just(OPERATOR), st.just("Registry"), st.just("revoke"), st.tuples(accounts)),
                st.tuples(st.just(PUBLISHER), st.just("Escrow"), st.just("fund"), st.tuples(tokens)),
                st.tuples(
                    st.sampled_from(EVERYBODY),
                    st.just("Token"),
                    st.just("transfer"),
                    st.tuples(accounts, tokens),
                ),
                st.just((PUBLISHER, "Training", "close", ())),
            )
        )
    if draw(st.integers(0, 4)) == 0:
        return draw(membership_calls(pair, server))
    if draw(st.integers(0, 2)) == 0:
        return draw(plausibility_calls(pair, server))
    if draw(st.integers(0, 3)) == 0:
        return draw(agreement_calls(pair, server))
    step = draw(st.sampled_from(STEPS[training.open.phase]))
    arguments: list[Any] = [number]
    if step == "record":
        arguments.append(draw(records(training.task, number)))
    elif step == "score":
        values = [draw(st.integers(-1_000_000, 1_000_000)) for _ in training.open.updates]
        words = pack_scores(values, draw(ppm))
        if draw(st.integers(0, 9)) == 0:  # any bit of any lane, and now and then a word too many or too few
            words[draw(st.integers(0, len(words) - 1))] ^= 1 << draw(st.integers(0, 255))
            words = draw(st.sampled_from([words, words[1:], [*words, 0]]))
        arguments += [read_updates_digest(training), words]
    elif step == "vote":
        arguments.append(Digest(bytes([draw(st.sampled_from([2, 2, 2, 3]))]) * 32))
    return server, "Training", step, tuple(arguments)


@st.composite
def plausibility_calls(draw: st.DrawFn, pair: Pair, server: Any) -> tuple[Any, str, str, tuple[Any, ...]]:
    """Allegations, appeals and second judgements: mostly of the same few vehicles, so that majorities form."""
    fleet = [*VEHICLES, *SPARES]
    step = draw(st.sampled_from(["report", "report", "appeal", "review", "review"]))
    number = draw(st.integers(1, max(len(pair.model.plausibility.cases), 1)))
    if step == "appeal":
        return draw(st.sampled_from(fleet)), "Plausibility", step, (number,)
    measures = (draw(st.integers(0, 50)), draw(ppm), draw(digests))
    if step == "review":
        return server, "Plausibility", step, (number, draw(st.booleans()), *measures)
    members = draw(st.sampled_from([fleet[:2], fleet[:2], fleet[1:4], [VEHICLES[0], STRANGER], fleet[:1]]))
    accused = sorted(account.address for account in members)
    round_number = pair.model.training.open.round
    return (
        server,
        "Plausibility",
        step,
        (round_number, draw(st.sampled_from([1, 1, 2, 3])), accused, *measures),
    )


@st.composite
def membership_calls(draw: st.DrawFn, pair: Pair, server: Any) -> tuple[Any, str, str, tuple[Any, ...]]:
    """New pseudonyms, certificates, attestations: mostly genuine."""
    fleet = st.sampled_from([*VEHICLES, *SPARES])
    kind = draw(st.sampled_from(["rotate", "admit_certified", "admit_attested", "distrust"]))
    if kind == "rotate":
        separator = pair.model.registry.separator
        pairs = draw(
            st.lists(
                st.tuples(fleet, st.sampled_from([*SPARES, STRANGER])),
                max_size=3,
                unique_by=lambda p: p[0].address,
            )
        )
        rotations = [sign_rotation(separator, retired=old, renewed=new) for old, new in pairs]
        call = Membership(contracts=SET).rotate(rotations)
        return server, "Registry", "rotate", SET.decode_call(call)[1]
    if kind == "admit_certified":
        issuer = draw(st.sampled_from(ISSUERS))
        certificate = issue_certificate(
            issuer,
            draw(st.sampled_from([HOME, HOME, Digest(b"\x0b" * 32)])),
            vehicle=draw(fleet).address,
            reputation=draw(ppm),
            round=3,
            expiry=Instant(draw(st.integers(0, 9))),
            serial=draw(st.integers(0, 2)),
        )
        call = Membership(contracts=SET).admit_certified(Instant(draw(st.integers(0, 9))), certificate)
        return server, "Admission", kind, SET.decode_call(call)[1]
    if kind == "admit_attested":
        vehicles = draw(st.lists(fleet.map(lambda account: account.address), max_size=2))
        return server, "Admission", kind, (draw(st.integers(0, 9)), vehicles)
    return OPERATOR, "Admission", kind, (ISSUERS[0].address,)


@st.composite
def agreement_calls(draw: st.DrawFn, pair: Pair, server: Any) -> tuple[Any, str, str, tuple[Any, ...]]:
    """Requests, responses, orders of payment: mostly genuine, and mostly of what is open."""
    separator, calls = pair.model.registry.separator, AgreementCalls(contracts=SET)
    asked = TaskRequest(
        publisher=PUBLISHER.address,
        content=Digest(b"\x07" * 32),
        vehicles=draw(st.integers(0, 3)),
        samples=draw(st.sampled_from([0, 1])),
        cycles=1,
        deadline=Instant(draw(st.integers(5, 9))),
        budget=draw(tokens),
        serial=draw(st.integers(0, 2)),
    )
    name = pair.model.agreements.request or draw(digests)
    at = Instant(draw(st.integers(0, 9)))

    def sign(author: Any, agreement: Any) -> Any:
        forger = draw(st.sampled_from([author] * 7 + [STRANGER]))
        return Signed(agreement=agreement, signature=sign_agreement(forger, separator, agreement))

    kind = draw(st.sampled_from(["publish", "join", "respond", "pay"]))
    if kind == "publish":
        made = calls.publish(at, sign(PUBLISHER, asked))
    elif kind == "join":
        made = calls.join(at, name)
    elif kind == "respond":
        fleet = draw(st.lists(st.sampled_from([*VEHICLES, *SPARES, STRANGER]), max_size=3))
        made = calls.respond(at, [sign(vehicle, draw(responses(name, vehicle))) for vehicle in fleet])
        made = made[0] if made else SET.call("Agreements", "respond", at, [], [])
    else:
        order = Order(
            request=name,
            payer=PUBLISHER.address,
            receiver=draw(accounts),
            amount=draw(tokens),
            round=draw(st.integers(0, 3)),
            serial=draw(st.integers(0, 4)),
        )
        made = calls.pay_order(at, sign(PUBLISHER, order))
    return server, "Agreements", SET.decode_call(made)[0].name, SET.decode_call(made)[1]


@st.composite
def responses(draw: st.DrawFn, name: Digest, vehicle: Any) -> TaskResponse:
    """What a vehicle may answer, in order or not."""
    opinion = st.builds(Opinion, subject=accounts, reputation=ppm)
    opinions = draw(st.lists(opinion, max_size=5))
    if draw(st.booleans()):
        opinions = sorted({each.subject: each for each in opinions}.values(), key=lambda each: each.subject)
    return TaskResponse(
        request=name,
        vehicle=vehicle.address,
        clock=1,
        samples=draw(st.integers(0, 2)),
        rate=1,
        opinions=tuple(opinions),
    )


STEPS = {
    Phase.RECORDING: ["record", "record", "record", "score", "judge"],
    Phase.SCORING: ["score", "score", "judge"],
    Phase.JUDGED: ["vote", "vote", "settle"],
}


def read_updates_digest(training: Any) -> Digest:
    """What a score must name: the digest of the set that it would close, or has closed."""
    try:
        return training._close_recording()[1].updates_digest
    except Rejected:
        return Digest(bytes(32))


@st.composite
def records(draw: st.DrawFn, task: Digest, number: int) -> list[tuple[Any, ...]]:
    """Genuine updates of some vehicles (and of a stranger), ascending by address."""
    known = st.sampled_from([*VEHICLES, *SPARES, STRANGER])
    chosen = draw(st.lists(known, unique_by=lambda a: a.address, max_size=4))
    entries = []
    for account in sorted(chosen, key=lambda a: a.address):
        samples = draw(st.sampled_from([1, 300, 2**32 - 1]))
        update = sign_update(account, task, round=number, digest=draw(digests), samples=samples)
        r, s = (int.from_bytes(update.signature[i : i + 32], "big") for i in (0, 32))
        entries.append((update.vehicle, update.digest, samples, update.signature[64], r, s))
    return entries


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(rules=rules, data=st.data())
def test_contracts_and_model_agree_on_whatever_is_called(rules, data):
    pair = Pair(rules)
    for _ in range(data.draw(st.integers(5, 40))):
        if data.draw(st.integers(0, 3)) == 0:
            contract, name, arguments = data.draw(arbitrary_calls())
            pair.both(data.draw(st.sampled_from(EVERYBODY)), contract, name, *arguments)
        else:
            account, contract, name, arguments = data.draw(fitting_calls(pair))
            pair.both(account, contract, name, *arguments)


@settings(max_examples=25, deadline=None)
@given(rules=rules, data=st.data())
def test_contracts_and_model_agree_over_whole_rounds(rules, data):
    pair = Pair(rules, share=data.draw(ppm))
    for number in range(1, data.draw(st.integers(2, 4))):
        entries = data.draw(records(pair.model.training.task, number))
        assert pair.both(SERVERS[0], "Training", "record", number, entries)
        for server in SERVERS[1:]:
            assert pair.both(server, "Training", "record", number, [])
        known = pair.model.training.open.updates
        if rules.rule is not Rule.NONE and known:
            _, closed = pair.model.training._close_recording()
            for server in SERVERS[: data.draw(st.integers(3, 4))]:
                values = [data.draw(st.integers(-1_000_000, 1_000_000)) for _ in known]
                words = pack_scores(values, data.draw(ppm))
                pair.both(server, "Training", "score", number, closed.updates_digest, words)
        assert pair.both(SERVERS[0], "Training", "judge", number)
        for server in SERVERS[: data.draw(st.integers(3, 4))]:
            pair.both(server, "Training", "vote", number, b"\x02" * 32)
        pair.both(SERVERS[3], "Training", "vote", number, data.draw(digests))
        assert pair.both(SERVERS[0], "Training", "settle", number)


SEALS = [(27, 1, 1)] * 8
FORK = (SERVERS[0].address, 1, 1, bytes(32), bytes(32), 0)
OFFER = bytes(32)
CLAIM = (VEHICLES[0].address, bytes(32), 1, 0, 0)


def answers(fleet: list[bytes]) -> list[tuple[Any, ...]]:
    return [(vehicle, 1, 1, 1, 0, 27, 1, 1) for vehicle in fleet]


LONG = [
    ("Registry", "register", lambda accounts: (2, accounts), 256),
    ("Registry", "rotate", lambda accounts: ([(a, a, 27, 1, 1, 27, 1, 1) for a in accounts],), 128),
    ("Admission", "trust_issuers", lambda accounts: (HOME, accounts), 64),
    ("Admission", "admit_attested", lambda accounts: (1, accounts), 256),
    ("Token", "transfer_many", lambda accounts: (accounts, [0] * len(accounts)), 128),
    ("Escrow", "pay", lambda accounts: (accounts, [0] * len(accounts)), 128),
    ("Agreements", "respond", lambda accounts: (1, [(OFFER, *a) for a in answers(accounts)], []), 128),
    ("Agreements", "respond", lambda accounts: (1, [], [(a, 1) for a in accounts]), 512),
    ("Training", "score", lambda accounts: (1, bytes(32), [0] * len(accounts)), 17),
    ("Training", "record", lambda accounts: (1, [(a, bytes(32), 1, 27, 1, 1) for a in accounts]), 128),
    ("Plausibility", "report", lambda accounts: (1, 1, accounts, 0, 0, bytes(32)), 64),
    ("Checkpoint", "anchor", lambda accounts: (1, 1, bytes(32), bytes(32), 0, accounts, []), 7),
    ("Checkpoint", "anchor", lambda accounts: (1, 1, bytes(32), bytes(32), 0, [], SEALS[: len(accounts)]), 7),
    ("Checkpoint", "report_fork", lambda accounts: (*FORK, SEALS[: len(accounts)]), 7),
    ("Sealing", "release", lambda accounts: (SERVERS[0].address, 1, accounts, [], []), 7),
    ("Sealing", "release", lambda accounts: (SERVERS[0].address, 1, [], [CLAIM] * len(accounts), []), 6),
    (
        "Sealing",
        "release",
        lambda accounts: (SERVERS[0].address, 1, [], [], [bytes(32)] * len(accounts)),
        42,
    ),
]


@pytest.mark.parametrize(("contract", "name", "arguments", "bound"), LONG)
def test_contracts_and_model_agree_at_the_bounds_of_every_array(contract, name, arguments, bound):
    pair = Pair(Rules())
    accounts_ = [(10**9 + i).to_bytes(20, "big") for i in range(bound + 1)]
    for sender in (OPERATOR, PUBLISHER, SERVERS[0]):
        pair.both(sender, contract, name, *arguments(accounts_[:bound]))
        assert not pair.both(sender, contract, name, *arguments(accounts_))


def test_contracts_and_model_agree_on_an_escrow_bound_to_nobody():
    # a payment then fails as a whole, and with it the settlement; the publisher's tokens stay where they are
    pair = Pair(Rules(rule=Rule.NONE, pool=100), bound=STRANGER.address)
    entry = sign_update(
        VEHICLES[0], pair.model.training.task, round=1, digest=Digest(b"\x01" * 32), samples=1
    )
    r, s = (int.from_bytes(entry.signature[i : i + 32], "big") for i in (0, 32))
    record = [(entry.vehicle, entry.digest, 1, entry.signature[64], r, s)]
    for i, server in enumerate(SERVERS):
        pair.both(server, "Training", "record", 1, record if i == 0 else [])
    assert pair.both(SERVERS[0], "Training", "judge", 1)
    for server in SERVERS:
        assert pair.both(server, "Training", "vote", 1, b"\x02" * 32)
    assert not pair.both(SERVERS[0], "Training", "settle", 1)
    assert not pair.both(PUBLISHER, "Escrow", "withdraw")


def sign_entries(pair: Pair, fleet: list[Any]) -> list[tuple[Any, ...]]:
    entries = []
    for account in sorted(fleet, key=lambda account: account.address):
        update = sign_update(
            account, pair.model.training.task, round=1, digest=Digest(b"\x01" * 32), samples=1
        )
        r, s = (int.from_bytes(update.signature[i : i + 32], "big") for i in (0, 32))
        entries.append((update.vehicle, update.digest, 1, update.signature[64], r, s))
    return entries


def test_contracts_and_model_agree_on_a_full_round():
    pair = Pair(Rules())
    fleet = [simulated_account(4, "vehicle", i) for i in range(130)]
    entries = sign_entries(pair, fleet)
    assert pair.both(OPERATOR, "Registry", "register", 2, [entry[0] for entry in entries])
    assert pair.both(SERVERS[0], "Training", "record", 1, entries[:128])
    assert pair.both(SERVERS[1], "Training", "record", 1, entries[127:])
    assert len(pair.model.training.open.updates) == 128


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 16, 31, 33, 127, 128])
def test_contracts_and_model_agree_on_the_order_of_updates(count):
    # dealt in turns, the last edge server first: no run of the recorded order is longer than a share
    pair = Pair(Rules())
    entries = sign_entries(pair, [simulated_account(4, "vehicle", i) for i in range(count)])
    assert pair.both(OPERATOR, "Registry", "register", 2, [entry[0] for entry in entries])
    for i in (3, 1, 0, 2):
        assert pair.both(SERVERS[i], "Training", "record", 1, entries[i::4])
    for i in range(3):
        words = pack_scores([(7 * j + i) % 1000 for j in range(count)], 1_000_000)
        digest = read_updates_digest(pair.model.training)
        assert pair.both(SERVERS[i], "Training", "score", 1, digest, words)
    assert pair.both(SERVERS[0], "Training", "judge", 1)
    assert pair.model.training.open.updates.keys() == {entry[0] for entry in entries}
