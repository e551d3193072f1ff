"""What the data say, as sentences for a reader who has never seen the project.

Each topic is a function from the runs to sentences, in the order of ``TOPICS``. A sentence states what was
measured, also when that is bad, missing, or the same for every method; it never says more than the columns do.
"""

import math
import shlex
from collections.abc import Callable, Sequence

import numpy as np

from platoon.experiments.report.measures import (
    attacker_share,
    attackers,
    below_threshold,
    brier_score,
    final_accuracy,
    has_reputation,
    mean_or_nan,
    outcome_counts,
    reward_total,
    seconds_to,
)
from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.servers import describe_servers
from platoon.experiments.report.words import join_words, number, percent, plural

Runs = Sequence[RunRecord]

CLASSES = {"mnist": 10, "cifar10": 10, "gtsrb": 43}
"""Classes per data set: guessing is right once in so many."""


def describe_runs(runs: Runs) -> list[str]:
    """The findings of one run, or of several beside each other; the first run is named first."""
    return [sentence for _, sentences in group_findings(runs) for sentence in sentences]


def group_findings(runs: Runs) -> list[tuple[str, list[str]]]:
    """The findings under a heading each; headings without a finding are left out."""
    groups = [(heading, [s for topic in topics for s in topic(runs)]) for heading, topics in TOPICS.items()]
    return [(heading, sentences) for heading, sentences in groups if sentences]


def describe_comparability(runs: Runs) -> list[str]:
    """Warn where the runs differ in more than the method."""
    first = _flatten(runs[0])
    differing = sorted(
        {key for run in runs[1:] for key, value in _flatten(run).items() if value != first[key]}
    )
    if not differing:
        return []
    shown = join_words(differing[:6]) + (f" (and {len(differing) - 6} more)" if len(differing) > 6 else "")
    return [f"These runs do not share one scenario, so compare them with care; they differ in: {shown}."]


def describe_studies(runs: Runs) -> list[str]:
    """Say of which runs the results are no measure of a deployment."""
    return [f"{run.label} is a study: {run.summary.study}." for run in runs if run.summary.study]


def describe_accuracy(runs: Runs) -> list[str]:
    """Final accuracies, who was ahead, and what they are worth."""
    sentences = [_accuracy_sentence(runs), *_lead_sentence(runs)]
    for run in runs:
        final = final_accuracy(run)
        guessing = 1 / CLASSES.get(run.scenario.task.data, math.inf)
        if final < 1.5 * guessing:
            sentences.append(f"{run.label} is hardly better than guessing ({percent(guessing)}).")
        best = float(np.nanmax(run.rounds.accuracy)) if np.isfinite(run.rounds.accuracy).any() else math.nan
        if best > final + 0.01:
            at = run.rounds.round[np.nanargmax(run.rounds.accuracy)]
            sentences.append(f"{run.label} had been better before its end: {percent(best)} after round {at}.")
    return sentences


def describe_ends(runs: Runs) -> list[str]:
    """Why a run stopped before it had played all its rounds."""
    return [
        f"{run.label} stopped before round {len(run.rounds.round) + 1}: {run.summary.ended}."
        for run in runs
        if run.summary.ended and len(run.rounds.round) < run.scenario.task.rounds
    ]


def describe_kept_rounds(runs: Runs) -> list[str]:
    """Rounds that changed no model, and why."""
    sentences = []
    for run in runs:
        for verb in ("kept", "void"):
            reasons = outcome_counts(run, verb)
            why = "; ".join(f"{reason}: {count}" for reason, count in reasons.items())
            total = f"{sum(reasons.values())} of {plural(len(run.rounds.round), 'round')}"
            told = f"kept its model in {total}" if verb == "kept" else f"discarded {total}"
            if reasons:
                sentences.append(f"{run.label} {told} ({why}).")
    return sentences


def describe_attackers(runs: Runs) -> list[str]:
    """How many vehicles were malicious, and what weight their updates got."""
    if not any(attackers(run) for run in runs):
        return ["No vehicle was malicious, so these numbers say nothing about attacks."]
    sentences = []
    for group in _group(runs, lambda run: (attackers(run), len(run.vehicles.vehicle))):
        fleet = f"{attackers(group[0])} of {plural(len(group[0].vehicles.vehicle), 'vehicle')}"
        whose = "" if len(group) == len(runs) else f" in {join_words([run.label for run in group])}"
        sentences.append(f"{fleet} ({percent(attacker_share(group[0]))}) attacked the training{whose}.")
    merged = [run for run in runs if np.isfinite(run.rounds.malicious_weight).any()]
    if not merged:
        return [*sentences, "No round merged an update, so attackers got no weight and nobody else did."]
    shares = [
        f"{percent(mean_or_nan(run.rounds.malicious_weight))} in {run.label}{_late(run)}" for run in merged
    ]
    return [*sentences, f"Attackers' updates got this share of the merged weight: {join_words(shares)}."]


