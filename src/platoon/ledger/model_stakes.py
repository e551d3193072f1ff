"""The reference of ``Stakes.vy``: the same checks in the same order."""

from dataclasses import dataclass, field

from platoon.ledger.contracts import Event
from platoon.ledger.model_accounts import Token
from platoon.ledger.model_registry import Registry, require
from platoon.nouns import MILLION, Address

REASONS = ("scores", "vote")
"""Why an edge server is named, by bit."""
STEPS = ("record", "score", "vote")
"""What an absent one missed, by bit."""


@dataclass(kw_only=True)
class Stakes:
    """What edge servers put at stake."""

    address: Address
    training: Address
    share: int
    """Of the deposits, taken when named, ppm."""
    registry: Registry
    token: Token
    escrow: Address
    deposited: dict[Address, int] = field(default_factory=dict)
    left: dict[Address, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.share > MILLION:
            raise ValueError("a share of the stake above 10^6 ppm")

    def deposit(self, sender: Address, amount: int) -> list[Event]:
        """An edge server puts tokens of its own at stake."""
        self.registry.require_edge_server(sender)
        require(amount > 0, "nothing to deposit")
        events = self.token.transfer_from(self.address, sender, self.address, amount)
        self.deposited[sender] = self.deposited.get(sender, 0) + amount
        self.left[sender] = self.left.get(sender, 0) + amount
        return [*events, Event("Stakes", "Deposited", {"edge_server": sender, "amount": amount})]

    def settle(self, sender: Address, round_number: int, *seats: int) -> list[Event]:
        """Names who went astray or was absent; takes a share of the former's stake for the escrow.

        ``seats``: bits of those far off, dissenting, and absent from record, score and vote.
        """
        require(sender == self.training, "only the training")
        events, total = [], 0
        for account, seat in self.registry.seats.items():
            who = {"round": round_number, "edge_server": account}
            if reasons := _pack(seat, *seats[:2]):
                stake = self.left.get(account, 0)
                taken = min(stake, self.deposited.get(account, 0) * self.share // MILLION)
                self.left[account] = stake - taken
                total += taken
                values = {"reasons": reasons, "taken": taken, "left": stake - taken}
                events.append(Event("Stakes", "Named", who | values))
            if steps := _pack(seat, *seats[2:]):
                events.append(Event("Stakes", "Absent", who | {"steps": steps}))
        if total:
            events += self.token.transfer(self.address, self.escrow, total)
        return events

    def withdraw(self, sender: Address, *, is_closed: bool) -> list[Event]:
        """What is left goes back when the task is closed."""
        require(is_closed, "the task is open")
        amount = self.left.get(sender, 0)
        require(amount > 0, "no stake")
        self.left[sender] = 0
        events = self.token.transfer(self.address, sender, amount)
        return [*events, Event("Stakes", "Returned", {"edge_server": sender, "amount": amount})]


def _pack(seat: int, *bits: int) -> int:
    """The seat's bit of each, the first in the lowest place."""
    return sum((word >> seat & 1) << place for place, word in enumerate(bits))


def unpack(bits: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the bits that are set.

    >>> unpack(3, REASONS)
    ('scores', 'vote')
    """
    return tuple(name for place, name in enumerate(names) if bits >> place & 1)
