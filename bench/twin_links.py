"""Finish and link forecasts on the pinned scenario: Brier scores, and how many uploads fail that they chose.

Every round, each vehicle in service is asked whether 9.6 Mbit would get through in the last two seconds of the
round: it trains until then, so that the forecast has to look ahead as far as the round is long. What is true
follows from the world's own links, second by second, each upload with the band to itself (one upload then says
nothing of another, and the whole fleet can be asked). Cohorts of ten are chosen by finish probability, by the best
link now (``reactive``) and at random, none again within ten rounds, on the same traffic. The peer of the Brier
score is "the rate stays as it is". The first ``LEARNING_S`` are not counted.
"""

from dataclasses import dataclass, field

import numpy as np

from bench.rows import Row
from bench.twin_world import SEEDS, Recording, load, over_seeds, record, start_world
from platoon import Scenario
from platoon.nouns import SECOND, Bools, Floats, Forecasts, Ints, Outcomes, seconds
from platoon.rng import stream
from platoon.twin.selectors import NEVER, Candidates, Selector, finish_reputation, random, reactive
from platoon.twin.twin import Job, Twin
from platoon.world.world import World

CASES = (
    (5.9, 8.6, 700),
    (5.9, 30.0, 1_200),
    (5.9, 60.0, 1_800),
    (2.0, 8.6, 700),
    (2.0, 30.0, 1_200),
    (2.0, 60.0, 1_800),
)
"""Carrier in GHz, round in seconds, and seconds that are played."""
LONGEST = 1_800
LEARNING_S = 300.0
BITS, WINDOW_S = 9.6e6, 2.0
"""DTB-FL's update, and how long before the deadline its upload may begin."""
SELECTORS: dict[str, Selector] = {"twin": finish_reputation, "reactive": reactive, "random": random}


@dataclass
class Tally:
    """Sums over the rounds of one play."""

    brier: list[float] = field(default_factory=list)
    persistence: list[float] = field(default_factory=list)
    failed: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SELECTORS})


def measure() -> list[Row]:
    """Rows ``finish_brier_...`` and ``upload_failures_...`` of every case, with the link error beside."""
    rows: list[Row] = []
    for carrier, round_s, length in CASES:
        plays = [play(seed, carrier, round_s, length) for seed in SEEDS]
        rows += summarise(carrier, round_s, plays)
    return rows


def summarise(
    carrier: float, round_s: float, plays: list[tuple[Tally, dict[str, float | None]]]
) -> list[Row]:
    """The rows of one case, over the seeds."""
    band = f"{carrier:g}".replace(".", "_") + "ghz"
    length = f"{round_s:g}".replace(".", "_") + "s"
    brier = [float(np.mean(tally.brier)) for tally, _ in plays]
    stays = [float(np.mean(tally.persistence)) for tally, _ in plays]
    failed = {name: [float(np.mean(tally.failed[name])) for tally, _ in plays] for name in SELECTORS}
    suffix = "" if carrier > 5.0 else f"_{band}"
    ratios = [mine / theirs for mine, theirs in zip(brier, stays, strict=True)]
    rows = [
        over_seeds(f"finish_brier_vs_persistence_{length}{suffix}", ratios, "ratio", "its Brier score", stays)
    ]
    ratios = [
        mine / max(theirs, 1e-9) for mine, theirs in zip(failed["twin"], failed["reactive"], strict=True)
    ]
    name = f"upload_failures_vs_reactive_{band}_{length}"
    rows.append(over_seeds(name, ratios, "ratio", "reactive's share", failed["reactive"]))
    rows.append(over_seeds(f"upload_failures_random_{band}_{length}", failed["random"], "share"))
    return rows


