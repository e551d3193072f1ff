"""A whole task: rounds until one of its four ends is reached."""

from dataclasses import replace

from platoon.protocol.effects import CommitRound, Consult, EscrowLeft, Evaluate, Steps
from platoon.protocol.round import play_round
from platoon.protocol.task_rules import TaskRules, TaskState


def play_task(rules: TaskRules, state: TaskState) -> Steps[tuple[str, TaskState]]:
    """Play rounds until the task ends; returns why it ended, and how. Each is committed before the next."""
    while (reason := (yield from reason_to_stop(rules, state))) is None:
        state, record = yield from play_round(rules, state)
        accuracy = yield Evaluate(model=state.model)
        state = replace(state, accuracy=accuracy)
        yield CommitRound(state=state, record=replace(record, accuracy=accuracy))
    return reason, state


def reason_to_stop(rules: TaskRules, state: TaskState) -> Steps[str | None]:
    """The end that has been reached, or None: target accuracy, rounds, deadline, escrow."""
    if rules.target_accuracy is not None and (state.accuracy or 0.0) >= rules.target_accuracy:
        return "target accuracy reached"
    if state.round > rules.rounds:
        return "all rounds played"
    if rules.time_limit is not None and state.now >= rules.time_limit:
        return "deadline reached"
    escrow = yield Consult(question=EscrowLeft())
    if escrow < rules.round_price:
        return "escrow spent"
    return None
