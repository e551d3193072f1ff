"""The genesis that docs/besu.md has operators make, as far as it can be held to anything without Besu."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ledger.conftest import Town
from tests.remote.conftest import Anvil

from platoon.ledger.node import Node, RefusedError
from platoon.nouns import Address
from platoon.records.abi import Arguments, compute_selector
from platoon.records.encoding import keccak
from platoon.records.signing import simulated_account
from platoon.records.transactions import Call, sign_transaction

pytestmark = pytest.mark.anvil

SCRIPT = Path(__file__).parents[2] / "docs" / "besu" / "make_genesis.py"
CONTRACT = Address(bytes.fromhex("0000000000000000000000000000000000007777"))
LIST = Arguments([{"type": "address[]"}])


@pytest.fixture
def genesis(tmp_path: Path) -> Path:
    addresses = [f"0x{validator.address.hex()}" for validator in VALIDATORS]
    made = subprocess.run([sys.executable, str(SCRIPT), *addresses], capture_output=True, check=True)
    (tmp_path / "genesis.json").write_bytes(made.stdout)
    return tmp_path / "genesis.json"


POLLS = 10_000
"""Questions for a receipt, one after the other, before a vote is given up."""
VALIDATORS = [simulated_account(1, "validator", i) for i in range(4)]


def read_validators(node: Node) -> list[bytes]:
    output = node.call(CONTRACT, compute_selector("getValidators", Arguments([])))
    return list(LIST.decode(output)[0])


def test_a_task_on_that_genesis(start_anvil: Callable[..., Anvil], genesis: Path, tmp_path: Path) -> None:
    """A node with the genesis' contract names the validators, and a task plays on it."""
    assert json.loads(genesis.read_text())["config"]["zeroBaseFee"] is True
    anvil = start_anvil(7400, "--init", str(genesis))
    assert read_validators(Node.at(anvil.url)) == sorted(validator.address for validator in VALIDATORS)
    Town(tmp_path, connect=anvil.connect).play({0: 900_000})


def test_validators_vote(start_anvil: Callable[..., Anvil], genesis: Path) -> None:
    """Three of four must want the same list; a stranger's vote is rejected."""
    node = Node.at(start_anvil(7400, "--init", str(genesis)).url)
    wanted = sorted([*(validator.address for validator in VALIDATORS[:3]), Address(b"\x55" * 20)])
    data = compute_selector("vote", LIST) + LIST.encode([wanted])
    before = read_validators(node)
    stranger = simulated_account(1, "stranger", 0)
    for count, voter in enumerate([stranger, *VALIDATORS[:3]]):
        assert read_validators(node) == before, count
        call = Call(to=CONTRACT, data=data, gas=1_000_000)
        raw = sign_transaction(voter, call, nonce=0, chain_id=7400)
        node.send(raw)
        # A node answers before its block is made: the vote counts once it has a receipt.
        assert any(node.receipt(keccak(raw)) is not None for _ in range(POLLS))
    assert read_validators(node) == wanted
    with pytest.raises(RefusedError):
        node.call(CONTRACT, data)