def play(
    seed: int, carrier: float, round_s: float, length: int, overrides: dict[str, object] | None = None
) -> tuple[Tally, dict[str, float | None]]:
    """One seed of one case: the rounds' tally, and the twin's report card."""
    settings = {"radio.carrier_ghz": carrier, "round.deadline_s": round_s, **(overrides or {})}
    scenario = load(seed, settings)
    world = start_world(scenario, LONGEST)
    twin = Twin(scenario, world.road_map, world.rsus, world.processors.commercial)
    truth = Truth(world, record(scenario, LONGEST))
    tally, last = Tally(), {name: np.full(scenario.fleet.vehicles, NEVER) for name in SELECTORS}
    for number in range(1, int(length / round_s) + 1):
        at = (number - 1) * round_s
        follow(world, twin, at)
        forecasts, stays = ask(twin, world, round_s)
        arrived = truth.find_arrivals(at + round_s - WINDOW_S, at + round_s)
        chosen = {name: choose(scenario, name, forecasts, number, last[name]) for name in SELECTORS}
        for name, cohort in chosen.items():
            last[name][cohort] = number
        if at >= LEARNING_S:
            count(tally, forecasts, stays, arrived, chosen)
        cohort = chosen["twin"]
        took = np.where(arrived[cohort], round_s - WINDOW_S / 2, np.nan)
        twin.learn(Outcomes(round=number, vehicles=cohort, arrived=arrived[cohort], seconds=took))
    card = twin.report_card_with_peers()
    world.close()
    return tally, card


class Truth:
    """What uploads would have carried: the world's links at the middle of every second."""

    def __init__(self, world: World, recording: Recording) -> None:
        self._channel, self._recording = world.channel, recording
        self._rates: dict[int, Floats] = {}

    def find_arrivals(self, begin_s: float, end_s: float) -> Bools:
        """(N,) whether ``BITS`` get through in that time, with the best RSU's band to oneself."""
        carried = np.zeros(self._recording.tracks.shape[1])
        for second in range(int(begin_s), int(np.ceil(end_s))):
            carried += self._rate(second) * (min(second + 1, end_s) - max(second, begin_s))
        return np.asarray(carried >= BITS)

    def _rate(self, second: int) -> Floats:
        if second not in self._rates:
            tracks, present = self._recording.tracks, self._recording.present
            places = (tracks[second] + tracks[second + 1]) / 2.0
            snr = self._channel.snr_db(places)
            usable = self._channel.serviceable(places, snr) & (present[second] & present[second + 1])[:, None]
            self._rates[second] = np.where(usable, self._channel.rate(snr), 0.0).max(axis=1)
        return self._rates[second]


def follow(world: World, twin: Twin, until_s: float) -> None:
    """Let time pass to ``until_s``, with a look at every full second and at the end."""
    for second in range(int(world.now / SECOND) + 1, int(until_s) + 1):
        world.advance(seconds(second))
        twin.observe(world.measure())
    if world.now < seconds(until_s) or not world.now:
        world.advance(seconds(until_s))
        twin.observe(world.measure())


def ask(twin: Twin, world: World, round_s: float) -> tuple[Forecasts, Bools]:
    """The twin's forecasts, and (N,) whether the update would get through if the rate stays as it is."""
    vehicles = len(world.present())
    twin.attest(world.attest(np.arange(vehicles)))
    job = Job(samples=np.ones(vehicles), epochs=1, bits=BITS, wait_s=round_s - WINDOW_S)
    forecasts = twin.forecast(job, seconds(round_s), world.now)
    return forecasts, np.asarray(forecasts.measured_rate * WINDOW_S >= BITS)


def choose(scenario: Scenario, name: str, forecasts: Forecasts, number: int, last_chosen: Ints) -> Ints:
    """The cohort of one selector."""
    candidates = Candidates(
        forecasts=forecasts,
        reputation=np.ones(len(last_chosen)),
        rho_min=scenario.trust.rho_min,
        count=scenario.round.participants,
        rng=stream(scenario.seed, "bench", number),
        round=number,
        last_chosen=last_chosen,
        rest_rounds=scenario.round.rest_rounds,
    )
    return SELECTORS[name](candidates)


def count(tally: Tally, forecasts: Forecasts, stays: Bools, arrived: Bools, chosen: dict[str, Ints]) -> None:
    """Add a round: squared errors over who is in service, and the share of each cohort that failed."""
    served = forecasts.edge_server >= 0
    tally.brier.append(float(np.mean((forecasts.finish_probability - arrived)[served] ** 2)))
    tally.persistence.append(float(np.mean((stays.astype(float) - arrived)[served] ** 2)))
    for name, cohort in chosen.items():
        tally.failed[name].append(float(1.0 - arrived[cohort].mean()))