def describe_reputation(runs: Runs) -> list[str]:
    """Whether reputations tell attackers from honest vehicles, and who lost the right to be chosen."""
    sentences = []
    for run in runs:
        if not has_reputation(run):
            sentences.append(f"{run.label} moved no reputation: it trusts every vehicle alike.")
        elif attackers(run):
            sentences += [_auc_sentence(run), _excluded_sentence(run)]
        else:
            sentences.append(_excluded_sentence(run))
    return sentences


def describe_losses(runs: Runs) -> list[str]:
    """Chosen vehicles whose update never arrived."""
    phrases = []
    for run in runs:
        chosen, arrived = int(run.rounds.selected.sum()), int(run.rounds.arrived.sum())
        if chosen:
            lost = chosen - arrived
            phrases.append(f"{lost} of {chosen} in {run.label} ({percent(lost / chosen)})")
    if not phrases:
        return ["No vehicle was chosen in any round."]
    return [f"Updates that were asked for but did not arrive in time: {join_words(phrases)}."]


def describe_time(runs: Runs) -> list[str]:
    """Simulated seconds to the accuracies that the runs' summaries ask about."""
    asked = sorted({float(key) for run in runs for key in run.summary.seconds_to})
    reached = [a for a in asked if any(math.isfinite(seconds_to(run, a)) for run in runs)]
    if not asked:
        return []
    if not reached:
        return [f"Nobody reached an accuracy of {percent(asked[0], 0)}."]
    shared = [a for a in reached if all(math.isfinite(seconds_to(run, a)) for run in runs)]
    return [_seconds_sentence(runs, accuracy) for accuracy in sorted({reached[-1], *shared[-1:]})]


def describe_rewards(runs: Runs) -> list[str]:
    """Tokens paid to honest and malicious vehicles, and what stays in escrow."""
    sentences = []
    for run in runs:
        left = run.summary.rewards.escrow_left
        stays = f"{number(left)} stay in escrow" if left is not None else "what stays in escrow is not known"
        honest, malicious = reward_total(run, True), reward_total(run, False)
        if not honest + malicious:
            sentences.append(f"{run.label} paid no tokens; {stays}.")
            continue
        paid = f"{number(honest + malicious)} tokens"
        if attackers(run):
            paid += (
                f", {number(honest)} to honest vehicles ({number(_per_head(run, True))} each)"
                f" and {number(malicious)} to attackers ({number(_per_head(run, False))} each)"
            )
        sentences.append(f"{run.label} paid {paid}; {stays}.")
    return sentences


def describe_plausibility(runs: Runs) -> list[str]:
    """Who was flagged for moving and sending as no strangers would."""
    sentences = []
    for run in runs:
        facts = run.summary.plausibility
        if facts is not None and facts.cases:
            lifted = f", {facts.lifted} of them lifted on appeal" if facts.lifted else ""
            sentences.append(
                f"{run.label}'s edge servers flagged {plural(facts.cases, 'cluster')} as implausible{lifted}; "
                f"{plural(facts.flagged, 'vehicle')} stood flagged in the end, {facts.flagged_honest} of them "
                "honest."
            )
    return sentences


def describe_forecasts(runs: Runs) -> list[str]:
    """How good the forecasts of who will finish were, against always saying the share that did."""
    sentences = []
    for run in runs:
        score = brier_score(run.updates.finish_probability, run.updates.arrived)
        if math.isfinite(score):
            share = float(run.updates.arrived.mean())
            sentences.append(
                f"{run.label}'s forecasts of who would finish have a Brier score of {score:.3f} over the chosen "
                f"vehicles (0 is perfect; always saying {percent(share)} would get {share * (1 - share):.3f})."
            )
    return sentences


def describe_ledger(runs: Runs) -> list[str]:
    """What the ledger holds, and how anybody can check it."""
    sentences = []
    for run in runs:
        ledger = run.summary.ledger
        checked = {
            True: "the run checked it at its end and it was in order",
            False: "the run checked it at its end and the check FAILED",
            None: "it has not been checked yet",
        }[ledger.verified]
        sentences.append(
            f"{run.label}'s ledger holds {plural(ledger.transactions, 'transaction')} in "
            f"{plural(ledger.blocks, 'block')} and ends at head {ledger.head[:16]}; {checked}. "
            f"`platoon verify {shlex.quote(str(run.directory))}` checks every hash, seal, signature and payment."
        )
    return sentences


