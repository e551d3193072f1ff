"""The same calls on anvil, a node in a process of its own, and in the embedded engine: same events, state, head."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.ledger.conftest import Town
from tests.protocol.conftest import TOY, play_scenario
from tests.remote.conftest import Anvil, FakeTime, Site

from platoon.drivers.lossy import Faults, Network
from platoon.errors import HaltedError, UserError
from platoon.ledger.audit import audit
from platoon.ledger.engine import EmbeddedLedger
from platoon.ledger.node import Node, RefusedError
from platoon.ledger.rpc import RemoteLedger
from platoon.ledger.task_chain import Receipt, TaskChain
from platoon.nouns import Instant, seconds
from platoon.records.encoding import keccak
from platoon.records.signing import Account
from platoon.records.transactions import Call, sign_transaction
from platoon.scenario import Scenario

pytestmark = pytest.mark.anvil

StartAnvil = Callable[..., Anvil]


def views(chain: TaskChain) -> list[Call]:
    """Every view without arguments, and those over the fleet."""
    call, fleet = chain.ledger.contracts.call, list(chain.vehicles)
    names = ("round", "phase", "model", "final", "seats", "updates", "parameters")
    return [
        *(call("Training", name) for name in names),
        call("Registry", "members"),
        call("Escrow", "available"),
        call("Training", "reputations", fleet),
        call("Token", "balances", fleet),
        call("Token", "balanceOf", chain.ledger.contracts.addresses["Sealing"]),
        call("Checkpoint", "tips", [tip.edge_server for tip in chain.local_tips()]),
        *(call("Checkpoint", "anchored", tip.edge_server, 1) for tip in chain.local_tips()),
    ]


def state(chain: TaskChain) -> list[object]:
    return [chain.ledger.read(view) for view in views(chain)]


def chain_state(chain: TaskChain) -> list[object]:
    """What the node itself says."""
    assert isinstance(chain.ledger, RemoteLedger)
    return [chain.ledger.read_chain(view) for view in views(chain)]


@pytest.mark.parametrize("network", [Network(), Network(seed=1, drop=0.3, repeat=0.3, delay=seconds(1.0))])
def test_a_whole_task(start_anvil: StartAnvil, tmp_path: Path, network: Network) -> None:
    """A toy task to its end, on a perfect and on a lossy network of participants."""
    anvil, scenario = start_anvil(), Scenario.from_table(TOY)
    embedded = play_scenario(scenario, tmp_path / "embedded.sqlite", network, Faults(), 2.0)
    remote = play_scenario(
        scenario, tmp_path / "remote.sqlite", network, Faults(), 2.0, connect=anvil.connect
    )
    assert remote.reason == embedded.reason == "all rounds played"
    assert remote.agreed == embedded.agreed
    assert remote.chain.head == embedded.chain.head
    assert list(remote.chain.ledger.blocks()) == list(embedded.chain.ledger.blocks())
    assert chain_state(remote.chain) == state(embedded.chain)
    assert list(audit(tmp_path / "remote.sqlite")) == list(audit(tmp_path / "embedded.sqlite"))


def node_reason(town: Town, anvil: Anvil, sender: Account, call: Call) -> str:
    """Why the node itself would reject a call: its own EVM's words."""
    web3 = Node.at(anvil.url)._web3
    assert call.to is not None
    query = {"from": sender.address, "to": call.to, "data": call.data, "gas": call.gas}
    try:
        web3.eth.call(query)
    except Exception as error:
        return str(getattr(error, "message", error)).removeprefix("execution reverted: ")
    return ""


