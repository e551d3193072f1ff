"""The calibrated task: what answers a challenge, and all that does not."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import Digest
from platoon.records import attestation
from platoon.records.attestation import (
    MARKS,
    Challenge,
    SignedAnswers,
    answer_challenges,
    check_answers,
    compute_answers_digest,
    compute_marks,
)
from platoon.records.signing import simulated_account

VEHICLE = simulated_account(1, "vehicle", 1)
OTHER = simulated_account(1, "vehicle", 2)
SERVER = simulated_account(1, "edge server", 0)


def make_challenges(vehicle=VEHICLE, nonce=7, round_number=3, steps=4 * MARKS, attempts=3):
    return [
        Challenge(
            task=Digest(b"t" * 32),
            edge_server=SERVER.address,
            vehicle=vehicle.address,
            round=round_number,
            attempt=attempt,
            steps=steps,
            nonce=bytes([nonce + attempt]) * 32,
        )
        for attempt in range(attempts)
    ]


def forge(challenges, marks, account=VEHICLE):
    """What a cheat sends: any marks, but signed as they should be."""
    starts = [challenge.start for challenge in challenges]
    signature = account.sign(compute_answers_digest(challenges[0].task, starts, marks))
    return SignedAnswers(marks=marks, signature=signature)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.sets(st.integers(0, MARKS - 1)))
def test_who_does_the_work_passes(per_segment, segments):
    challenges = make_challenges(steps=per_segment * MARKS)
    answers = answer_challenges(VEHICLE, challenges)
    assert check_answers(challenges, answers) is None
    assert check_answers(challenges, answers, segments) is None


@pytest.mark.parametrize(
    "change",
    [
        {"task": Digest(b"u" * 32)},
        {"edge_server": OTHER.address},
        {"vehicle": OTHER.address},
        {"round": 4},
        {"attempt": 9},
        {"steps": 5 * MARKS},
        {"nonce": b"n" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_challenge_binds_everything(change):
    """Every field changes the chain from its first link: nothing is computed before the nonce is drawn."""
    challenge = make_challenges()[0]
    other = replace(challenge, **change)
    assert not set(compute_marks(challenge)) & set(compute_marks(other))


def test_another_vehicles_answer_is_of_no_use():
    """The accomplice's cached result: signed by the vehicle, or by the accomplice, or asked for in its name."""
    mine, theirs = make_challenges(VEHICLE), make_challenges(OTHER)
    cached = answer_challenges(OTHER, theirs)
    assert check_answers(mine, cached) == "bad signature"
    assert check_answers(mine, forge(mine, cached.marks)) == "wrong answer"
    assert check_answers(mine, forge(mine, answer_challenges(VEHICLE, mine).marks, OTHER)) == "bad signature"


def test_an_earlier_answer_of_its_own_is_of_no_use():
    before, now = make_challenges(nonce=7), make_challenges(nonce=70)
    old = answer_challenges(VEHICLE, before)
    assert check_answers(now, old) == "bad signature"
    assert check_answers(now, forge(now, old.marks)) == "wrong answer"


def test_the_first_attempt_answers_no_other():
    challenges = make_challenges()
    first = compute_marks(challenges[0])
    assert check_answers(challenges, forge(challenges, (first,) * 3)) == "wrong answer"


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, MARKS - 1), min_size=1), st.sets(st.integers(0, MARKS - 1), min_size=1))
def test_segments_left_out_are_found_where_they_are_checked(left_out, checked):
    """A cheat makes up the ends of some segments of one attempt, and works honestly on from there."""
    challenges = make_challenges()
    honest = [compute_marks(challenge) for challenge in challenges]
    link, marks = bytes(challenges[1].start), []
    for segment in range(MARKS):
        link = bytes([segment]) * 32 if segment in left_out else attestation._walk(link, 4)
        marks.append(link)
    answers = forge(challenges, (honest[0], tuple(marks), honest[2]))
    found = check_answers(challenges, answers, checked)
    assert found == ("wrong answer" if left_out & checked else None)
    assert check_answers(challenges, answers) == "wrong answer"


def test_invalid_answers_without_an_attempt_or_a_mark():
    challenges = make_challenges()
    answers = answer_challenges(VEHICLE, challenges)
    for marks in (answers.marks[:2], (*answers.marks[:2], answers.marks[2][:-1])):
        assert check_answers(challenges, forge(challenges, marks)) == "not an answer to every challenge"


def test_invalid_signature_of_other_marks():
    challenges = make_challenges()
    answers = answer_challenges(VEHICLE, challenges)
    bent = (answers.marks[0][::-1], *answers.marks[1:])
    assert check_answers(challenges, replace(answers, marks=bent)) == "bad signature"
    assert check_answers(challenges, replace(answers, signature=bytes(65))) == "bad signature"


@pytest.mark.parametrize("change", [{"steps": MARKS + 1}, {"steps": 0}, {"nonce": b"short"}, {"round": -1}])
def test_invalid_challenge(change):
    with pytest.raises(ValueError):  # noqa: PT011 - three messages
        replace(make_challenges()[0], **change).start  # noqa: B018
