"""Setting a task up: who takes part, and the signed transactions of a task chain's first block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platoon.ledger.contracts import ContractSet
from platoon.ledger.model import write_committee
from platoon.nouns import MILLION, Address, Digest, Tokens
from platoon.records.committee import CommitteeRules
from platoon.records.rules import MAX_EDGE_SERVERS, MAX_TOKENS
from platoon.records.signing import Account
from platoon.records.transactions import sign_transaction

EDGE_SERVER, VEHICLE, PUBLISHER = 1, 2, 3
"""Roles of the Registry."""
_BATCH = 256
"""Accounts of one registration."""
_NOTHING = Tokens(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Participants:
    """Who sets a task up. In a simulation the process holds all accounts but the vehicles' own."""

    operator: Account
    publisher: Account
    edge_servers: tuple[Account, ...]
    """By id."""
    vehicles: tuple[Address, ...]
    """By id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stake:
    """What every edge server deposits at setup, from tokens of its own."""

    tokens: Tokens = _NOTHING
    share: int = 100_000
    """Of the deposit, taken whenever the edge server is named, ppm."""


NO_STAKE = Stake()


def check_participants(participants: Participants, escrow: Tokens, stake: Stake) -> None:
    servers = [account.address for account in participants.edge_servers]
    everybody = [
        participants.operator.address,
        participants.publisher.address,
        *servers,
        *participants.vehicles,
    ]
    if len(set(everybody)) != len(everybody):
        raise ValueError("operator, publisher, edge servers and vehicles need accounts of their own")
    if not 1 <= len(servers) <= MAX_EDGE_SERVERS:
        raise ValueError(f"{len(servers)} edge servers: allowed: 1 to {MAX_EDGE_SERVERS}")
    if not 0 <= escrow <= MAX_TOKENS:
        raise ValueError(f"escrow of {escrow}: allowed: 0 to {MAX_TOKENS}")
    if not (stake.tokens >= 0 and escrow + len(servers) * stake.tokens <= MAX_TOKENS):
        raise ValueError(
            f"a stake of {stake.tokens}: allowed with this escrow: 0 to what keeps all below 2^63"
        )
    if not 0 <= stake.share <= MILLION:
        raise ValueError(f"a share of {stake.share} of the stake: allowed: 0 to {MILLION} ppm")


def sign_setup(
    participants: Participants,
    training: tuple[Any, ...],
    *,
    committee: CommitteeRules,
    attested: int,
    flag_penalty: int,
    funds: tuple[Tokens, Tokens],
    purse: Tokens,
    stake: Stake,
    probes: Sequence[Digest],
    chain_id: int,
) -> list[bytes]:
    """The signed transactions of the first block: a task chain as all participants agree to it.

    ``funds``: what the publisher puts into the escrow and the budget of local blocks at once; ``purse``: what its
    orders may be paid from.
    """
    operator, publisher = participants.operator, participants.publisher
    contracts = ContractSet(operator.address)
    at = contracts.addresses
    constructors = (
        (),
        (),
        (at["Registry"], at["Token"], publisher.address),
        (at["Registry"], at["Escrow"], at["Stakes"], at["Plausibility"], publisher.address, *training),
        (at["Registry"], at["Training"], write_committee(committee)),
        (at["Registry"], at["Token"], at["Checkpoint"], publisher.address, committee.reward),
        (at["Registry"], at["Token"], at["Escrow"], at["Training"], stake.share),
        (at["Registry"], at["Training"], attested),
        (at["Registry"], at["Training"], flag_penalty),
        (at["Registry"], at["Token"], at["Escrow"], at["Sealing"], publisher.address),
    )
    servers = [account.address for account in participants.edge_servers]
    fleet = participants.vehicles
    operations = [
        *(contracts.deployment(i, arguments) for i, arguments in enumerate(constructors)),
        contracts.call("Registry", "register", EDGE_SERVER, servers),
        contracts.call("Registry", "register", PUBLISHER, [publisher.address]),
        *(
            contracts.call("Registry", "register", VEHICLE, fleet[i : i + _BATCH])
            for i in range(0, len(fleet), _BATCH)
        ),
        contracts.call("Token", "mint", publisher.address, sum(funds) + purse),
        *(contracts.call("Token", "mint", server, stake.tokens) for server in servers if stake.tokens),
        contracts.call("Token", "close_minting"),
        contracts.call("Escrow", "bind", at["Training"]),
        contracts.call("Registry", "bind", at["Admission"]),
    ]
    funding = [
        call
        for name, amount in zip(("Escrow", "Sealing"), funds, strict=True)
        for call in (
            contracts.call("Token", "approve", at[name], amount),
            contracts.call(name, "fund", amount),
        )
        if amount
    ]
    if purse:
        funding.append(contracts.call("Token", "approve", at["Agreements"], purse))
    signed = [
        sign_transaction(operator, call, nonce=i, chain_id=chain_id) for i, call in enumerate(operations)
    ]
    signed += [
        sign_transaction(publisher, call, nonce=i, chain_id=chain_id) for i, call in enumerate(funding)
    ]
    deposits = [
        contracts.call("Token", "approve", at["Stakes"], stake.tokens),
        contracts.call("Stakes", "deposit", stake.tokens),
    ]
    for i, account in enumerate(participants.edge_servers):
        own = [contracts.call("Training", "commit_probe", probes[i])] if probes else []
        own += deposits if stake.tokens else []
        signed += [
            sign_transaction(account, call, nonce=nonce, chain_id=chain_id) for nonce, call in enumerate(own)
        ]
    return signed