def refused_calls(town: Town) -> list[tuple[Account, Call]]:
    """One call for each of many reasons to reject."""
    calls, call, server = town.chain.calls, town.chain.ledger.contracts.call, town.servers[0]
    strange = town.update(0).__class__(**{**fields_of(town.update(0)), "samples": 301})
    return [
        (town.stranger, calls.record(1, [])),
        (server, calls.record(2, [])),
        (server, calls.record(1, [strange])),
        (server, calls.judge(1)),
        (server, calls.settle(1)),
        (server, calls.vote(1, town.update(0).digest)),
        (server, calls.commit_probe(town.update(0).digest)),
        (town.stranger, calls.close()),
        (town.publisher, calls.withdraw()),
        (town.stranger, call("Registry", "revoke", server.address)),
        (town.operator, call("Token", "mint", town.operator.address, 1)),
        (town.stranger, call("Escrow", "fund", 1)),
        (town.stranger, call("Token", "transfer", server.address, 1)),
        (town.operator, call("Registry", "register", 2, [town.vehicles[0].address])),
        (server, call("Training", "score", 1, town.update(0).digest, [2**256 - 1])),
    ]


def fields_of(update: object) -> dict[str, object]:
    return {name: getattr(update, name) for name in type(update).__slots__}  # type: ignore[attr-defined]


def without_gas(receipts: Sequence[Receipt]) -> list[Receipt]:
    return [receipt._replace(gas=0) for receipt in receipts]


def test_every_rejection_has_the_same_words(start_anvil: StartAnvil, tmp_path: Path) -> None:
    anvil = start_anvil()
    towns = [Town(make(tmp_path, "embedded")), Town(make(tmp_path, "remote"), connect=anvil.connect)]
    for sender, call in refused_calls(towns[0]):
        said = node_reason(towns[1], anvil, sender, call)
        receipts = [town.send(sender, call) for town in towns]
        assert without_gas(receipts[:1]) == without_gas(receipts[1:])
        assert not receipts[0].ok
        assert receipts[0].error in (said, "reverted")
        assert receipts[0].error != "reverted" or said == "execution reverted"
        assert towns[0].chain.head == towns[1].chain.head
    towns[1].chain.commit("here")
    assert chain_state(towns[1].chain) == state(towns[0].chain)


