"""Tables and lists of the page: key facts, methods at a glance, rounds, ledger, scenario and versions.

Everything here returns escaped HTML; ``cell`` is the only way text gets in.
"""

import html
import shlex
from collections.abc import Callable, Sequence

import numpy as np

from platoon.experiments.report.measures import (
    attackers,
    below_threshold,
    final_accuracy,
    has_reputation,
    mean_or_nan,
    reward_total,
)
from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.style import Section, method_colour
from platoon.experiments.report.words import number, percent, plural
from platoon.fleet import list_attacks

Runs = Sequence[RunRecord]


def cell(value: object) -> str:
    """A value as text in HTML: nothing in it is markup."""
    return html.escape(str(value), quote=True)


def swatch(index: int) -> str:
    """A small square in the colour of a method."""
    return f'<span class="swatch" style="background:{method_colour(index)}" aria-hidden="true"></span>'


def key_facts(run: RunRecord) -> str:
    """What was run, in a few pairs of name and value."""
    scenario, fleet = run.scenario, run.scenario.fleet
    names = " and ".join(attack.name.replace("_", " ") for attack in list_attacks(fleet))
    attack = "no attack" if not attackers(run) else f"{attackers(run)} attackers, {names}"
    partition = {
        "classes": f"{scenario.partition.classes} classes per vehicle",
        "iid": "all classes alike",
        "dirichlet": f"Dirichlet {scenario.partition.alpha:g}",
    }[scenario.partition.kind]
    roads = scenario.roads
    where = (
        "own SUMO scenario"
        if roads.sumo_config
        else f"{roads.streets} x {roads.streets} streets of {roads.block_m:g} m"
    )
    facts = {
        "Data and model": f"{scenario.task.data}, {scenario.task.model}",
        "Fleet": f"{plural(len(run.vehicles.vehicle), 'vehicle')}, {attack}",
        "Data in a vehicle": f"{scenario.partition.samples} samples, {partition}",
        "Per round": f"{plural(scenario.round.participants, 'vehicle')}, {plural(scenario.round.epochs, 'epoch')}",
        "Roads": where,
        "Radio": f"{plural(len(run.road_map.rsus), 'RSU')} of {run.road_map.service_radius_m:g} m",
    }
    pairs = "".join(
        f"<div><dt>{cell(name)}</dt><dd>{cell(value)}</dd></div>" for name, value in facts.items()
    )
    return f'<dl class="facts">{pairs}</dl>'


def glance_section(runs: Runs) -> Section:
    """One column per method, one row per number that matters."""
    head = "".join(f'<th scope="col">{swatch(i)}{cell(run.label)}</th>' for i, run in enumerate(runs))
    body = "".join(_glance_row(name, value, runs) for name, value in GLANCE.items())
    return Section(
        id="overview",
        title="At a glance",
        lead="",
        markup=f'<div class="scroll"><table class="glance"><thead><tr><th '
        f'scope="col">Measure</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>",
    )


def _glance_row(name: str, value: Callable[[RunRecord], str], runs: Runs) -> str:
    cells = "".join(f"<td>{cell(value(run))}</td>" for run in runs)
    return f'<tr><th scope="row">{cell(name)}</th>{cells}</tr>'


def _best_accuracy(run: RunRecord) -> str:
    known = np.isfinite(run.rounds.accuracy)
    if not known.any():
        return percent(None)
    best = int(np.nanargmax(run.rounds.accuracy))
    return f"{percent(run.rounds.accuracy[best])} (round {run.rounds.round[best]})"


def _lost(run: RunRecord) -> str:
    chosen = int(run.rounds.selected.sum())
    lost = chosen - int(run.rounds.arrived.sum())
    return f"{lost} of {chosen}"


def _reputations(run: RunRecord) -> str:
    facts = run.summary.reputation
    if not has_reputation(run):
        return "none kept"
    malicious = f", malicious {number(facts.malicious_mean)}" if attackers(run) else ""
    return f"honest {number(facts.honest_mean)}{malicious}"


def _auc(run: RunRecord) -> str:
    return number(run.summary.reputation.auc, 3) if has_reputation(run) else "none kept"


def _excluded(run: RunRecord) -> str:
    if not has_reputation(run):
        return "none kept"
    malicious = f", {below_threshold(run, False)} malicious" if attackers(run) else ""
    return f"{below_threshold(run, True)} honest{malicious}"


def _local_links(run: RunRecord) -> str:
    rounds = run.rounds
    counts = {
        "D2D": rounds.sealing_d2d,
        "relayed": rounds.sealing_relayed,
        "cellular": rounds.sealing_cellular,
        "lost": rounds.sealing_lost,
    }
    if not sum(int(count.sum()) for count in counts.values()):
        return "none sent"
    return ", ".join(f"{int(count.sum())} {name}" for name, count in counts.items())


