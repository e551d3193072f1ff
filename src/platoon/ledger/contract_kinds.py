"""Kinds of chains: which contracts each deploys, how they are linked, and the gas limit of every call.

A **task chain** trains a model; a **market** trades them; a **main chain** brings the reputations of several task
chains together. Each is one set of contracts, deployed by the operator's first transactions in the order given
here, and the same engine keeps any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from platoon.records.transactions import MAX_GAS

DEPLOY_GAS = 6_000_000
_BASE_GAS = 400_000
_ANY_ELEMENT = (60_000, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContractKind:
    """What is deployed together."""

    name: str
    contracts: tuple[str, ...]
    """In the order of deployment."""
    links: Mapping[str, tuple[str, ...]]
    """The contracts that a constructor's first arguments must name."""
    bound: Mapping[tuple[str, str], tuple[str, ...]]
    """Whom a contract may be told to obey, by contract and function: the operator could bind an account of its own
    otherwise, and pay itself."""
    element_gas: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Gas per element of a call's longest array, and per square of their number: above the most costly case
    that was measured (``tests/ledger/test_contracts.py``, ``tests/ledger/test_market_gas.py``,
    ``tests/ledger/test_main_chain.py``)."""
    whole_gas: Mapping[str, int] = field(default_factory=dict)
    """Calls whose cost depends on the state, not on their arguments."""
    more_gas: Mapping[str, int] = field(default_factory=dict)
    """On top of the base."""

    def __str__(self) -> str:
        return self.name

    def compute_gas_limit(self, name: str, longest: int) -> int:
        """The gas limit that a call must carry: fixed by the call, so that nobody can make one fail by a low limit.

        Args:
            name: of the function.
            longest: length of the longest array among its arguments.

        Raises:
            ValueError: an array too long for the limit of a call.
        """
        if name in self.whole_gas:
            return self.whole_gas[name]
        per_element, per_square = self.element_gas.get(name, _ANY_ELEMENT)
        limit = _BASE_GAS + self.more_gas.get(name, 0) + longest * (per_element + longest * per_square)
        if limit > MAX_GAS:
            raise ValueError(f"{name} of {longest} elements needs more than {MAX_GAS} gas: send it in parts")
        return limit


TASK_CHAIN = ContractKind(
    name="task chain",
    contracts=(
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
    ),
    links={
        "Escrow": ("Registry", "Token"),
        "Training": ("Registry", "Escrow", "Stakes", "Plausibility"),
        "Checkpoint": ("Registry", "Training"),
        "Sealing": ("Registry", "Token", "Checkpoint"),
        "Stakes": ("Registry", "Token", "Escrow", "Training"),
        "Admission": ("Registry", "Training"),
        "Plausibility": ("Registry", "Training"),
        "Agreements": ("Registry", "Token", "Escrow", "Sealing"),
    },
    bound={("Escrow", "bind"): ("Training",), ("Registry", "bind"): ("Admission",)},
    # a score's words hold eight scores each, and the first closes the recording
    element_gas={
        "record": (110_000, 0),
        "score": (200_000, 0),
        "register": (80_000, 0),
        "transfer_many": (60_000, 0),
        "rotate": (100_000, 0),
        "admit_attested": (90_000, 0),
        "report": (130_000, 0),
    },
    # these cost by the round's updates and the edge servers
    whole_gas={
        "judge": 25_000_000,
        "settle": 16_000_000,
        "admit_certified": 2_000_000,
        "review": 6_000_000,
        "publish": 2_000_000,
        "join": 2_000_000,
        "respond": 12_000_000,
        "pay_order": 2_000_000,
    },
    # what all edge servers have claimed is compared
    more_gas={"admit_attested": 2_000_000, "report": 2_000_000},
)

MARKET = ContractKind(
    name="market",
    contracts=("Registry", "Token", "Catalogue", "Opinions", "Trades", "Auctions", "Menus"),
    links={
        "Catalogue": ("Registry",),
        "Trades": ("Registry", "Token", "Catalogue", "Opinions"),
        "Auctions": ("Registry", "Token", "Catalogue", "Opinions", "Trades"),
        "Menus": ("Registry", "Token", "Catalogue", "Trades"),
    },
    bound={
        ("Catalogue", "bind"): ("Trades",),
        ("Opinions", "bind"): ("Trades",),
        ("Trades", "bind"): ("Auctions", "Menus"),
    },
    element_gas={"register": (80_000, 0), "publish": (20_000, 0)},
    whole_gas={
        "propose": 25_000_000,
        "confirm": 2_000_000,
        "settle": MAX_GAS,
        "reveal": 6_000_000,
        "choose": 4_000_000,
        # what records an opinion looks at all others where opinions are uploaded as the paper writes it
        "vote": 10_000_000,
        "reclaim": 10_000_000,
        "rate": 10_000_000,
    },
    more_gas={"publish": 1_000_000, "bid": 1_000_000, "tick": 2_000_000},
)

MAIN_CHAIN = ContractKind(
    name="main chain",
    contracts=("Registry", "Shards"),
    links={"Shards": ("Registry",)},
    bound={},
    element_gas={"register": (80_000, 0), "rotate": (100_000, 0)},
)

KINDS = (TASK_CHAIN, MARKET, MAIN_CHAIN)
