"""Reading a run directory: the files that DESIGN section 10 names, as columns and frozen values.

A file that is missing, unreadable, or short of a column is the user's to put right, so each such case is a
``UserError`` of one line that names the file. Values that a run could not know are null there and NaN or None here.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from platoon.errors import UserError
from platoon.nouns import Bools, Floats, Ints
from platoon.scenario import Scenario

Texts = NDArray[np.object_]
"""A column of str."""

DISPLAY_NAMES = {
    "dtb-fl": "DTB-FL",
    "fedavg": "FedAvg",
    "vec-fl": "VEC-FL",
    "bc-fl": "BC-FL",
    "dt-fl": "DT-FL",
}
"""How the papers write the methods; a plug-in's method is shown by its own name."""

DTYPES: dict[Any, tuple[Any, Any]] = {
    Floats: (pa.float64(), np.float64),
    Ints: (pa.int64(), np.int64),
    Bools: (pa.bool_(), np.bool_),
    Texts: (pa.string(), np.object_),
}
"""Column type -> type in the file and in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """rounds.parquet: a row per round, in order (R)."""

    round: Ints
    started_s: Floats
    """Simulated seconds."""
    ended_s: Floats
    accuracy: Floats
    """Share of the test images classified right; NaN where it was not measured."""
    outcome: Texts
    """"merged", "kept: why" or "void: why"."""
    selected: Ints
    arrived: Ints
    dropped: Ints
    valid: Ints
    malicious_weight: Floats
    """Share of the merged weight that attackers got; NaN where nothing was merged."""
    score_auc: Floats
    """Probability that a malicious update scores below an honest one; NaN where the round cannot tell."""
    paid: Floats
    """Tokens."""
    escrow_left: Floats
    """Tokens."""
    distribution_s: Floats
    training_s: Floats
    sealing_s: Floats
    """Simulated seconds in which committees were asked for their seals."""
    chain_s: Floats
    aggregation_s: Floats
    energy_j: Floats
    sealing_d2d: Ints
    """Messages of local chains by the link that carried them, here and below."""
    sealing_relayed: Ints
    sealing_cellular: Ints
    sealing_lost: Ints
    """Out of all reach."""
    sealing_bytes: Ints
    head: Texts
    """Ledger head after the round, hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """updates.parquet: a row per chosen vehicle and round, ordered by round and vehicle (U)."""

    round: Ints
    vehicle: Ints
    edge_server: Ints
    """-1 where the update never arrived."""
    arrived: Bools
    score: Floats
    """NaN where the update was not judged."""
    weight: Floats
    """Share of the merged weight; 0 where it did not count."""
    reputation_before: Floats
    reputation_after: Floats
    reward: Floats
    """Tokens."""
    finish_probability: Floats
    predicted_s: Floats
    actual_s: Floats
    """NaN where the update never arrived."""
    x: Floats
    """Metres, true position at dispatch."""
    y: Floats
    honest: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Vehicles:
    """vehicles.parquet: a row per vehicle of the fleet, by id (V), as the run left them."""

    vehicle: Ints
    honest: Bools
    reputation: Floats
    judged: Ints
    """How many of its updates were judged."""
    chosen: Ints
    reward: Floats
    """Tokens."""
    energy_j: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeServers:
    """edge_servers.parquet: a row per edge server that takes part and round, in that order (S)."""

    round: Ints
    edge_server: Ints
    updates: Ints
    """That it recorded."""
    deviation: Floats
    """Mean distance of its scores from the medians; NaN where it did not score, or nothing was scored."""
    missed: Texts
    """Steps that it was absent from, as in "score and vote"; empty where none."""
    named: Texts
    """Why it was named: "scores", "vote" or "scores and vote"; empty where it was not."""
    taken: Floats
    """Of its stake, tokens."""
    stake: Floats
    """Left after the round, tokens."""


NULLABLE = ("missed", "named")
"""Text columns in which nothing to say is null."""


class _Parsed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RoadMap(_Parsed):
    """map.json, in metres."""

    bounds: tuple[float, float, float, float]
    """Least x, least y, largest x, largest y."""
    roads: tuple[tuple[tuple[float, float], ...], ...]
    rsus: tuple[tuple[float, float], ...]
    service_radius_m: float


