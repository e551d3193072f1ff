"""Proofs that a vehicle's update stands on the global chain, through its edge server's local block.

A proof is one JSON object that whoever holds nothing else can check: the vehicle's signature, the Merkle path to
the local block's root, the block's seals, the edge server's transaction that anchored it, and the sealed global
block with that transaction and its receipt. What it cannot say by itself is whether the chain is the right one:
for that the reader holds it against a root that it trusts (the hash of the global block, or the local block's root
as a node of the chain gives it).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platoon.errors import UserError, VerificationError
from platoon.ledger.blocks import Block, Header, Result, recover_sealers
from platoon.ledger.chain_log import ChainLog
from platoon.ledger.contracts import ContractSet, compute_set_digest
from platoon.ledger.model_checkpoint import Seal, recover_signers
from platoon.ledger.model_registry import Registry, Rejected
from platoon.nouns import Address, Digest, SignedUpdate, VehicleId
from platoon.records.encoding import keccak
from platoon.records.local_block import LocalBlock, compute_record_digests
from platoon.records.merkle import compute_proof, is_included
from platoon.records.rules import MAX_UPDATES, compute_quorum
from platoon.records.signing import recover_update_signer
from platoon.records.transactions import decode_transaction
from platoon.records.typed_data import FORMAT, Domain

KIND = "platoon inclusion proof"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What a proof has shown."""

    update: SignedUpdate
    block: LocalBlock
    global_block: Digest
    """Hash of the global block that holds the anchor."""
    height: int
    """Of that block."""
    sealers: tuple[Address, ...]
    """Who sealed that block: the reader compares them with the edge servers that it knows."""
    root: str
    """What the given root was found to be; empty where none was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An accepted transaction of the log."""

    block: Block
    position: int
    sender: Address
    contracts: ContractSet
    name: str
    arguments: tuple[Any, ...]


# ---- making -----------------------------------------------------------------------------------------------------


def prove_update(path: Path, vehicle: VehicleId, round_number: int) -> dict[str, Any]:
    """The proof of a vehicle's update of a round, from a ledger's file.

    Raises:
        UserError: no such vehicle, no update of it in the round, or its edge server anchored no block then.
        VerificationError: the file cannot be read.
    """
    registry: Registry | None = None
    records: dict[Address, tuple[Any, ...]] = {}
    accounts: dict[Address, Address | None] = {}
    """The account that the vehicle used when each edge server recorded the round."""
    anchors: dict[Address, _Found] = {}
    for found in _read_calls(path):
        registry = registry or _make_registry(found)
        if found.name in _MEMBERSHIP:
            _MEMBERSHIP[found.name](registry, found.sender, *found.arguments)
        elif found.name in ("record", "anchor") and found.arguments[0] == round_number:
            if found.name == "record":
                records[found.sender] = found.arguments[1]
                accounts[found.sender] = registry.account(vehicle)
            else:
                anchors[found.sender] = found
    known = len(registry.current) if registry is not None else 0
    if not 0 <= vehicle < known:
        raise UserError(f"vehicle {vehicle}: allowed: 0 to {known - 1}")
    holders = [
        server
        for server, entries in records.items()
        if any(entry[0] == accounts[server] for entry in entries)
    ]
    if not holders:
        raise UserError(f"vehicle {vehicle}: no update of it is recorded in round {round_number}")
    anchored = [server for server in holders if server in anchors]
    if not anchored:
        raise UserError(f"vehicle {vehicle}: its edge server anchored no local block in round {round_number}")
    server = anchored[0]
    account = accounts[server]
    assert account is not None  # the server holds an update of it
    proof = _describe(anchors[server], records[server], account)
    check_proof(proof)
    return proof


_MEMBERSHIP: Mapping[str, Callable[..., object]] = {
    "register": Registry.register,
    "revoke": Registry.revoke,
    "rotate": Registry.rotate,
}
"""Accepted calls that change whose account is whose."""


def _make_registry(found: _Found) -> Registry:
    domain = Domain(chain_id=found.block.header.chain_id, contract=found.contracts.addresses["Registry"])
    return Registry(operator=found.contracts.operator, separator=domain.separator)


def _read_calls(path: Path) -> Iterator[_Found]:
    """The accepted calls of a ledger's file, in their order."""
    log = ChainLog(path, create=False)
    try:
        contracts: ContractSet | None = None
        for block in log.blocks():
            for position, raw in enumerate(block.transactions):
                transaction = decode_transaction(raw)
                contracts = contracts or ContractSet(transaction.sender)
                if transaction.call.to is None or not Result.decode(block.receipts[position]).ok:
                    continue
                function, arguments = contracts.decode_call(transaction.call)
                yield _Found(
                    block=block,
                    position=position,
                    sender=transaction.sender,
                    contracts=contracts,
                    name=function.name,
                    arguments=arguments,
                )
    except ValueError as error:
        raise VerificationError(f"{path}: {error}") from None
    finally:
        log.close()


