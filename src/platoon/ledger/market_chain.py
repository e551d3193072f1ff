"""A market's chain on a ledger: who takes part, blocks of signed calls, and what has come of them.

The same engine keeps it that keeps a task chain, with another set of contracts (``contract_kinds.MARKET``).
Traders (vehicles, or companies that speak for them) are registered by the operator, as a permissioned market
has it: an identity that costs nothing could bid against itself and rate itself. Tokens are minted where real
money was paid in, so minting stays open; everything else conserves every unit.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from platoon.errors import VerificationError
from platoon.ledger.blocks import Block, Result
from platoon.ledger.contract_kinds import MARKET
from platoon.ledger.contracts import ContractSet, Event
from platoon.ledger.engine import EmbeddedLedger, Ledger, Receipt, check_seals
from platoon.ledger.market_state import MarketState, fold
from platoon.ledger.model_registry import EDGE_SERVER, VEHICLE
from platoon.nouns import SECOND, Address, Digest, Duration, Instant, Tokens
from platoon.records.listings import Listing
from platoon.records.opinions import OpinionRules
from platoon.records.rules import MAX_EDGE_SERVERS
from platoon.records.signing import Account, split_signature
from platoon.records.transactions import Call, decode_transaction, recover_sender_key, sign_transaction
from platoon.records.typed_data import Domain

_BATCH = 256
"""Accounts of one registration."""
_HOUR = Duration(3600 * SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRules:
    """What is fixed when a market is founded."""

    patience: Duration = _HOUR
    """Microseconds that a seller has to deliver, a buyer to answer, edge servers to decide."""
    opinions: OpinionRules = field(default_factory=OpinionRules)
    """How reputations of sellers come about."""


class SignedCall(NamedTuple):
    """A call and who makes it."""

    account: Account
    call: Call


class MarketChain:
    """A market on a ledger."""

    def __init__(self, ledger: Ledger, edge_servers: Sequence[Account]) -> None:
        self.ledger = ledger
        self._edge_servers = tuple(edge_servers)
        registry = ledger.contracts.addresses["Registry"]
        self.separator: Digest = Domain(chain_id=ledger.chain_id, contract=registry).separator
        """What listings and deliveries bind: this market and no other."""
        self._keys: dict[Address, bytes] = {}
        self.state = MarketState()
        for block in ledger.blocks():
            self._take_block(block)

    # ---- life ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        chain_id: int,
        operator: Account,
        edge_servers: Sequence[Account],
        rules: MarketRules,
        at: Instant,
    ) -> "MarketChain":
        """Found a market in a new file.

        Raises:
            ValueError: no edge server or too many, accounts that are not distinct, or rules out of bounds.
        """
        addresses = [account.address for account in edge_servers]
        if not 1 <= len(addresses) <= MAX_EDGE_SERVERS or len({operator.address, *addresses}) <= len(
            addresses
        ):
            raise ValueError(
                f"{len(addresses)} edge servers: allowed: 1 to {MAX_EDGE_SERVERS}, each its own account"
            )
        ledger = EmbeddedLedger.create(path, chain_id=chain_id, sealers=edge_servers, kind=MARKET)
        calls = list_founding_calls(operator.address, addresses, rules)
        signed = [
            sign_transaction(operator, call, nonce=i, chain_id=chain_id) for i, call in enumerate(calls)
        ]
        for receipt in ledger.submit(signed, at=at, round=0):
            if not receipt.ok:
                raise ValueError(f"the market cannot be founded: {receipt.error}")
        ledger.commit(0, "founded")
        return cls(ledger, edge_servers)

    @classmethod
    def open(cls, path: Path, *, edge_servers: Sequence[Account] = ()) -> "MarketChain":
        """Replay a market's file; without edge servers it can be read but not written.

        Raises:
            VerificationError: the log does not lead to what it says, or is no market's.
        """
        ledger = EmbeddedLedger.open(path, sealers=edge_servers)
        if ledger.contracts.kind is not MARKET:
            ledger.close()
            raise VerificationError(f"{path}: the ledger of a {ledger.contracts.kind.name}, not of a market")
        return cls(ledger, edge_servers)

    def close(self) -> None:
        """Close the file."""
        self.ledger.close()

    # ---- writing ------------------------------------------------------------------------------------------------

    def submit(self, calls: Sequence[SignedCall], *, at: Instant) -> tuple[Receipt, ...]:
        """Sign and execute calls as one durable block, after as many edge servers as it takes have said the time.

        Returns the receipts of the calls alone.

        Raises:
            ValueError: the time runs backwards, or edge servers of this process are too few to seal.
        """
        ticks = self._list_ticks(at)
        ahead: dict[Address, int] = {}
        signed = []
        for account, call in (*ticks, *calls):
            nonce = self.ledger.nonce(account.address) + ahead.get(account.address, 0)
            ahead[account.address] = ahead.get(account.address, 0) + 1
            signed.append(sign_transaction(account, call, nonce=nonce, chain_id=self.ledger.chain_id))
        if not signed:
            return ()
        height = self.ledger.height
        receipts = self.ledger.submit(signed, at=at, round=height)
        if self.ledger.height > height:
            self.ledger.commit(height, f"block {height}")
            for block in self.ledger.blocks(height):
                self._take_block(block)
        return receipts[len(ticks) :]

    def call(self, contract: str, name: str, *arguments: Any) -> Call:
        """A call of one of the market's contracts; raises ``ValueError`` for an argument out of its type's
        range."""
        return self.ledger.contracts.call(contract, name, *arguments)

    def publish_call(self, listing: Listing, signature: bytes) -> Call:
        """What brings a signed listing into the catalogue; for an edge server to make."""
        numbers = (listing.size, listing.price, listing.threshold, int(listing.exclusive), listing.at)
        signed = (listing.owner, listing.model, *numbers, *split_signature(signature))
        return self.call("Catalogue", "publish", signed, listing.description.encode())

    def _list_ticks(self, at: Instant) -> list[SignedCall]:
        """More than a third of the edge servers say the time: the market's is what so many have reached."""
        if at == self.state.now:
            return []
        active = self.edge_servers
        able = [account for account in self._edge_servers if account.address in active]
        call = self.call("Catalogue", "tick", at)
        return [SignedCall(account, call) for account in able[: len(active) // 3 + 1]]

    # ---- reading ------------------------------------------------------------------------------------------------

    def read(self, contract: str, name: str, *arguments: Any) -> tuple[Any, ...]:
        """The values of a view; raises ``ValueError`` with the contract's reason."""
        return self.ledger.read(self.call(contract, name, *arguments))

    def find_handle(self, account: Address) -> int:
        """A trader's handle; 0 for anybody else."""
        return int(self.read("Registry", "vehicle", account)[0])

    def find_account(self, handle: int) -> Address:
        """The account that a trader uses now; raises ``ValueError`` for nobody's handle."""
        first = {known: account for account, known in self.state.accounts.items()}
        if handle not in first:
            raise ValueError(f"trader {handle}: there is none")
        renewed = Address(self.read("Registry", "accounts", [handle])[0][0])
        return renewed if any(renewed) else first[handle]

    def read_balance(self, account: Address) -> Tokens:
        """What an account holds, 10^-6 tokens."""
        return Tokens(self.read("Token", "balanceOf", account)[0])

    def read_reputations(self, sellers: Sequence[int], at: Instant) -> tuple[int, ...]:
        """Market-wide reputations of sellers by handle, parts per million."""
        if not sellers:
            return ()
        return tuple(self.read("Opinions", "reputations", list(sellers), at)[0])

    def find_public_key(self, account: Address) -> bytes:
        """33 bytes to which messages for an account can be sealed: recovered from what it has signed here.

        Raises:
            ValueError: it has not signed anything yet.
        """
        if account not in self._keys:
            raise ValueError(f"0x{account.hex()} has made no transaction yet")
        return self._keys[account]

    @property
    def edge_servers(self) -> tuple[Address, ...]:
        """Every edge server that takes part, by seat."""
        seats, active = self.read("Registry", "members")
        return tuple(Address(seat) for i, seat in enumerate(seats) if active >> i & 1)

    def events(self) -> Iterator[tuple[Block, Event]]:
        """Everything that has happened, in order."""
        for block in self.ledger.blocks():
            for event in _list_events(self.ledger.contracts, block):
                yield block, event

    def _take_block(self, block: Block) -> None:
        self.state = fold(self.state, _list_events(self.ledger.contracts, block))
        for raw in block.transactions:
            sender = decode_transaction(raw).sender
            if sender not in self._keys:
                with contextlib.suppress(
                    ValueError
                ):  # a form that others' wallets sign: known when it signs ours
                    self._keys[sender] = recover_sender_key(raw)


def verify_market(path: Path) -> MarketChain:
    """Replay a market's file, and hold every seal of every block against the edge servers of the time.

    Raises:
        VerificationError: the first thing that does not match.
    """
    chain = MarketChain.open(path)
    contracts = chain.ledger.contracts
    members: frozenset[Address] = frozenset()
    for block in chain.ledger.blocks():
        for event in _list_events(contracts, block):
            if event.name == "Registered" and event.values["role"] == EDGE_SERVER:
                members |= frozenset(map(Address, event.values["accounts"]))
            elif event.name == "Revoked":
                members -= {Address(event.values["account"])}
        check_seals(block, block.header.compute_hash(contracts.addresses["Registry"]), members)
    return chain


def list_founding_calls(operator: Address, edge_servers: Sequence[Address], rules: MarketRules) -> list[Call]:
    """The operator's first calls: contracts, edge servers, and who obeys whom."""
    contracts = ContractSet(operator, MARKET)
    constructors = {"Trades": (rules.patience,), "Opinions": (astuple(rules.opinions),)}
    deployments = [
        contracts.deployment(
            i,
            (
                *(contracts.addresses[linked] for linked in MARKET.links.get(name, ())),
                *constructors.get(name, ()),
            ),
        )
        for i, name in enumerate(MARKET.contracts)
    ]
    bindings = [
        contracts.call(contract, name, *(contracts.addresses[whom] for whom in obeyed))
        for (contract, name), obeyed in MARKET.bound.items()
    ]
    return [*deployments, contracts.call("Registry", "register", EDGE_SERVER, edge_servers), *bindings]


def list_joining_calls(chain: MarketChain, traders: Sequence[Address], tokens: Tokens) -> list[Call]:
    """The operator's calls that register traders and give each of them tokens."""
    batches = [traders[i : i + _BATCH] for i in range(0, len(traders), _BATCH)]
    calls = [chain.call("Registry", "register", VEHICLE, batch) for batch in batches]
    return calls + [chain.call("Token", "mint", trader, tokens) for trader in traders if tokens]


def _list_events(contracts: ContractSet, block: Block) -> list[Event]:
    """All but transfers of tokens, which change nothing that a market's state holds."""
    results = [Result.decode(receipt) for receipt in block.receipts]
    logs = [log for result in results for log in result.logs]
    return [contracts.decode_log(log) for log in logs if log.address != contracts.addresses["Token"]]
