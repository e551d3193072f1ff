"""Compiles the contracts: ``python -m platoon.contracts.build`` rewrites ``artefacts/*.json``.

Vyper is a development dependency; users get the artefacts, and a test holds them equal to the sources.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NAMES = (
    "Registry",
    "Token",
    "Escrow",
    "Training",
    "Checkpoint",
    "Sealing",
    "Stakes",
    "Admission",
    "Plausibility",
    "Agreements",
    "Catalogue",
    "Opinions",
    "Trades",
    "Auctions",
    "Menus",
    "AffineMaximiser",
    "Shards",
)
MODULES = (
    "affine_maximiser",
    "clocks",
    "dealings",
    "formulas",
    "medians",
    "seals",
    "sorting",
    "training_events",
)
"""Sources that others import and that are not deployed by themselves."""


def compile_contract(name: str) -> dict[str, Any]:
    """ABI and creation bytecode of one contract, as its artefact holds them."""
    compiler = import_module("vyper.compiler")
    bundle = import_module("vyper.compiler.input_bundle")
    source = FOLDER / f"{name}.vy"
    sources = bundle.FilesystemInputBundle([FOLDER])
    output = compiler.compile_from_file_input(
        sources.load_file(source.name),
        input_bundle=sources,
        output_formats=["abi", "bytecode", "bytecode_runtime"],
    )
    return {
        "name": name,
        "compiler": f"vyper {import_module('vyper').__version__.split('+')[0]}",
        "evm": "london",
        "runtime_bytes": len(output["bytecode_runtime"]) // 2 - 1,
        "abi": output["abi"],
        "bytecode": output["bytecode"],
    }


def render_artefact(name: str) -> str:
    """The exact text of ``artefacts/NAME.json``."""
    return json.dumps(compile_contract(name), indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Rewrite every artefact."""
    for name in NAMES:
        (FOLDER / "artefacts" / f"{name}.json").write_text(render_artefact(name), encoding="utf-8")


if __name__ == "__main__":
    main()