def _describe(anchor: _Found, entries: Sequence[tuple[Any, ...]], vehicle: Address) -> dict[str, Any]:
    round_number, height, parent, root, count, committee, seals = anchor.arguments
    header, block = anchor.block.header, anchor.block
    block_hash = header.compute_hash(anchor.contracts.addresses["Registry"])
    task = _name_task(anchor.contracts, header.chain_id)
    updates = [_read_update(task, round_number, entry) for entry in entries]
    position = [update.vehicle for update in updates].index(vehicle)
    hashes = [[keccak(item) for item in items] for items in (block.transactions, block.receipts)]
    return {
        "kind": KIND,
        "format": FORMAT,
        "chain_id": header.chain_id,
        "operator": anchor.contracts.operator.hex(),
        "task": task.hex(),
        "round": round_number,
        "update": {
            "vehicle": vehicle.hex(),
            "digest": updates[position].digest.hex(),
            "samples": updates[position].samples,
            "signature": updates[position].signature.hex(),
        },
        "path": {
            "position": position,
            "siblings": _hex(compute_proof(compute_record_digests(updates), position)),
        },
        "block": {
            "edge_server": anchor.sender.hex(),
            "height": height,
            "parent": parent.hex(),
            "root": root.hex(),
            "count": count,
            "sealed": len(committee) > 1,
            "committee": _hex(committee),
            "seals": [_join_seal(seal).hex() for seal in seals],
        },
        "anchor": {
            "height": header.height,
            "position": anchor.position,
            "hash": block_hash.hex(),
            "header": header.encode().hex(),
            "sealers": _hex(recover_sealers(block_hash, block.seals)),
            "seals": block.seals.hex(),
            "transaction": block.transactions[anchor.position].hex(),
            "transaction_siblings": _hex(compute_proof(hashes[0], anchor.position)),
            "receipt": block.receipts[anchor.position].hex(),
            "receipt_siblings": _hex(compute_proof(hashes[1], anchor.position)),
        },
    }


def _name_task(contracts: ContractSet, chain_id: int) -> Digest:
    return Domain(chain_id=chain_id, contract=contracts.addresses["Training"]).separator


def _read_update(task: Digest, round_number: int, entry: tuple[Any, ...]) -> SignedUpdate:
    vehicle, digest, samples, *seal = entry
    return SignedUpdate(
        task=task,
        round=round_number,
        vehicle=Address(vehicle),
        digest=Digest(digest),
        samples=samples,
        signature=_join_seal((seal[0], seal[1], seal[2])),
    )


def _join_seal(seal: Seal) -> bytes:
    v, r, s = seal
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])


def _hex(values: Sequence[bytes]) -> list[str]:
    return [value.hex() for value in values]


# ---- checking ---------------------------------------------------------------------------------------------------


def check_proof(proof: object, root: bytes | None = None) -> Proved:
    """Check a proof, with nothing else at hand; ``root``: a hash that the reader trusts.

    Raises:
        UserError: not a proof of a known format.
        VerificationError: the first thing in it that does not hold.
    """
    fields = _Fields(proof, "proof")
    if fields.text("kind") != KIND or fields.number("format") != FORMAT:
        raise UserError(f"not a {KIND} of format {FORMAT}")
    contracts = ContractSet(Address(fields.data("operator", 20)))
    task = _name_task(contracts, fields.number("chain_id"))
    _require(fields.data("task", 32) == task, "task is not that of the operator's contracts")
    update = _check_update(fields, task)
    block = _check_block(fields, task)
    position, siblings = _read_path(fields.inner("path"))
    leaf = compute_record_digests([update])[0]
    _require(position < block.count, "path: beyond the block's updates")
    _require(is_included(block.root, position, leaf, siblings), "path: it does not lead to the block's root")
    header, sealers = _check_anchor(fields, contracts, block)
    block_hash = header.compute_hash(contracts.addresses["Registry"])
    return Proved(
        update=update,
        block=block,
        global_block=block_hash,
        height=header.height,
        sealers=sealers,
        root=_match_root(root, block, block_hash),
    )


def _match_root(root: bytes | None, block: LocalBlock, block_hash: Digest) -> str:
    if root is None:
        return ""
    known = {
        bytes(block.root): "the local block's root",
        bytes(block.digest): "the local block's hash",
        bytes(block_hash): "the global block's hash",
    }
    if root not in known:
        raise VerificationError(
            f"root {root.hex()}: neither the local block's root {block.root.hex()}, nor its hash, "
            f"nor the global block's hash {block_hash.hex()}"
        )
    return known[root]


def _check_update(fields: "_Fields", task: Digest) -> SignedUpdate:
    inner = fields.inner("update")
    update = SignedUpdate(
        task=task,
        round=fields.number("round"),
        vehicle=Address(inner.data("vehicle", 20)),
        digest=Digest(inner.data("digest", 32)),
        samples=inner.number("samples"),
        signature=inner.data("signature", 65),
    )
    _require(recover_update_signer(update) == update.vehicle, "update: not signed by its vehicle")
    return update


