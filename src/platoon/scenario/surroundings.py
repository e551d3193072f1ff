"""Sections on what surrounds the vehicles: roads, radio, sidelinks, processors, and the twin of all that."""

from typing import Literal

from pydantic import Field, model_validator

from platoon.scenario.section import Count, Positive, Section, Share, Weight


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