def make(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def test_gas_limits_suffice_on_a_network(start_anvil: StartAnvil, tmp_path: Path) -> None:
    """The embedded engine's gas is a lower bound; a full round of many edge servers and vehicles fits the limits
    of its calls also where every slot is cold and calldata is paid for."""
    anvil = start_anvil(7400, "--gas-limit", "60000000")
    town = Town(tmp_path, servers=10, fleet=300, connect=anvil.connect)
    town.play(dict.fromkeys(range(60), 900_000))
    assert chain_state(town.chain) == state(town.chain)


def test_a_signature_for_one_chain_means_nothing_on_another(start_anvil: StartAnvil, tmp_path: Path) -> None:
    """Two chains with the same participants and contracts: only the chain id tells them apart."""
    here = Town(make(tmp_path, "here"), chain_id=7401, connect=start_anvil(7401).connect)
    away = start_anvil(7402)
    there = Town(make(tmp_path, "there"), chain_id=7402, connect=away.connect)
    assert here.chain.ledger.contracts.addresses == there.chain.ledger.contracts.addresses
    assert here.chain.task != there.chain.task
    update = here.update(0)
    # A vehicle's update: recorded where it was signed for, refused by the other chain's contract.
    raw = here.chain.sign(here.servers[0], here.chain.calls.record(1, [update]))
    stolen = there.record(0, update)
    assert (stolen.ok, stolen.error) == (False, "bad signature")
    # An edge server's transaction: not admitted, and the other node does not take its bytes either.
    (receipt,) = there.chain.submit([raw], round=1, at=Instant(9))
    assert (receipt.logged, receipt.error) == (False, "chain id 7401, this chain is 7402")
    with pytest.raises(RefusedError):
        Node.at(away.url).send(raw)
    (receipt,) = here.chain.submit([raw], round=1, at=Instant(9))
    assert receipt.ok


def test_a_restarted_node_with_its_state_goes_on(start_anvil: StartAnvil, tmp_path: Path) -> None:
    """Stopped and started again at the same address with the same state, in the middle of a task."""
    kept = ("--state", str(tmp_path / "state.json"))
    anvil = start_anvil(7400, *kept)
    town, twin = Town(make(tmp_path, "remote"), connect=anvil.connect), Town(make(tmp_path, "embedded"))
    town.play({0: 900_000})
    anvil.stop()
    start_anvil(7400, *kept, port=anvil.port)
    town.play({1: 900_000})
    town.reopen()
    town.play({2: 900_000})
    for scores in ({0: 900_000}, {1: 900_000}, {2: 900_000}):
        twin.play(scores)
    assert town.chain.head == twin.chain.head
    assert chain_state(town.chain) == state(twin.chain)


def test_a_restarted_node_without_its_state_halts(start_anvil: StartAnvil, tmp_path: Path) -> None:
    anvil = start_anvil()
    town = Town(tmp_path, connect=anvil.connect)
    anvil.stop()
    start_anvil(port=anvil.port)
    with pytest.raises(HaltedError, match="lost its state"):
        town.record(0)
    with pytest.raises(HaltedError, match="lost its state"):
        town.reopen()


def test_a_node_that_is_not_there(start_anvil: StartAnvil, tmp_path: Path) -> None:
    anvil = start_anvil()
    anvil.stop()
    with pytest.raises(UserError, match=f"waiting for the node at {anvil.url} .*refused"):
        anvil.courier(FakeTime()).greet(7400)


def test_a_reorganisation_of_a_node(start_anvil: StartAnvil, tmp_path: Path) -> None:
    """A real re-organisation: the node drops its last blocks, and what was in them is brought back."""
    anvil = start_anvil()
    town, twin = Town(make(tmp_path, "remote"), connect=anvil.connect), Town(make(tmp_path, "embedded"))
    for place in (town, twin):
        place.record_all([0, 1])
    provider = Node.at(anvil.url)._web3.provider
    answer = provider.make_request("anvil_reorg", [2, []])  # type: ignore[arg-type]
    assert "error" not in answer
    town.chain.commit("here")
    twin.chain.commit("here")
    assert town.chain.head == twin.chain.head
    assert chain_state(town.chain) == state(twin.chain)


def test_the_fake_chain_behaves_as_anvil(start_anvil: StartAnvil, tmp_path: Path, site: Site) -> None:
    """The double that the timelines stand on: same receipts, nonces and refusals as the real node."""
    anvil, nodes = start_anvil(), []
    for name, connect in (("fake", site.connect), ("anvil", anvil.connect)):
        town = Town(make(tmp_path, name), connect=connect)
        town.play({0: 900_000})
        nodes.append(town)
    raws = [raw for block in nodes[0].chain.ledger.blocks() for raw in block.transactions]
    fake, real = site.courier().node, Node.at(anvil.url)
    account = nodes[0].servers[0].address
    assert fake.nonce(account) == real.nonce(account)
    used = sign_transaction(nodes[0].servers[0], nodes[0].chain.calls.judge(1), nonce=0, chain_id=7400)
    for node in (fake, real):
        with pytest.raises(RefusedError, match="nonce too low"):
            node.send(used)
    for raw in raws:
        ours, theirs = (node.receipt(keccak(raw)) for node in (fake, real))
        assert ours is not None
        assert theirs is not None
        assert (ours.ok, ours.logs) == (theirs.ok, theirs.logs)


def test_the_mirror_alone_replays(start_anvil: StartAnvil, tmp_path: Path) -> None:
    """The log of a remote task opens without the network, as any log does."""
    town = Town(tmp_path, connect=start_anvil().connect)
    town.play({0: 900_000})
    head = town.chain.head
    town.chain.close()
    assert EmbeddedLedger.open(tmp_path / "ledger.sqlite").head == head
