"""Sections on what all agree on: rewards, committees, stakes, plausibility and the ledger itself."""

from typing import Literal

from pydantic import Field

from platoon.scenario.section import Positive, Section, Share, Tokens


class Reward(Section):
    """Payment of the vehicles, from escrow."""

    formula: Literal["pool", "base_bonus"] = Field("pool", description="eq. 15, or eq. 6")
    pool_tokens: Tokens = Field(10.0, description="R_total of eq. 15, tokens per round")
    base_tokens: Tokens = Field(0.2, description="R_base of eq. 6, tokens")
    bonus_tokens: Tokens = Field(5.0, description="R_bonus of eq. 6, tokens")
    sealing_tokens: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="for proposing and sealing local blocks (Two-layer's mining), tokens per round, "
        "from a budget beside the escrow",
    )


class Committee(Section):
    """Who seals the local blocks of an edge server: itself and full devices whose updates reached it."""

    size: int = Field(
        6,
        ge=0,
        le=6,
        description="vehicles in a round's committee at most, beside the edge server; 0: it anchors alone",
    )
    floor: Share = Field(0.5, description="least reputation of a member (DESIGN 3)")
    full_share: Share = Field(
        0.8, description="share of vehicles that are full devices; the others only relay"
    )
    unsealed_weight: float = Field(
        1.0, ge=1e-6, le=1, description="weight of updates in unsealed blocks; 1: counted and flagged"
    )
    patience_s: Positive = Field(
        0.5, description="a member that is silent this long is replaced once, where the quorum lacks, seconds"
    )


class Stake(Section):
    """What edge servers put at stake for their judgement, and when they lose of it."""

    tokens: float = Field(
        100.0, ge=0, description="deposit of every edge server, tokens (the papers give none)"
    )
    share: Share = Field(0.1, description="of the deposit, taken each time an edge server is named")
    mean_tolerance: float = Field(
        0.3,
        ge=0,
        le=2,
        description="named beyond this mean distance of a round's scores from the medians (docs/ledger.md)",
    )
    single_tolerance: float = Field(
        1.0, ge=0, le=2, description="or beyond this distance on any one update (docs/ledger.md)"
    )


class Plausibility(Section):
    """Vehicles that move and send as no strangers would (DTB-FL 4.3.4; the paper gives no thresholds)."""

    check: bool = Field(True, description="edge servers look for collusion and Sybils, where a method judges")
    penalty: Share = Field(0.3, description="taken from the reputation of every member of a flagged cluster")
    convoy_m: Positive = Field(
        100.0, description="no farther apart on average over a minute: they drove together, metres"
    )
    near: Share = Field(
        0.99,
        description="cosine from which on two updates are near-identical (copies: 0.9999, honest: to 0.98)",
    )
    gap: Share = Field(0.1, description="the others' mean cosine with a cluster lies so far below near")
    one_device: Positive = Field(
        1.7, description="received no more differently than so many times the noise: one device"
    )


class Ledger(Section):
    """The ledger's engine."""

    engine: Literal["embedded", "rpc"] = Field(
        "embedded",
        description="EVM in the process, or a network's node (docs/ledger/remote.md); sealed log in SQLite",
    )
    chain_id: int = Field(7_400, ge=1, lt=2**53, description="EIP-155 and EIP-712 chain id")
    url: str = Field(
        "http://127.0.0.1:8545",
        pattern=r"^https?://[^@\s]+$",
        description="node's JSON-RPC address, without a password, for engine = rpc",
    )
    accounts: str = Field(
        "",
        max_length=64,
        description="what simulated accounts follow from, beside the seed: runs on one network need different ones "
        "(`platoon compare` names its methods)",
    )
    deadline_s: Positive = Field(
        60.0, description="longest wait for one step on the network, real seconds, for engine = rpc"
    )
    confirmations: int = Field(
        0,
        ge=0,
        le=1000,
        description="blocks that must follow a transaction's own (QBFT is final: 0), for engine = rpc",
    )