class ReputationFacts(_Parsed):
    """How well the last reputations tell honest vehicles from attackers, over vehicles that were judged."""

    auc: float | None
    honest_mean: float | None
    malicious_mean: float | None


class RewardFacts(_Parsed):
    """Tokens."""

    paid: float | None
    to_malicious: float | None
    escrow_left: float | None


class HorizonFacts(_Parsed):
    """Errors of practice forecasts so far ahead, and how often the intervals of positions held."""

    seconds: float
    position_mae_m: float | None
    stand_still_mae_m: float | None
    inside_80: float | None
    inside_95: float | None
    positions: int
    link_mae_db: float | None
    persistence_mae_db: float | None
    links: int


class ReliabilityFacts(_Parsed):
    """Forecasts of about the same probability, and the share of them that came true."""

    forecast: float
    happened: float
    count: int


class DurationFacts(_Parsed):
    """Forecasts of the time to deliver, and how often their intervals held."""

    mae_s: float | None
    inside_80: float | None
    inside_95: float | None
    intervals: int
    durations: int


class PlausibilityFacts(_Parsed):
    """Flags for collusion and Sybils."""

    cases: int
    lifted: int
    flagged: int
    flagged_honest: int


class ForecastFacts(_Parsed):
    """The twin's record of its own forecasts."""

    position_mae_m: float | None
    link_mae_db: float | None
    finish_brier: float | None
    horizons: tuple[HorizonFacts, ...] = ()
    watched: tuple[ReliabilityFacts, ...] = ()
    """Of vehicles that were not chosen."""
    duration: DurationFacts | None = None


class LedgerFacts(_Parsed):
    """The ledger as the run left it."""

    engine: str
    blocks: int
    transactions: int
    head: str
    verified: bool | None
    """Whether the run checked its own ledger at the end, and with what result; None: it did not."""


