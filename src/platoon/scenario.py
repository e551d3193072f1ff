"""A scenario: everything that determines a run, as one frozen value parsed from TOML.

Every key has a unit and a source in its description; ``scenarios/*.toml`` show them with comments. An error
names the key, the value and what is allowed. "DTB-FL" is Li, Zheng, Chen 2025 (Future Internet 17(11):505),
whose experiment is section 6.1; equation numbers are that paper's.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from platoon.errors import UserError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0.0, le=1e6)]
Tokens = Annotated[float, Field(ge=0.0, le=1e9)]
MOST_UPDATES = 128
"""Updates that the contract takes in one round."""


class Section(BaseModel):
    """A table of the scenario: frozen, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Task(Section):
    """What is learned, and when the run stops."""

    data: Literal["mnist", "cifar10", "gtsrb"] = Field("mnist", description="data set (DTB-FL: cifar10)")
    model: Literal["cnn", "small_cnn", "mlp"] = Field(
        "small_cnn", description="network; cnn is DTB-FL's of about 1.2 MB on CIFAR-10"
    )
    rounds: Count = Field(25, description="rounds at most (DTB-FL: 100)")
    target_accuracy: Share | None = Field(None, description="stop at this test accuracy (DTB-FL: 0.85)")
    deadline_s: Positive | None = Field(None, description="stop after this many simulated seconds")
    answer_s: Positive = Field(
        600.0, description="vehicles may answer the publisher's request for so long, simulated seconds"
    )
    escrow_tokens: Tokens = Field(1000.0, description="tokens that the publisher puts in escrow")
    test_samples: Count = Field(10_000, description="test images used after every round")


class Attack(Section):
    """One attack of a part of the attackers, in some of the rounds."""

    name: str = Field(description="attack by name (docs/attacks.md)")
    share: Share = Field(
        1.0, description="share of the attackers; shares are laid one after another round their circle"
    )
    start_round: Count = Field(1, description="first round of the attack; honest before")
    rounds_on: Count = Field(1, description="rounds of attack in a row, for rounds_off above 0")
    rounds_off: int = Field(0, ge=0, description="rounds of honesty after them; 0: always on")
    strength: float | None = Field(None, description="not set: the attack's own")
    source: int = Field(5, ge=0, description="class that targeted_flip relabels")
    target: int = Field(3, ge=0, description="class that targeted_flip and backdoor aim at")
    knowledge: Literal["own", "cohort"] = Field(
        "cohort", description="clean updates that attackers know: their own, or those of all honest ones"
    )


class Fleet(Section):
    """The vehicles and who among them is malicious."""

    vehicles: int = Field(60, ge=1, le=100_000, description="N (DTB-FL: 200)")
    malicious_share: Share = Field(0.3, description="share of attackers, drawn once (DTB-FL: 0 to 0.4)")
    attack: str = Field(
        "label_flip",
        description="what every attacker does, by name (docs/attacks.md), or none; label_flip: labels replaced by "
        "uniformly random wrong ones; collusion, sybil: groups send copies of one update, and drive in convoy, or "
        "are one device's accounts",
    )
    attack_strength: float | None = Field(
        None, description="its strength; not set: the attack's own (label_flip: share of flipped labels, 1)"
    )
    attacks: tuple[Attack, ...] = Field(
        (), description='what attackers do besides, as in [{name = "alie", share = 0.5, start_round = 10}]'
    )
    group: int = Field(
        5, ge=2, le=64, description="attackers that act as one, for attack = collusion or sybil"
    )
    platoon: int = Field(
        0, ge=0, description="honest vehicles that drive in convoy, as trucks in a platoon do"
    )


class Partition(Section):
    """How the data lie in the vehicles."""

    kind: Literal["classes", "iid", "dirichlet"] = Field("classes", description="partitioner")
    classes: Count = Field(2, description="classes per vehicle, for kind = classes (DTB-FL: 2)")
    alpha: Positive = Field(0.5, description="concentration, for kind = dirichlet")
    samples: Count = Field(300, description="samples per vehicle (DTB-FL: about 300)")


