"""``platoon ledger``: proofs of what stands on a run's chains."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from platoon.cli import options
from platoon.errors import UserError

BRACKETS = 100
"""Objects and lists of a proof file at most (a proof has a dozen): the parser must not run out of its stack."""

ledger_app = typer.Typer(
    help="The ledger of a run: prove what stands on it, check proofs.", no_args_is_help=True
)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="run directory")]
ProofFile = Annotated[Path, typer.Argument(metavar="PROOF", help="file that `platoon ledger prove` printed")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of a text")]


@ledger_app.command()
def prove(
    run: RunFolder,
    vehicle: Annotated[int, typer.Option(help="number of the vehicle")],
    round_: Annotated[int, typer.Option("--round", help="number of the round; the first is 1")],
) -> None:
    """Print the proof (JSON) that a vehicle's update of a round is anchored on the global chain."""

    def command() -> None:
        from platoon.drivers.run_directory import RunDirectory
        from platoon.ledger.proofs import prove_update
        from platoon.nouns import VehicleId

        directory = RunDirectory.open(run)
        options.print_json(prove_update(directory.ledger, VehicleId(vehicle), round_))

    options.guarded(command)


@ledger_app.command()
def check(
    proof: ProofFile,
    root: Annotated[
        str | None,
        typer.Option(help="a hash that you trust: of the local block or its root, or of the global block"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a proof alone: signatures, seals, paths and the anchor; with --root also that it is of your chain."""

    def command() -> None:
        from platoon.ledger.proofs import check_proof

        proved = check_proof(_read_json(proof), _read_root(root))
        update, block = proved.update, proved.block
        found = {
            "verified": True,
            "vehicle": update.vehicle.hex(),
            "round": update.round,
            "digest": update.digest.hex(),
            "samples": update.samples,
            "edge_server": block.edge_server.hex(),
            "local_height": block.height,
            "local_root": block.root.hex(),
            "sealed": block.sealed,
            "global_height": proved.height,
            "global_block": proved.global_block.hex(),
            "sealers": [sealer.hex() for sealer in proved.sealers],
            "root": proved.root or None,
        }
        if as_json:
            options.print_json(found)
            return
        for line in _describe(found):
            options.stdout.print(line, markup=False, soft_wrap=True)

    options.guarded(command)


@ledger_app.command("check-chain")
def check_chain(
    run: RunFolder,
    url: Annotated[str | None, typer.Option(help="a node of the network; else the scenario's")] = None,
    as_json: Json = False,
) -> None:
    """Check that a live network has a run's ledger: every transaction, in its order, with its outcome and events.

    `platoon verify` checks the ledger itself, without a network.
    """

    def command() -> None:
        from platoon.drivers.remote import check_run_on_chain

        found = check_run_on_chain(run, url, lambda what: options.stderr.print(what, markup=False))
        if as_json:
            options.print_json(found)
            return
        options.stdout.print(
            f"the chain {found['chain_id']} at {found['url']} has all {found['transactions']} transactions of "
            f"{found['blocks']} blocks, in its blocks {found['first']} to {found['last']}",
            markup=False,
            soft_wrap=True,
        )

    options.guarded(command)


@ledger_app.command()
def reputation(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run directories")],
    out: Annotated[Path | None, typer.Option(help="keep the main chain's ledger in this file")] = None,
    as_json: Json = False,
) -> None:
    """Merge the reputations that several runs' task chains keep of the same vehicles into global ones.

    Every ledger is audited first, then sealed reports go to a main chain. Runs of one seed have the same vehicles;
    give each another ledger.chain_id (docs/ledger/shards.md).
    """

    def command() -> None:
        from platoon.cli.ledger_view import view_reputations
        from platoon.drivers.reputation import merge_runs

        found = merge_runs(directories, out)
        if as_json:
            options.print_json(found)
        else:
            options.stdout.print(view_reputations(found))

    options.guarded(command)


def _describe(found: dict[str, Any]) -> list[str]:
    sealed = "sealed by its committee" if found["sealed"] else "UNSEALED: its edge server signed alone"
    lines = [
        f"verified: vehicle 0x{found['vehicle']} signed update {found['digest'][:16]}... of "
        f"{found['samples']} samples in round {found['round']}",
        f"local block {found['local_height']} of edge server 0x{found['edge_server']}, {sealed}",
        f"anchored in global block {found['global_height']}, {found['global_block']}, "
        f"sealed by {len(found['sealers'])}",
    ]
    if found["root"]:
        return [*lines, f"the root you trust is {found['root']}"]
    return [*lines, "no --root was given: nothing says yet that this is the chain you mean"]


def _read_json(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
        if text.count("[") + text.count("{") > BRACKETS:
            raise ValueError("nested too deeply")
        return json.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a proof ({error})") from None


def _read_root(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        root = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        root = b""
    if len(root) != 32:
        raise UserError(f"--root {text}: allowed: 32 bytes in hexadecimal")
    return root
