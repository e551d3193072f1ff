"""The benchmark of the reputation rules draws nothing: what is kept is what the rules say today."""

import json

from bench import reputation
from bench.rows import OUT
from platoon.records.rules import Rule, Rules
from platoon.records.shards import Reputation


def test_the_kept_rows_are_what_the_rules_say():
    kept = json.loads((OUT / "reputation.json").read_text(encoding="utf-8"))
    assert kept == [row for rule in reputation.RULES for row in reputation.measure(rule)]


def test_counting_ends_where_the_reputation_crosses_and_says_never_where_it_does_not():
    rules = Rules(rule=Rule.EVIDENCE, threshold=250_000)
    assert reputation.count(rules, Reputation(400_000), 0.0, down=True) == 1
    assert reputation.count(rules, Reputation(399_999), 0.0, down=True) == 0
    assert reputation.count(rules, Reputation(0), 0.25, down=False) is None