class Roads(Section):
    """Roads and traffic."""

    engine: Literal["sumo", "walker", "trace"] = Field(
        "sumo",
        description="what moves the vehicles: SUMO; a kinematic walker that meets a mean speed exactly; "
        "a recorded trace (docs/worlds.md)",
    )
    streets: int = Field(9, ge=2, le=101, description="streets each way (DTB-FL: 21)")
    block_m: Positive = Field(250.0, description="block length, metres (DTB-FL: 250)")
    lanes: int = Field(2, ge=1, le=8, description="lanes per direction")
    signals: Literal["actuated", "static", "none"] = Field("actuated", description="traffic lights")
    speed_kmh: tuple[Positive, Positive] = Field(
        (30.0, 60.0), description="least and largest speed limit, drawn per segment (DTB-FL: 30 to 60)"
    )
    sumo_config: str | None = Field(
        None, description="path of a .sumocfg or .net.xml used instead of the grid; its folder is read-only"
    )
    fleet: Literal["circulates", "trips"] = Field(
        "circulates",
        description="the fleet circulates beside a sumo_config's own traffic, or its members take that traffic's "
        "trips, and are off the road in between",
    )
    road_map: str | None = Field(
        None,
        description="path of a .roads.npz that `platoon world export` wrote: the roads of a trace or walker",
    )
    trace: str | None = Field(
        None, description="path of floating car data (.fcd.xml, .csv, .parquet; .gz), for engine = trace"
    )
    trace_repeat: bool = Field(
        False, description="at its end the trace begins again; without it everybody has left the road then"
    )
    warmup_s: int = Field(60, ge=0, description="traffic before round 1, seconds")
    mean_speed_kmh: float | None = Field(
        None, gt=0, le=1000, description="mean speed of the fleet, stops included, for engine = walker"
    )
    turns: tuple[Weight, Weight, Weight] = Field(
        (1.0, 1.0, 1.0), description="weights of left, straight on and right, for engine = walker"
    )
    stop_share: Share = Field(
        0.0, description="probability of a stop at the end of a road, for engine = walker"
    )
    stop_s: Count = Field(20, description="mean length of such a stop, seconds")

    replay: str | None = Field(
        None,
        description="path of the traffic that `platoon world export` wrote for a run of this scenario, instead of "
        "driving it again; changes no result",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Roads":
        if self.speed_kmh[0] > self.speed_kmh[1]:
            raise ValueError("the least speed is above the largest")
        if self.mean_speed_kmh is not None and self.engine != "walker":
            raise ValueError(
                f"roads.mean_speed_kmh = {self.mean_speed_kmh:g}: roads.engine = {self.engine} cannot hold a "
                "mean speed; allowed: with engine = walker"
            )
        if (self.trace is not None) != (self.engine == "trace"):
            raise ValueError(
                f"roads.trace = {self.trace!r} with roads.engine = {self.engine!r}: allowed: a trace with "
                'engine = "trace", none with the others'
            )
        if self.road_map is not None and self.engine == "sumo":
            raise ValueError(
                f'roads.road_map = {self.road_map!r}: allowed: with engine = "trace" or "walker"; SUMO reads '
                "sumo_config"
            )
        if self.fleet == "trips" and (self.engine != "sumo" or self.sumo_config is None):
            raise ValueError(
                'roads.fleet = "trips": allowed: with engine = "sumo" and a sumo_config that has traffic of its own'
            )
        return self


class Radio(Section):
    """Roadside units and their channel: TR 38.901 UMi street canyon with map-based line of sight."""

    source: Literal["model", "map", "drives"] = Field(
        "model",
        description="the channel: TR 38.901, a radio map from a file, or measured drives (docs/worlds.md)",
    )
    map: str | None = Field(
        None, description="path of a .safetensors with path gains and RSUs, for source = map"
    )
    map_outside: Literal["silent", "model"] = Field(
        "silent", description="beyond the radio map nobody is heard, or the model holds"
    )
    drives: str | None = Field(
        None, description="path of recorded drives (.parquet, .csv, or a folder of .csv), for source = drives"
    )
    drives_rate: Literal["snr", "cqi", "uplink"] = Field(
        "snr",
        description="rate of a measured link: from its SNR, from the CQI that the phone reported, or what it sent "
        "(which its applications asked for, not what the channel could carry)",
    )
    outages: tuple[tuple[int, float, float], ...] = Field(
        (), description="RSUs that fall silent: number, from and until this second of the world's clock"
    )
    rsus: int = Field(4, ge=1, le=64, description="RSUs, each with its own edge server (DTB-FL: 10)")
    service_radius_m: Positive = Field(1000.0, description="an RSU serves no vehicle beyond (DTB-FL: 1000)")
    hearing_radius_m: Positive = Field(
        2500.0, description="an RSU measures no vehicle beyond (positioning needs more than service)"
    )
    carrier_ghz: float = Field(
        2.0,
        ge=0.5,
        le=100.0,
        description="carrier; a radius of 1 km holds at 2 GHz, at 5.9 GHz it covers 60 % of vehicle time",
    )
    bandwidth_mhz: Positive = Field(20.0, description="B, shared by the uploads of one RSU (DTB-FL: 20)")
    vehicle_dbm: float = Field(23.0, description="transmit power of a vehicle, dBm")
    antenna_gain_db: float = Field(11.0, description="antenna gains of RSU (8) and vehicle (3), dB")
    noise_figure_db: float = Field(5.0, ge=0, description="receiver noise figure, dB")
    rate: Literal["cqi", "shannon"] = Field(
        "cqi", description="rate from SNR: CQI table, or eq. 1 as written"
    )
    rsu_height_m: Positive = Field(10.0, description="antenna height of an RSU, metres")
    snr_sigma_db: float = Field(
        1.0, ge=0, description="noise of RSRP and SINR measurements before they are rounded, dB"
    )
    interference: bool = Field(
        False, description="uploads in other cells disturb: SINR = S / (N + I); false: each cell is alone"
    )
    arrival_sigma_ns: Positive = Field(
        10.0, description="noise of an arrival time at an RSU, ns (research: 1 to 30)"
    )
    clock_sigma_ns: float = Field(
        15.0, ge=0, description="spread of an RSU's clock, a random walk held by GPS, ns (10 to 30)"
    )
    clock_memory_s: Positive = Field(
        300.0, description="time in which GPS pulls a clock back, seconds; larger is nearer a free walk"
    )
    reference_signals: bool = Field(
        True, description="RSUs time each other's signals, so that their clocks' errors can be estimated"
    )
    range_sigma_m: Positive = Field(4.2, description="noise of a range by round trip, metres")
    angle_sigma_deg: Positive = Field(2.0, description="noise of an angle of arrival, degrees")

    @model_validator(mode="after")
    def _sourced(self) -> "Radio":
        for source, path in (("map", self.map), ("drives", self.drives)):
            if (path is not None) != (self.source == source):
                raise ValueError(
                    f"radio.{source} = {path!r} with radio.source = {self.source!r}: allowed: a file with "
                    f'source = "{source}", none with the others'
                )
        for rsu, begin, end in self.outages:
            if not 0 <= rsu < self.rsus or not 0.0 <= begin < end:
                raise ValueError(
                    f"radio.outages: [{rsu}, {begin:g}, {end:g}]: allowed: an RSU from 0 to {self.rsus - 1}, "
                    "from a second on until a later one"
                )
        return self


class Sidelink(Section):
    """Links between the devices of a local chain: D2D first, cellular out of its reach (docs/ledger/links.md)."""

    carrier_ghz: float = Field(
        5.9, ge=0.5, le=100.0, description="carrier; 5.9 GHz is the band of intelligent transport (TR 37.885)"
    )
    bandwidth_mhz: Positive = Field(
        10.0, description="one channel, shared by all devices by a schedule (TR 37.885: 10 or 20)"
    )
    dbm: float = Field(23.0, description="transmit power of a device, dBm (TR 37.885)")
    antenna_gain_db: float = Field(6.0, description="gains of both antennas, dB (TR 36.885: 3 each)")
    noise_figure_db: float = Field(9.0, ge=0, description="receiver noise figure, dB (TR 37.885)")
    range_m: Positive = Field(500.0, description="no link between devices that are farther apart, metres")
    interference_m: Positive = Field(
        1000.0,
        description="senders nearer than this to somebody else's receiver do not share a slot, metres "
        "(twice the range, as the protocol model of Gupta and Kumar 2000 with Delta = 1)",
    )
    slot_ms: float = Field(0.5, ge=0.01, le=1000, description="slot, milliseconds (NR at 30 kHz: 0.5)")
    hops: int = Field(3, ge=1, le=6, description="transmissions on a relayed way at most; 1: no relays")
    cellular_ms: float = Field(
        5.0,
        ge=0,
        description="delay of a cellular transfer each way, beside its time on the air, milliseconds "
        "(half the round trip that an attestation sees)",
    )

    @model_validator(mode="after")
    def _reaches(self) -> "Sidelink":
        if self.interference_m < self.range_m:
            raise ValueError(
                f"interference_m = {self.interference_m:g} is below range_m = {self.range_m:g}: what can be "
                "received also disturbs; allowed: range_m or more"
            )
        return self


class Compute(Section):
    """The vehicles' processors."""

    ghz: tuple[Positive, Positive] = Field((1.5, 2.5), description="least and largest CPU clock (DTB-FL)")
    cycles_per_sample: Positive = Field(1e6, description="C, cycles per sample and epoch (DTB-FL: about 1e6)")
    load_mean: Share = Field(0.2, description="mean share of the CPU that other work takes")
    load_sigma: float = Field(0.1, ge=0, description="standard deviation of that share")
    boaster_share: Share = Field(
        0.0, description="share of vehicles that claim a faster clock than they have"
    )
    boast: float = Field(2.0, ge=1, le=100, description="factor by which these overstate their clock")
    capacitance: Positive = Field(1e-28, description="zeta of E = zeta C D epochs f^2, joules")

    @model_validator(mode="after")
    def _ordered(self) -> "Compute":
        if self.ghz[0] > self.ghz[1]:
            raise ValueError("the least clock is above the largest")
        return self


class Round(Section):
    """One training round."""

    participants: Count = Field(10, description="K, chosen in the whole fleet (DTB-FL: 10)")
    epochs: Count = Field(3, description="local epochs (DTB-FL: 3)")
    batch: Count = Field(32, description="batch size (DTB-FL: 32)")
    learning_rate: float = Field(0.02, gt=0, le=10, description="local SGD step size (not given by DTB-FL)")
    momentum: float = Field(0.9, ge=0, lt=1, description="local SGD momentum (not given by DTB-FL)")
    proximal: float = Field(
        0.0,
        ge=0,
        le=100,
        description="mu of FedProx: pull of local training back to the model sent out; 0: none, as in DTB-FL",
    )
    local_loss: Literal["full", "own_classes"] = Field(
        "full", description="cross entropy over all classes, or over the vehicle's own (docs/decisions/0006)"
    )
    policy: Literal["drop", "void", "wait"] = Field(
        "drop",
        description="when a chosen vehicle is late: go on without it, discard the round, or wait for it",
    )
    deadline_s: Positive = Field(20.0, description="wait at most this long for updates, seconds")
    selector: str | None = Field(None, description="selector instead of the method's own, by name")
    rest_rounds: int = Field(
        0, ge=0, description="rounds that a chosen vehicle is passed over; 0 is Algorithm 1 as written"
    )
    candidate_pool: int = Field(
        60,
        ge=0,
        description="candidates among which coverage and position choose (DTB-FL: 50 to 100); 0: all",
    )
    coverage_weight: float = Field(
        0.0,
        ge=0,
        le=100,
        description="balanced labels beside merit, estimated from past updates; 0: as written",
    )
    position_weight: float = Field(
        0.0,
        ge=0,
        le=10,
        description="lower merit before intersections (DTB-FL 3.3.3), as a power; 0: as written",
    )
    distribution_s: float = Field(1.0, ge=0, description="edge server to vehicles (DTB-FL 6.1.2: 1.0)")
    chain_s: float = Field(1.5, ge=0, description="evaluation and contracts on chain (DTB-FL 6.1.2: 1.5)")
    aggregation_s: float = Field(0.6, ge=0, description="aggregation (DTB-FL 6.1.2: 0.6)")


class Twin(Section):
    """The digital twin."""

    positioning: Literal["tdoa", "range_angle", "both", "position"] = Field(
        "both",
        description="what RSUs measure places by: arrival times at all that hear, range and angle at the "
        "strongest, both, or a measured position",
    )
    position_sigma_m: Positive = Field(
        3.0, description="noise of a measured position per axis, metres, for positioning = position"
    )
    position_forecast: Literal["particles", "as_written", "projected", "constant_velocity", "stand_still"] = (
        Field(
            "particles",
            description="particles on the road graph; DTB-FL's EKF to 30 s (as_written); or a plain peer",
        )
    )
    position_switch_s: float = Field(
        0.0, ge=0, description="horizon up to which the filter's forecast is used, then particles, seconds"
    )
    particles: int = Field(8, ge=2, le=256, description="paths that stand for the future of a vehicle")
    utility_balance: Share = Field(0.5, description="alpha of eq. 10: link against compute")
    attestation_cycles: Positive = Field(5e8, description="C_test; far above the round trip, cycles")
    attestation_deadline_s: Positive = Field(1.0, description="an answer later than this fails, seconds")
    attestation_steps: int = Field(
        64,
        ge=16,
        multiple_of=16,
        le=10_000_000,
        description="hashes of the task's chain that a simulation really computes; it charges attestation_cycles",
    )
    attestation_age_s: float = Field(
        30.0,
        ge=0,
        description="an attestation holds so long, then it is asked for anew; 0: before each round (DTB-FL)",
    )
    claim_tolerance: Share = Field(
        0.55, description="a vehicle that attests less than this share of its claim is excluded; 0: none"
    )
    link_forecast: Literal["map_blend", "lstm_map", "lstm", "persistence"] = Field(
        "map_blend",
        description="links by radio map and present deviation; LSTM on top; DTB-FL's LSTM; as they are",
    )
    compute_forecast: Literal["ar", "arima", "persistence"] = Field(
        "ar",
        description="capacity by batched autoregression, DTB-FL's ARIMA (an extra), or the last attestation",
    )
    refine_every: Count = Field(10, description="rounds between re-fits (DTB-FL: 10)")


class Trust(Section):
    """Scores, reputation and weights."""

    score: str = Field("probe_margin", description="rule that judges an update; 'cosine' is eq. 11")
    threshold: float | None = Field(
        None, ge=-1, le=1, description="Q_min; None takes the score's own (cosine: 0.3, DTB-FL)"
    )
    probes_per_class: Count = Field(20, description="labelled probe samples per class at each edge server")
    rule: Literal["default", "as_written"] = Field(
        "default", description="reputation as the papers mean it, or with DTB-FL's penalty floor at rho_min"
    )
    beta: Share = Field(0.5, description="memory of the reputation, eq. 12 (DTB-FL: 0.5)")
    rho_min: Share = Field(0.4, description="least reputation to take part (DTB-FL: 0.4)")
    start: Share = Field(0.5, description="reputation of a newcomer (DTB-FL: 0.5)")
    newcomers: Literal["start", "hybrid"] = Field(
        "start",
        description="all start at start; or by eq. 13: start + bonus if attested before round 1, else rho_min",
    )
    newcomer_bonus: float = Field(
        0.1, ge=0, le=0.2, description="Delta of eq. 13, for newcomers = hybrid (DTB-FL: in [0, 0.2])"
    )
    penalty: Share = Field(0.1, description="taken for an invalid update (DTB-FL: 0.1)")
    pseudonym_rounds: int = Field(
        0, ge=0, description="rounds after which vehicles that took part change pseudonyms together; 0 never"
    )
    probation_slots: int = Field(
        1, ge=0, description="excluded vehicles scored per round without being merged (default rule)"
    )


class Aggregation(Section):
    """How the updates that were found valid become the step of the model (docs/aggregation.md)."""

    rule: str = Field(
        "weighted_mean",
        description="aggregator by name; weighted_mean takes the method's weights (eq. 3, 14), the others none",
    )
    pre: str = Field(
        "none", description="before it: clipping (to the median length), nnm, bucketing; joined by +"
    )
    malicious_share: float = Field(
        0.3,
        ge=0,
        lt=0.5,
        description="f: share of the updates that a robust rule bears, rounded down; at most what it can of those "
        "that arrived (DTB-FL's attackers: 0 to 0.4)",
    )
    bucket: Count = Field(2, description="updates per bucket, for pre = bucketing (Karimireddy 2022: 2)")
    tau: Positive | None = Field(
        None, description="radius of centred_clipping, parameter units; None: the median distance, every time"
    )
    iterations: int = Field(
        16, ge=1, le=1000, description="of geometric_median and centred_clipping (ByzFL: 3 and 1)"
    )


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
    deadline_s: Positive = Field(
        60.0, description="longest wait for one step on the network, real seconds, for engine = rpc"
    )
    confirmations: int = Field(
        0,
        ge=0,
        le=1000,
        description="blocks that must follow a transaction's own (QBFT is final: 0), for engine = rpc",
    )


class Scenario(Section):
    """A whole scenario. ``Scenario.load`` reads it from TOML.

    >>> Scenario().fleet.vehicles
    60
    """

    name: str = Field("scenario", pattern=r"^[A-Za-z0-9_.-]+$", description="name in tables and reports")
    seed: int = Field(1, ge=0, lt=2**63, description="the one seed")
    method: str = Field("dtb-fl", description="composition of selector, score, reputation and weights")
    compare: tuple[str, ...] = Field(("dtb-fl", "fedavg"), description="methods of `platoon compare`")
    workers: int = Field(2, ge=1, le=256, description="training processes; the result does not depend on it")
    task: Task = Task()
    fleet: Fleet = Fleet()
    partition: Partition = Partition()
    roads: Roads = Roads()
    radio: Radio = Radio()
    sidelink: Sidelink = Sidelink()
    compute: Compute = Compute()
    round: Round = Round()
    twin: Twin = Twin()
    trust: Trust = Trust()
    aggregation: Aggregation = Aggregation()
    reward: Reward = Reward()
    committee: Committee = Committee()
    stake: Stake = Stake()
    plausibility: Plausibility = Plausibility()
    ledger: Ledger = Ledger()

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        if self.round.participants > self.fleet.vehicles:
            raise ValueError(
                f"round.participants = {self.round.participants}: larger than the fleet; "
                f"allowed: 1 to fleet.vehicles = {self.fleet.vehicles}"
            )
        if self.round.participants + self.trust.probation_slots > MOST_UPDATES:
            raise ValueError(
                f"round.participants = {self.round.participants} with trust.probation_slots = "
                f"{self.trust.probation_slots}: allowed: together at most {MOST_UPDATES}, what a contract takes"
            )
        if (reason := _refuse_attacks(self.fleet)) is not None:
            raise ValueError(reason)
        if malicious_count(self.fleet) >= self.fleet.vehicles:
            raise ValueError(
                f"fleet.malicious_share = {self.fleet.malicious_share}: every vehicle is malicious; "
                "allowed: a share that leaves at least one honest vehicle"
            )
        if self.fleet.platoon > self.fleet.vehicles - malicious_count(self.fleet):
            raise ValueError(
                f"fleet.platoon = {self.fleet.platoon}: more than the honest vehicles; "
                f"allowed: 0 to {self.fleet.vehicles - malicious_count(self.fleet)}"
            )
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> "Scenario":
        """Read a scenario from a TOML file; ``overrides`` maps dotted keys to values (``--set``).

        Raises:
            UserError: no such file, no TOML, an unknown key, or a value out of range; the message says which.
        """
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: no such scenario file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as a scenario ({error})") from None
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: not valid TOML ({error})") from None
        return cls.from_table(table, overrides, source=str(path))

    @classmethod
    def from_table(
        cls, table: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, source: str = "scenario"
    ) -> "Scenario":
        """Build a scenario from nested mappings, applying dotted overrides; raises ``UserError``."""
        merged = _copy(table)
        for key, value in (overrides or {}).items():
            _assign(merged, key, value)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise UserError(f"{source}: {_explain(error)}") from None

    def to_toml(self) -> str:
        """The scenario as TOML, every key written out beside what it means. Reading it gives an equal one."""
        return _section_toml(self)


def malicious_count(fleet: Fleet) -> int:
    """Number of attackers: the share of the fleet, rounded to nearest (0 without an attack)."""
    if fleet.attack == "none" and not fleet.attacks:
        return 0
    return round(fleet.malicious_share * fleet.vehicles)


def _refuse_attacks(fleet: Fleet) -> str | None:
    """What is wrong with the shares of ``fleet.attacks``, or None."""
    covered = sum(attack.share for attack in fleet.attacks)
    if fleet.attack == "none" and fleet.attacks and covered < 1.0 - 1e-9:
        return (
            f"fleet.attacks: shares sum to {covered:g}, so that some attackers never attack; allowed: at least 1, "
            "or fleet.attack beside them"
        )
    if any(attack.name == "none" for attack in fleet.attacks):
        return "fleet.attacks: 'none' is no attack; allowed: leave it out"
    return None


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A hint for a misspelt name: the close match, and all that is allowed.

    >>> did_you_mean("fedavgg", ["dtb-fl", "fedavg"])
    "did you mean 'fedavg'? allowed: dtb-fl, fedavg"
    """
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}allowed: {', '.join(known)}"


def _copy(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _assign(table: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"{dotted}: {parent} is a value, not a section")
        table = inner
    table[last] = value


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Keys that are allowed in the section that a validation error points into."""
    section: type[BaseModel] = Scenario
    for part in location[:-1]:
        if isinstance(part, int):  # a place in a list, of which the annotation before it told
            continue
        annotation = section.model_fields[part].annotation
        annotation = next(iter(get_args(annotation)), annotation)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        section = annotation
    return list(section.model_fields)


def _explain(error: ValidationError) -> str:
    """The first fault of a validation error, in one line."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; {did_you_mean(str(fault['loc'][-1]), _fields_at(fault['loc']))}"
    message = fault["msg"].removeprefix("Value error, ")
    if not key:
        return message
    return f"{key} = {fault['input']!r}: {message[:1].lower()}{message[1:]}"


def _section_toml(section: Section, prefix: str = "") -> str:
    """TOML of a section; a key without a value stands as a comment, as TOML has no null."""
    lines, tables = [], []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, Section):
            title = type(value).__doc__ or ""
            name = f"{prefix}{key}"
            tables.append(f"\n[{name}]  # {title.splitlines()[0]}\n{_section_toml(value, f'{name}.')}")
        elif value is None:
            lines.append(f"# {key} is not set  # {field.description}")
        else:
            lines.append(f"{key} = {_toml_value(value)}  # {field.description}")
    return "\n".join(lines) + "\n" + "".join(tables)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, Section):
        pairs = [
            (key, inner) for key in type(value).model_fields if (inner := getattr(value, key)) is not None
        ]
        return "{" + ", ".join(f"{key} = {_toml_value(inner)}" for key, inner in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