class Summary(_Parsed):
    """The keys of summary.json that the report shows."""

    method: str
    seed: int
    simulated_seconds: float | None
    wall_seconds: float | None
    seconds_to: dict[str, float | None]
    reputation: ReputationFacts
    rewards: RewardFacts
    forecast: ForecastFacts
    achieved_speed_kmh: float | None
    ledger: LedgerFacts
    model_digest: str | None
    format: int | str | None
    contracts: str | dict[str, str] | None
    versions: dict[str, str | None]
    cpu_seconds: dict[str, float | None]
    ended: str | None = None
    """Why the run stopped; summaries of an older platoon do not say."""
    study: str | None = None
    """Why the results are no measure of a deployment."""
    plausibility: PlausibilityFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run directory, read."""

    directory: Path
    label: str
    """Names the run among those that are reported together; not safe as HTML."""
    scenario: Scenario
    scenario_text: str
    summary: Summary
    rounds: Rounds
    updates: Updates
    vehicles: Vehicles
    edge_servers: EdgeServers
    road_map: RoadMap


Table = TypeVar("Table", Rounds, Updates, Vehicles, EdgeServers)
Parsed = TypeVar("Parsed", bound=_Parsed)


def read_runs(directories: Sequence[Path]) -> tuple[RunRecord, ...]:
    """Read run directories in the order given, and label them so that no two are called the same.

    Raises:
        UserError: no directory given, or one that is missing or damaged.
    """
    if not directories:
        raise UserError("no run directory given; allowed: one or more, as `platoon run` leaves them")
    runs = [_read_run(Path(directory)) for directory in directories]
    return tuple(
        dataclasses.replace(run, label=label) for run, label in zip(runs, _label_runs(runs), strict=True)
    )


def _read_run(directory: Path) -> RunRecord:
    if not directory.is_dir():
        raise UserError(f"{directory}: no such run directory")
    summary = _read_json(directory / "summary.json", Summary)
    scenario_path = directory / "scenario.toml"
    scenario_text = _read_text(scenario_path)
    rounds = _sort_rows(_read_table(directory / "rounds.parquet", Rounds), "round")
    _require_distinct(rounds.round, directory / "rounds.parquet", "round")
    vehicles = _sort_rows(_read_table(directory / "vehicles.parquet", Vehicles), "vehicle")
    _require_distinct(vehicles.vehicle, directory / "vehicles.parquet", "vehicle")
    updates = _read_updates(directory / "updates.parquet", rounds, vehicles)
    return RunRecord(
        directory=directory,
        label=DISPLAY_NAMES.get(summary.method, summary.method),
        scenario=Scenario.load(scenario_path),
        scenario_text=scenario_text,
        summary=summary,
        rounds=rounds,
        updates=updates,
        vehicles=vehicles,
        edge_servers=_read_edge_servers(directory / "edge_servers.parquet", rounds),
        road_map=_read_json(directory / "map.json", RoadMap),
    )


def _read_updates(path: Path, rounds: Rounds, vehicles: Vehicles) -> Updates:
    """The updates of committed rounds: rows of a round that is in no ledger are ignored (DESIGN section 9)."""
    updates = _sort_rows(_read_table(path, Updates), "vehicle", "round")
    unknown = np.setdiff1d(updates.vehicle, vehicles.vehicle)
    if len(unknown):
        raise UserError(f"{path}: vehicle {unknown[0]} is not in vehicles.parquet")
    return _take_rows(updates, np.flatnonzero(np.isin(updates.round, rounds.round)))


def _read_edge_servers(path: Path, rounds: Rounds) -> EdgeServers:
    """The edge servers of committed rounds."""
    servers = _sort_rows(_read_table(path, EdgeServers), "edge_server", "round")
    return _take_rows(servers, np.flatnonzero(np.isin(servers.round, rounds.round)))


def _label_runs(runs: Sequence[RunRecord]) -> list[str]:
    """The method's name; where that is shared, with the seed, then the scenario's name, then a number."""
    labels = [run.label for run in runs]
    details: list[Callable[[int], str]] = [
        lambda i: f"seed {runs[i].summary.seed}",
        lambda i: runs[i].scenario.name,
        lambda i: f"run {i + 1}",
    ]
    for detail in details:
        shared = Counter(labels)
        labels = [f"{text}, {detail(i)}" if shared[text] > 1 else text for i, text in enumerate(labels)]
    return labels


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = "; has the run finished? `platoon resume` completes it" if path.name == "summary.json" else ""
        raise UserError(f"{path}: missing from the run directory{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({_one_line(error)})") from None


def _read_json(path: Path, kind: type[Parsed]) -> Parsed:
    text = _read_text(path)
    try:
        return kind.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({_one_line(error)})") from None
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise UserError(f"{path}: {key}: {fault['msg'][:1].lower()}{fault['msg'][1:]}") from None


def _read_table(path: Path, kind: type[Table]) -> Table:
    if not path.is_file():
        raise UserError(f"{path}: missing from the run directory")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({_one_line(error)})") from None
    hints = get_type_hints(kind)
    return kind(**{name: _read_column(path, table, name, hint) for name, hint in hints.items()})


def _read_column(path: Path, table: Any, name: str, hint: Any) -> Any:
    """One column as the array type that the field declares; only Floats may hold nulls (as NaN)."""
    if not table.num_columns:  # a run that never chose a vehicle writes a table without rows and columns
        return np.zeros(0, dtype=DTYPES[hint][1])
    if name not in table.column_names:
        raise UserError(f"{path}: no column '{name}'")
    column = table.column(name)
    if name in NULLABLE:
        column = column.cast(pa.string()).fill_null("")
    if hint != Floats and column.null_count:
        raise UserError(f"{path}: column '{name}' has nulls where none are allowed")
    arrow_type, dtype = DTYPES[hint]
    try:
        cast = column.cast(arrow_type)
    except pa.ArrowException as error:
        raise UserError(f"{path}: column '{name}' is no {arrow_type} ({_one_line(error)})") from None
    return np.asarray(cast.to_numpy(), dtype=dtype)


def _sort_rows(table: Table, *keys: str) -> Table:
    """Rows ordered by the last key first, as ``numpy.lexsort`` has it."""
    return _take_rows(table, np.lexsort([getattr(table, key) for key in keys]))


def _take_rows(table: Table, rows: Ints) -> Table:
    columns = {field.name: getattr(table, field.name)[rows] for field in dataclasses.fields(table)}
    return dataclasses.replace(table, **columns)


def _require_distinct(ids: Ints, path: Path, name: str) -> None:
    repeated = ids[1:][np.diff(ids) == 0]
    if len(repeated):
        raise UserError(f"{path}: {name} {repeated[0]} is there twice")


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
