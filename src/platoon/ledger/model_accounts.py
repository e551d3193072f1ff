"""The reference of ``Token.vy`` and ``Escrow.vy``: the same checks in the same order.

Handlers check first and change afterwards, so that a rejected call leaves the state untouched. They return the
events of the call; ``Rejected`` carries the contract's own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from platoon.ledger.contracts import Event
from platoon.ledger.model_registry import NO_ACCOUNT, PUBLISHER, Registry, require
from platoon.nouns import Address
from platoon.records.rules import MAX_TOKENS


@dataclass(kw_only=True)
class Token:
    """Balances in 10^-6."""

    operator: Address
    balances: dict[Address, int] = field(default_factory=dict)
    allowances: dict[tuple[Address, Address], int] = field(default_factory=dict)
    supply: int = 0
    minting_closed: bool = False

    def balance(self, account: Address) -> int:
        """What the account holds."""
        return self.balances.get(account, 0)

    def mint(self, sender: Address, receiver: Address, amount: int) -> list[Event]:
        """The operator makes tokens, at setup."""
        require(sender == self.operator, "only the operator")
        require(not self.minting_closed, "minting is closed")
        require(receiver != NO_ACCOUNT, "no account")
        require(amount <= MAX_TOKENS - self.supply, "supply out of bounds")
        self.supply += amount
        self.balances[receiver] = self.balance(receiver) + amount
        return [_transfer(NO_ACCOUNT, receiver, amount)]

    def close_minting(self, sender: Address) -> list[Event]:
        """No more tokens from now on."""
        require(sender == self.operator, "only the operator")
        require(not self.minting_closed, "minting is closed")
        self.minting_closed = True
        return [Event("Token", "MintingClosed", {})]

    def transfer(self, sender: Address, receiver: Address, amount: int) -> list[Event]:
        """The sender gives of its own."""
        return self.transfer_many(sender, [receiver], [amount])

    def transfer_many(
        self, sender: Address, receivers: Sequence[Address], amounts: Sequence[int]
    ) -> list[Event]:
        """The sender gives to many, or to none."""
        require(len(receivers) <= 128 and len(amounts) <= 128, "reverted")
        require(len(receivers) == len(amounts), "lengths differ")
        changed = {sender: self.balance(sender)}
        for receiver, amount in zip(receivers, amounts, strict=True):
            require(receiver != NO_ACCOUNT, "no account")
            require(changed[sender] >= amount, "balance too small")
            changed[sender] -= amount
            changed[receiver] = changed.get(receiver, self.balance(receiver)) + amount
        self.balances.update(changed)
        return [
            _transfer(sender, receiver, amount) for receiver, amount in zip(receivers, amounts, strict=True)
        ]

    def approve(self, sender: Address, spender: Address, amount: int) -> list[Event]:
        """The sender lets another spend of its own."""
        self.allowances[sender, spender] = amount
        return [Event("Token", "Approval", {"owner": sender, "spender": spender, "amount": amount})]

    def transfer_from(self, sender: Address, owner: Address, receiver: Address, amount: int) -> list[Event]:
        """The sender spends of what it was allowed to."""
        allowed = self.allowances.get((owner, sender), 0)
        require(allowed >= amount, "allowance too small")
        events = self.transfer_many(owner, [receiver], [amount])
        self.allowances[owner, sender] = allowed - amount
        return events


def _transfer(sender: Address, receiver: Address, amount: int) -> Event:
    return Event("Token", "Transfer", {"sender": sender, "receiver": receiver, "amount": amount})


@dataclass(kw_only=True)
class Escrow:
    """The publisher's tokens for the task."""

    operator: Address
    address: Address
    publisher: Address
    registry: Registry
    token: Token
    training: Address | None = None

    @property
    def available(self) -> int:
        """What it holds."""
        return self.token.balance(self.address)

    def bind(self, sender: Address, training: Address) -> list[Event]:
        """The operator names the Training contract, once."""
        require(sender == self.operator, "only the operator")
        require(self.training is None, "bound before")
        require(training != NO_ACCOUNT, "no account")
        self.training = training
        return [Event("Escrow", "Bound", {"training": training})]

    def fund(self, sender: Address, amount: int) -> list[Event]:
        """The publisher pays in."""
        require(sender == self.publisher, "only the publisher")
        require(self.registry.roles.get(self.publisher) == PUBLISHER, "not a publisher")
        events = self.token.transfer_from(self.address, self.publisher, self.address, amount)
        return [*events, Event("Escrow", "Funded", {"amount": amount})]

    def pay(self, sender: Address, receivers: Sequence[Address], amounts: Sequence[int]) -> list[Event]:
        """The Training contract pays out."""
        require(len(receivers) <= 128 and len(amounts) <= 128, "reverted")
        require(sender == self.training, "only the training")
        return self.token.transfer_many(self.address, receivers, amounts)

    def withdraw(self, sender: Address, closed: dict[Address, bool]) -> list[Event]:
        """The publisher takes back what a closed task left; ``closed``: whether each Training contract is."""
        require(sender == self.publisher, "only the publisher")
        require(self.training is not None, "not bound")
        require(self.training in closed, "reverted")  # bound to an account that cannot answer
        require(closed[Address(self.training or b"")], "the task is open")
        amount = self.available
        events = self.token.transfer(self.address, self.publisher, amount)
        return [*events, Event("Escrow", "Withdrawn", {"amount": amount})]
