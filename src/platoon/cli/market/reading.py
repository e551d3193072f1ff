"""What users type for ``platoon market``, as values; every mistake is a ``UserError`` that says what is allowed."""

import json
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from platoon.cli.market.app import to_tokens
from platoon.errors import UserError
from platoon.market.search import Wanted
from platoon.nouns import MILLION
from platoon.records.listings import Description
from platoon.records.opinions import Mode, OpinionRules
from platoon.scenario import did_you_mean

if TYPE_CHECKING:
    from platoon.drivers.market.desk import Desk
    from platoon.market.auction.boosts import BoostNetwork

_KEYS = ("labels", "accuracy", "architecture", "inputs")


def read_bytes(path: Path) -> bytes:
    """A file's content; raises ``UserError``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def write_bytes(path: Path, content: bytes) -> None:
    """Raises ``UserError`` where something is there, or nothing can be."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise UserError(f"{path}: there is something already; allowed: a new file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def read_opinions(mode: str, weights: str) -> OpinionRules:
    """How reputations come about; raises ``UserError``."""
    modes = {"direct": Mode.SHARED_DIRECT, "as_written": Mode.AS_WRITTEN}
    if mode not in modes:
        raise UserError(f"--opinions {mode!r}: {did_you_mean(mode, list(modes))}")
    try:
        direct, recommended, referenced = (round(float(part) * MILLION) for part in weights.split(","))
        return OpinionRules(mode=modes[mode], direct=direct, recommended=recommended, referenced=referenced)
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"--weights {weights}: allowed: three shares from 0 to 1 by comma ({error})"
        ) from None


def read_amounts(text: str) -> list[int]:
    """Tokens by comma, as integers of 10^-6.

    >>> read_amounts("1.5,2")
    [1500000, 2000000]
    """
    try:
        amounts = [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{text!r}: allowed are amounts by comma, as 1.5,2") from None
    return [to_tokens(amount) for amount in amounts]


def read_place(text: str) -> tuple[int, int] | None:
    """Whole metres; None for nothing.

    >>> read_place("120,-7.6")
    (120, -8)
    """
    if not text:
        return None
    try:
        x, y = (float(part) for part in text.split(","))
        return round(x), round(y)
    except (ValueError, OverflowError):
        raise UserError(f"{text!r}: allowed is X,Y in metres") from None


def read_description(
    run: Path | None, model: Path | None, like: Path | None, words: Mapping[str, str], place: str
) -> tuple[bytes, Description]:
    """A model's file and what its seller says of it: from a run, or from a file and a JSON description of it.

    Raises:
        UserError: neither or both, or contents that are no description.
    """
    from platoon.drivers.market.judging import describe_run

    where = read_place(place)
    if (run is None) == (model is None):
        raise UserError("the model: allowed is either --run DIR, or --model FILE with --like FILE.json")
    if model is not None and like is None:
        raise UserError("--model needs --like FILE.json: labels, accuracy, architecture, inputs")
    try:
        if run is not None:
            content, description = describe_run(run, **words, place=where)
        else:
            assert model is not None
            assert like is not None
            content = read_bytes(model)
            description = _describe_file(content, _read_table(like), words, where)
        description.encode()  # raises for one that is too long
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"the listing: {error}") from None
    return content, description


def _describe_file(
    content: bytes, said: Mapping[str, Any], words: Mapping[str, str], place: tuple[int, int] | None
) -> Description:
    from platoon.drivers.foreign_models import read_foreign_model
    from platoon.drivers.market.checks import digest_tensors

    tensors = read_foreign_model(content, None)
    return Description(
        **words,
        labels=tuple(map(str, said["labels"])),
        accuracy=round(float(said["accuracy"]) * MILLION),
        architecture=str(said["architecture"]),
        inputs=tuple(map(int, said["inputs"])),
        parameters=sum(values.size for values in tensors.values()),
        tensors=digest_tensors(tensors),
        place=place,
        domain=tuple(map(int, said.get("domain", ()))),
    )


def _read_table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(table, dict):
        raise UserError(f"{path}: allowed is one JSON object with {', '.join(_KEYS)}")
    for key in table:
        if key not in (*_KEYS, "domain"):
            raise UserError(f"{path}: {key!r} is unknown; {did_you_mean(key, [*_KEYS, 'domain'])}")
    missing = [key for key in _KEYS if key not in table]
    if missing:
        raise UserError(f"{path}: {', '.join(missing)} is missing; needed: {', '.join(_KEYS)}")
    return table


def read_network(name: str) -> "BoostNetwork":
    """A learned auction: one that comes with the package by its name, or a JSON file; raises ``UserError``."""
    from platoon.market.auction.boosts import from_record
    from platoon.market.auction.trained import load_network

    path = Path(name)
    if path.suffix != ".json":
        return load_network(name)
    try:
        return from_record(json.loads(read_bytes(path)), name)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None


def make_wanted(
    task: str,
    labels: str,
    most_bytes: int | None,
    most_price: float | None,
    least_reputation: float,
    most_metres: float | None,
    like: Path | None,
) -> Wanted:
    """What a buyer asks for; raises ``UserError``."""
    from platoon.drivers.market.judging import read_labelled
    from platoon.learning.domains import sketch_domain

    if not 0 <= least_reputation <= 1:
        raise UserError(f"--least-reputation {least_reputation}: allowed: 0 to 1")
    try:
        domain = sketch_domain(read_labelled(like).images) if like is not None else ()
    except ValueError as error:
        raise UserError(f"{like}: {error}") from None
    return Wanted(
        task=task,
        labels=tuple(label.strip() for label in labels.split(",") if label.strip()),
        most_bytes=most_bytes,
        most_price=None if most_price is None else to_tokens(most_price),
        least_reputation=round(least_reputation * MILLION),
        domain=domain,
        most_metres=inf if most_metres is None else most_metres,
    )


def measure_metres(desk: "Desk", near: str, roads: Path | None) -> dict[int, float]:
    """By listing that tells its place, how far it is there by road; empty where the buyer does not tell its own."""
    from platoon.drivers.locks import scratch_folder
    from platoon.physics.routes import compute_driving_distances
    from platoon.scenario import Scenario
    from platoon.world.net_file import read_network
    from platoon.world.networks import prepare_network

    own = read_place(near)
    if own is None and roads is None:
        return {}
    if own is None or roads is None:
        raise UserError("--near and --roads: allowed are both, or neither")
    places = {
        number: entry.listing.description.place
        for number, entry in desk.state.listings.items()
        if entry.listing.description.place is not None
    }
    if not places:
        return {}
    scenario = Scenario.load(roads)
    with scratch_folder() as scratch:
        network = read_network(
            prepare_network(scenario.roads, scratch), scenario.seed, scenario.roads.speed_kmh
        )
    distances = compute_driving_distances(
        network.road_map, np.array(own, dtype=np.float64), np.array(list(places.values()), dtype=np.float64)
    )
    return dict(zip(places, map(float, distances), strict=True))