GLANCE: dict[str, Callable[[RunRecord], str]] = {
    "Seed": lambda run: str(run.summary.seed),
    "Rounds": lambda run: str(len(run.rounds.round)),
    "Final test accuracy": lambda run: percent(final_accuracy(run)),
    "Best test accuracy": _best_accuracy,
    "Simulated time": lambda run: number(run.summary.simulated_seconds, 0, "s"),
    "Wall time of the run": lambda run: number(run.summary.wall_seconds, 1, "s"),
    "Attackers' weight, mean": lambda run: percent(mean_or_nan(run.rounds.malicious_weight)),
    "Reputation AUC, judged vehicles": _auc,
    "Mean reputation": _reputations,
    "Below the threshold at the end": _excluded,
    "Updates lost": _lost,
    "Tokens to honest vehicles": lambda run: number(reward_total(run, True)),
    "Tokens to attackers": lambda run: number(reward_total(run, False)),
    "Energy of the vehicles": lambda run: number(float(np.nansum(run.rounds.energy_j)), 1, "J"),
    "Messages of the local chains": _local_links,
    "Sealing, mean of a round": lambda run: number(1e3 * mean_or_nan(run.rounds.sealing_s), 1, "ms"),
    "Position error of the twin, mean": lambda run: number(run.summary.forecast.position_mae_m, 1, "m"),
    "Link error of the twin, mean": lambda run: number(run.summary.forecast.link_mae_db, 1, "dB"),
    "Mean speed achieved": lambda run: number(run.summary.achieved_speed_kmh, 1, "km/h"),
}


def ledger_section(runs: Runs) -> Section:
    """Chain heads, and how to check them."""
    blocks = "".join(_ledger_facts(i, run) for i, run in enumerate(runs))
    return Section(
        id="ledger",
        title="Ledger",
        lead="Every registration, update, score, verdict, vote and payment is a signed transaction in a block "
        "that is hash-linked to the one before. The head stands for all of them: equal heads mean equal histories.",
        markup=f'<div class="cards">{blocks}</div>',
    )


def _ledger_facts(index: int, run: RunRecord) -> str:
    ledger, summary = run.summary.ledger, run.summary
    contracts = summary.contracts
    if isinstance(contracts, dict):
        contracts = ", ".join(f"{name} {digest}" for name, digest in sorted(contracts.items()))
    facts = {
        "Engine": ledger.engine,
        "Blocks": f"{ledger.blocks:,}",
        "Transactions": f"{ledger.transactions:,}",
        "Head": ledger.head,
        "Model digest": summary.model_digest or "not known",
        "Contracts": contracts or "not known",
        "Format": "not known" if summary.format is None else summary.format,
        "Checked by the run": {True: "yes, in order", False: "yes, and it FAILED", None: "no"}[
            ledger.verified
        ],
        "Check it yourself": f"platoon verify {shlex.quote(str(run.directory))}",
    }
    rows = "".join(
        f'<tr><th scope="row">{cell(name)}</th><td class="code">{cell(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f'<div class="card"><h3>{swatch(index)}{cell(run.label)}</h3><table class="pairs">{rows}</table></div>'


def rounds_section(runs: Runs) -> Section:
    """Every round of every method, folded."""
    return Section(
        id="rounds",
        title="Round by round",
        lead="The same numbers as in the plots, for looking up. Dropped: chosen, but the update did not arrive "
        "in time.",
        markup="".join(_rounds_table(i, run) for i, run in enumerate(runs)),
    )


ROUND_COLUMNS: dict[str, Callable[[RunRecord, int], str]] = {
    "Round": lambda run, i: str(run.rounds.round[i]),
    "Outcome": lambda run, i: str(run.rounds.outcome[i]),
    "Selected": lambda run, i: str(run.rounds.selected[i]),
    "Arrived": lambda run, i: str(run.rounds.arrived[i]),
    "Valid": lambda run, i: str(run.rounds.valid[i]),
    "Dropped": lambda run, i: str(run.rounds.dropped[i]),
    "Accuracy": lambda run, i: percent(run.rounds.accuracy[i]),
    "Attackers' weight": lambda run, i: _or_dash(run.rounds.malicious_weight[i], percent),
    "Score AUC": lambda run, i: _or_dash(run.rounds.score_auc[i], number),
    "Paid": lambda run, i: number(run.rounds.paid[i]),
    "Ended, s": lambda run, i: number(run.rounds.ended_s[i], 1),
    "Head": lambda run, i: str(run.rounds.head[i])[:10],
}


def _or_dash(value: float, words: Callable[[float], str]) -> str:
    return words(value) if np.isfinite(value) else "–"


def _rounds_table(index: int, run: RunRecord) -> str:
    head = "".join(f'<th scope="col">{cell(name)}</th>' for name in ROUND_COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(value(run, i))}</td>" for value in ROUND_COLUMNS.values()) + "</tr>"
        for i in range(len(run.rounds.round))
    )
    return (
        f"<details><summary>{swatch(index)}{cell(run.label)}: {plural(len(run.rounds.round), 'round')}</summary>"
        f'<div class="scroll"><table '
        f'class="rounds"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        "</details>"
    )


def origin_section(runs: Runs) -> Section:
    """Scenario files and versions, folded: what it takes to run this again."""
    folds = []
    for i, run in enumerate(runs):
        versions = ", ".join(
            f"{name} {value or 'not there'}" for name, value in sorted(run.summary.versions.items())
        )
        folds.append(
            f"<details><summary>{swatch(i)}{cell(run.label)}: scenario and versions</summary>"
            f'<p class="code">{cell(versions)}</p><pre><code>{cell(run.scenario_text)}</code></pre></details>'
        )
    return Section(
        id="reproduce",
        title="How to run it again",
        lead="Save the scenario as a file and give it to `platoon run`: the same scenario, seed and versions "
        "give the same ledger head and model on the same machine.",
        markup="".join(folds),
    )
