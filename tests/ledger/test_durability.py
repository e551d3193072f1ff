"""The ledger's file: one commit point, killed at any moment, replayed to the same state."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from platoon.errors import VerificationError
from platoon.ledger.audit import audit
from platoon.ledger.engine import EmbeddedLedger
from platoon.nouns import Digest, Instant

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import conftest
town = conftest.Town(Path(sys.argv[1]), servers=1, fleet=1)
print("started", flush=True)
while True:
    town.play({})
    print(town.chain.round, flush=True)
"""


def test_replay_leads_to_the_same_state(town):
    town.play({0: 900_000, 1: 0})
    before = (town.chain.head, town.chain.round, town.chain.reputations().tolist(), town.chain.escrow_left())
    updates = town.chain.updates(1)
    town.reopen()
    after = (town.chain.head, town.chain.round, town.chain.reputations().tolist(), town.chain.escrow_left())
    assert after == before
    assert (town.chain.updates(1), town.chain.checkpoint) == (updates, "round 1")


def test_a_resumed_run_ends_with_the_head_of_an_uninterrupted_one(make_town):
    straight, broken = make_town(), make_town()
    for number, scores in enumerate(({0: 900_000}, {1: 100_000, 2: 800_000}, {})):
        straight.play(scores)
        broken.play(scores)
        if number == 1:
            broken.reopen()
    assert straight.chain.head == broken.chain.head


def test_what_was_not_committed_is_gone(town):
    head, at = town.chain.head, town.at
    town.record_all([0])
    assert town.chain.head != head
    town.reopen()
    assert (town.chain.head, town.chain.updates(1)) == (head, ())
    # and the round can be played again, with the same end
    town.at = at
    town.play({0: 900_000})


def test_in_the_middle_of_a_round_a_commit_can_be_resumed(town):
    town.record_all([0])
    town.chain.commit("in between")
    town.reopen()
    assert [update.vehicle for update in town.chain.updates(1)] == [0]
    for server in range(4):
        assert town.score(server, {0: 900_000}).ok


def test_invalid_commits(town):
    with pytest.raises(ValueError, match="nothing to commit"):
        town.chain.commit("again")
    town.play({})
    with pytest.raises(ValueError, match="nothing to commit, or committed before"):
        town.chain.ledger.commit(1, "again")


def test_the_file_stands_alone(town):
    town.play({0: 900_000})
    assert [path.name for path in town.path.parent.iterdir()] == ["ledger.sqlite"]
    town.chain.close()
    copy = town.path.parent / "copy.sqlite"
    copy.write_bytes(town.path.read_bytes())
    assert len(list(audit(copy))) == 2


def test_a_reader_without_keys_can_read_but_not_write(town):
    raw = town.chain.sign(town.servers[0], town.chain.calls.record(1, []))
    town.chain.close()
    reader = EmbeddedLedger.open(town.path)
    assert reader.read(reader.contracts.call("Training", "round")) == (1,)
    with pytest.raises(ValueError, match="3 edge servers must seal a block, this process speaks for 0"):
        reader.submit([raw], at=Instant(1), round=1)


def test_invalid_creation_over_an_existing_ledger(town):
    with pytest.raises(VerificationError, match="already exists"):
        EmbeddedLedger.create(town.path, chain_id=1, sealers=())


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_killed_writer_leaves_a_sound_ledger(tmp_path, after):
    # a real process, killed with SIGKILL while it commits round after round
    arguments = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(after)]
        writer.send_signal(signal.SIGKILL)
    assert lines[0] == "started\n"
    rounds = list(audit(tmp_path / "ledger.sqlite"))
    assert rounds[-1].round >= after - 1
    ledger = EmbeddedLedger.open(tmp_path / "ledger.sqlite")
    assert ledger.head == rounds[-1].head
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_heads_differ_where_records_differ(make_town):
    one, other = make_town(), make_town()
    one.play({0: 900_000})
    other.play({0: 900_001})
    assert one.chain.head != other.chain.head
    assert one.chain.head != Digest(bytes(32))