TOPICS: dict[str, tuple[Callable[[Runs], list[str]], ...]] = {
    "Learning": (
        describe_comparability,
        describe_studies,
        describe_accuracy,
        describe_ends,
        describe_kept_rounds,
    ),
    "Attackers": (describe_attackers, describe_reputation, describe_plausibility),
    "Time": (describe_losses, describe_time),
    "Forecasts": (describe_forecasts,),
    "Money": (describe_rewards,),
    "Edge servers": (describe_servers,),
    "Ledger": (describe_ledger,),
}


def _accuracy_sentence(runs: Runs) -> str:
    phrases: list[str] = []
    last = -1
    for run in runs:
        count, final = len(run.rounds.round), final_accuracy(run)
        after = f" after {plural(count, 'round')}" if count != last else ""
        last = count
        if not count:
            phrases.append(f"{run.label} completed no round")
        elif not math.isfinite(final):
            phrases.append(f"{run.label} has no measured accuracy{after}")
        else:
            verb = "" if any("classified" in phrase for phrase in phrases) else " classified"
            object_ = " of the test images right" if verb else ""
            phrases.append(f"{run.label}{verb} {percent(final)}{object_}{after}")
    return ", ".join(phrases) + "."


def _lead_sentence(runs: Runs) -> list[str]:
    """Who was ahead, by how much, and that one seed is one sample."""
    known = sorted((r for r in runs if math.isfinite(final_accuracy(r))), key=lambda r: -final_accuracy(r))
    if len(known) < 2:
        return []
    best, second = known[0], known[1]
    points = 100 * (final_accuracy(best) - final_accuracy(second))
    lead = f"{best.label} ended {points:.1f} percentage points ahead of {second.label}."
    if points < 0.05:
        lead = f"{best.label} and {second.label} ended equally accurate."
    if len({run.summary.seed for run in runs}) == 1:
        lead += " One seed is one sample: repeat with other seeds before you conclude anything."
    return [lead]


def _late(run: RunRecord) -> str:
    """The share of the second half of the rounds, when reputations have had time to move."""
    late = mean_or_nan(run.rounds.malicious_weight[len(run.rounds.round) // 2 :])
    return (
        f" ({percent(late)} in the second half)" if len(run.rounds.round) > 3 and math.isfinite(late) else ""
    )


def _auc_sentence(run: RunRecord) -> str:
    auc = run.summary.reputation.auc
    judged = plural(int(np.count_nonzero(run.vehicles.judged)), "vehicle")
    if auc is None:
        return (
            f"{run.label} judged {judged}, too few of either kind to say whether reputations find attackers."
        )
    worth = "no better than guessing" if auc <= 0.55 else "1 is perfect, 0.5 is guessing"
    return (
        f"{run.label}'s reputations tell attackers from honest vehicles with an AUC of {auc:.2f} over the "
        f"{judged} that it judged ({worth})."
    )


def _excluded_sentence(run: RunRecord) -> str:
    honest, malicious = below_threshold(run, True), below_threshold(run, False)
    total = int(np.count_nonzero(run.vehicles.honest))
    who = f"{honest} of {plural(total, 'honest vehicle')}"
    if attackers(run):
        who = f"{malicious} of {plural(attackers(run), 'attacker')} and {who}"
    least = f"the reputation of {run.scenario.trust.rho_min:g} that selection asks for"
    return f"{run.label} ended with {who} below {least}."


def _seconds_sentence(runs: Runs, accuracy: float) -> str:
    times = [(run.label, seconds_to(run, accuracy)) for run in runs]
    took = [f"{label} {number(time, 0)} simulated seconds" for label, time in times if math.isfinite(time)]
    never = [label for label, time in times if not math.isfinite(time)]
    failed = f"; {join_words(never)} did not get there" if never else ""
    return f"To classify {percent(accuracy, 0)} right took {join_words(took)}{failed}."


def _per_head(run: RunRecord, honest: bool) -> float:
    count = np.count_nonzero(run.vehicles.honest == honest)
    return reward_total(run, honest) / count if count else math.nan


def _flatten(run: RunRecord) -> dict[str, object]:
    """Dotted scenario keys that a fair comparison keeps equal."""
    table = run.scenario.model_dump()
    flat = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for section, values in table.items():
        if isinstance(values, dict):
            flat |= {f"{section}.{key}": value for key, value in values.items()}
    for key in ("name", "method", "compare", "workers"):
        flat.pop(key)
    return flat


def _group(runs: Runs, key: Callable[[RunRecord], object]) -> list[list[RunRecord]]:
    groups: dict[object, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return list(groups.values())
