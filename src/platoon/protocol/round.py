"""One training round (DTB-FL section 4.4; Two-layer's steps 2 to 5): seven phases, one line each.

Appeals against plausibility flags (``platoon.protocol.appeals``) and changes of pseudonym
(``platoon.protocol.pseudonyms``) are heard between the last two. The phases are in
``platoon.protocol.phases``; each is pure logic over events and effects, so that the simulated and the networked
driver run the same code.
"""

from platoon.protocol.appeals import hear
from platoon.protocol.effects import Steps
from platoon.protocol.phases import judge, merge, record, refine, select, settle, train
from platoon.protocol.pseudonyms import renew
from platoon.protocol.round_records import RoundRecord
from platoon.protocol.task_rules import TaskRules, TaskState


def play_round(rules: TaskRules, state: TaskState) -> Steps[tuple[TaskState, RoundRecord]]:
    """Play one round; returns where the next one starts, and what happened.

    Raises:
        HaltedError: too few edge servers answer to judge, merge or settle. Nothing of the round counts then.
    """
    cohort = yield from select(rules, state)
    arrivals = yield from train(rules, cohort)
    recorded = yield from record(rules, arrivals)
    judged = yield from judge(rules, recorded)
    merged = yield from merge(rules, judged)
    settled = yield from settle(rules, merged)
    settled = yield from hear(rules, settled)
    settled = yield from renew(rules, state, settled)
    return (yield from refine(rules, state, settled))