def _check_block(fields: "_Fields", task: Digest) -> LocalBlock:
    inner = fields.inner("block")
    committee = [Address(member) for member in inner.items("committee", 20)]
    block = LocalBlock(
        task=task,
        edge_server=Address(inner.data("edge_server", 20)),
        height=inner.number("height"),
        round=fields.number("round"),
        parent=Digest(inner.data("parent", 32)),
        root=Digest(inner.data("root", 32)),
        count=inner.number("count"),
        sealed=len(committee) > 1,
    )
    seals = [_split_seal(seal) for seal in inner.items("seals", 65)]
    _require(block.count <= MAX_UPDATES, "block: more updates than a block holds")
    _require(inner.flag("sealed") == block.sealed, "block: sealed is not what its committee says")
    _require(committee == sorted(set(committee)), "block: members are not strictly ascending")
    try:
        signers = recover_signers(block.digest, seals)
    except Rejected as rejected:
        raise VerificationError(f"block: {rejected}") from None
    _require(set(signers) <= set(committee), "block: sealed by an outsider of its committee")
    _require(len(signers) >= compute_quorum(len(committee)), "block: seals lack a quorum")
    _require(block.edge_server in signers, "block: the edge server did not seal")
    return block


def _split_seal(seal: bytes) -> Seal:
    return seal[64], int.from_bytes(seal[:32], "big"), int.from_bytes(seal[32:64], "big")


def _check_anchor(
    fields: "_Fields", contracts: ContractSet, block: LocalBlock
) -> tuple[Header, tuple[Address, ...]]:
    """The global block's header, and who sealed it."""
    inner, local = fields.inner("anchor"), fields.inner("block")
    raw, receipt = inner.data("transaction"), inner.data("receipt")
    try:
        header = Header.decode(inner.data("header"))
        transaction, result = decode_transaction(raw), Result.decode(receipt)
        function, arguments = contracts.decode_call(transaction.call)
        block_hash = header.compute_hash(contracts.addresses["Registry"])
        sealers = recover_sealers(block_hash, inner.data("seals"))
    except ValueError as error:
        raise VerificationError(f"anchor: {error}") from None
    _require(header.format == FORMAT, f"anchor: format {header.format} is not known")
    _require(header.contracts == compute_set_digest(), "anchor: the contract set is not known")
    _require(header.chain_id == fields.number("chain_id"), "anchor: another chain")
    _require(transaction.chain_id == header.chain_id, "anchor: a transaction of another chain")
    _require(header.height == inner.number("height"), "anchor: another height than its block's")
    position = inner.number("position")
    for item, root, name in (
        (raw, header.transactions, "transaction"),
        (receipt, header.receipts, "receipt"),
    ):
        path = [Digest(sibling) for sibling in inner.items(f"{name}_siblings", 32)]
        is_there = position < 2**64 and is_included(root, position, keccak(item), path)
        _require(is_there, f"anchor: the {name} is not in the global block")
    claimed = (block.round, block.height, block.parent, block.root, block.count)
    committee = tuple(local.items("committee", 20))
    seals = tuple(_split_seal(seal) for seal in local.items("seals", 65))
    _require((function.contract, function.name) == ("Checkpoint", "anchor"), "anchor: another call")
    _require(transaction.sender == block.edge_server, "anchor: sent by another than the edge server")
    _require(arguments == (*claimed, committee, seals), "anchor: of another block")
    _require(result.ok, f"anchor: refused by the contract ({result.error})")
    _require(inner.data("hash") == block_hash, "anchor: its global block has another hash")
    _require(bool(sealers) and inner.items("sealers", 20) == sealers, "anchor: sealed by others")
    return header, tuple(sealers)


def _read_path(fields: "_Fields") -> tuple[int, list[Digest]]:
    return fields.number("position"), [Digest(sibling) for sibling in fields.items("siblings", 32)]


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise VerificationError(what)


class _Fields:
    """A JSON object that is read with care; what is not there, or of another type, is a ``UserError``."""

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, Mapping):
            raise UserError(f"{name}: not a JSON object")
        self._value, self._name = value, name

    def _get(self, key: str, kind: type) -> Any:
        value = self._value.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UserError(f"{self._name}.{key}: missing, or not of type {kind.__name__}")
        return value

    def inner(self, key: str) -> "_Fields":
        return _Fields(self._get(key, dict), key)

    def text(self, key: str) -> str:
        return str(self._get(key, str))

    def flag(self, key: str) -> bool:
        return bool(self._get(key, bool))

    def number(self, key: str) -> int:
        value = int(self._get(key, int))
        if not 0 <= value < 2**256:
            raise UserError(f"{self._name}.{key} = {value}: allowed: 0 to 2^256 - 1")
        return value

    def data(self, key: str, size: int | None = None) -> bytes:
        return _read_hex(self.text(key), size, f"{self._name}.{key}")

    def items(self, key: str, size: int) -> list[bytes]:
        values = self._get(key, list)
        return [_read_hex(value, size, f"{self._name}.{key}") for value in values]


def _read_hex(value: object, size: int | None, name: str) -> bytes:
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if not isinstance(value, str) or value != data.hex() or (size is not None and len(data) != size):
        raise UserError(f"{name}: not {'' if size is None else f'{size} '}bytes in lower-case hexadecimal")
    return data
