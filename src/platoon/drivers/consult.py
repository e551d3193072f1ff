"""Answers to what the protocol asks the ledger: the same for every carrier."""

from typing import Any

from platoon.ledger.task_chain import TaskChain
from platoon.protocol.effects import (
    Accounts,
    Answered,
    ConductOf,
    EscrowLeft,
    LocalGround,
    ModelDigest,
    OpenCases,
    Question,
    Reputations,
    Verdicts,
)


def consult(chain: TaskChain, question: Question) -> Any:  # noqa: PLR0911 (one line a question)
    """Read from the task's chain; what the answer is, the question's docstring says."""
    match question:
        case Accounts():
            return chain.vehicles
        case Answered():
            return chain.answered()
        case Reputations():
            return chain.reputations()
        case Verdicts(round=number):
            return chain.updates(number)
        case LocalGround(vehicles=vehicles):
            return chain.ground(vehicles)
        case EscrowLeft():
            return chain.escrow_left()
        case ModelDigest(round=number):
            return chain.model_digest(number)
        case OpenCases():
            return chain.open_cases()
        case ConductOf(round=number):
            return chain.conduct(number)
