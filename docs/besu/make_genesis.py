"""Write the genesis of a Besu QBFT network for platoon: make_genesis.py ADDRESS ADDRESS ... > genesis.json

The addresses are those of the validators' node keys. The network is at london, takes no fees, makes a block every
second, and asks the contract beside this file who validates.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import vyper

CONTRACT = "0x0000000000000000000000000000000000007777"
_LIST_SLOT = 1
"""Where Vyper 0.4.3 keeps the list of ``Validators.vy``: its length, then its elements (``vyper -f layout``)."""


def make_genesis(validators: list[int], chain_id: int, block_seconds: int) -> dict[str, Any]:
    """The genesis; ``validators`` as numbers."""
    source = Path(__file__).with_name("Validators.vy").read_text(encoding="utf-8")
    code = vyper.compile_code(source, output_formats=["bytecode_runtime"])["bytecode_runtime"]
    words = [len(validators), *sorted(validators)]
    storage = {_word(_LIST_SLOT + i): _word(value) for i, value in enumerate(words)}
    return {
        "config": {
            "chainId": chain_id,
            "londonBlock": 0,
            "zeroBaseFee": True,
            "qbft": {
                "blockperiodseconds": block_seconds,
                "epochlength": 30000,
                "requesttimeoutseconds": 2 * block_seconds,
                "validatorcontractaddress": CONTRACT,
            },
        },
        "nonce": "0x0",
        "timestamp": "0x0",
        "gasLimit": hex(60_000_000),
        "baseFeePerGas": "0x0",
        "difficulty": "0x1",
        "mixHash": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365",
        "coinbase": "0x0000000000000000000000000000000000000000",
        "extraData": "0xe5a0" + "00" * 32 + "c0c080c0",
        "alloc": {CONTRACT: {"balance": "0x0", "code": code, "storage": storage}},
    }


def _word(value: int) -> str:
    return f"0x{value:064x}"


def main() -> None:
    """Read the arguments, print the genesis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("validators", nargs="+", type=lambda text: int(text, 16), metavar="ADDRESS")
    parser.add_argument("--chain-id", type=int, default=7400)
    parser.add_argument("--block-seconds", type=int, default=1)
    chosen = parser.parse_args()
    print(json.dumps(make_genesis(chosen.validators, chosen.chain_id, chosen.block_seconds), indent=1))


if __name__ == "__main__":
    main()
