"""How many judged updates each rule of reputation takes to exclude, to take back, and to be played with.

    python -m bench reputation

prints a table and writes ``bench/out/reputation.json``. Integers in, integers out: nothing is drawn, no row
has a spread. Parameters are the defaults, the threshold that of ``forensic``, 0.5, the evidence of every cohort 1.
A *settled* vehicle has 20 updates of score 0.9 behind it. ``docs/decisions/0013`` shows the table.
"""

from collections.abc import Iterable
from itertools import cycle, islice

from bench.rows import Row, keep
from platoon.learning.scores import SCORES
from platoon.nouns import MILLION, to_ppm
from platoon.records.rules import Rule, Rules, compute_next_standing, is_valid
from platoon.records.shards import Reputation

RULES = (Rule.AS_WRITTEN, Rule.DEFAULT, Rule.EVIDENCE)
GOOD, BAD = 0.9, 0.1
HARDLY_GOOD, HARDLY_BAD = 0.6, 0.4
MOST = 1000
"""Updates that are tried before a row says never."""


def main() -> None:
    rows = [row for rule in RULES for row in measure(rule)]
    keep("reputation", rows)
    for kept in rows:
        value = "never" if kept["value"] is None else f"{kept['value']:g}"
        print(f"{kept['name']:48} {value:>8} {kept['unit']}")


def measure(rule: Rule) -> list[Row]:
    """All rows of a rule; a value of None is never."""
    rules = Rules(rule=rule, threshold=to_ppm(SCORES["forensic"].threshold))
    start = Reputation(rules.start)
    settled = judge_all(rules, start, [GOOD] * 20)
    values: dict[str, tuple[float | None, str]] = {}
    for who, before in (("newcomer", start), ("settled", settled)):
        for score in (BAD, 0.3, HARDLY_BAD):
            values[f"{who}_excluded_at_{score}"] = (count(rules, before, score, down=True), "updates")
        for wrong in (1, 3, 10):
            accused = judge_all(rules, before, [BAD] * wrong)
            for score in (GOOD, HARDLY_GOOD):
                name = f"{who}_back_after_{wrong}_at_{score}"
                values[name] = (count(rules, accused, score, down=False), "updates")
    for score in (HARDLY_GOOD, 0.75, GOOD):
        value = judge_all(rules, start, [score] * 20).value / MILLION
        values[f"reputation_after_20_at_{score}"] = (value, "")
    beside = judge_all(rules, start, [HARDLY_BAD, HARDLY_GOOD] * 20).value / MILLION
    values["reputation_after_40_beside_the_threshold"] = (beside, "")
    values["on_off_invalid_share"] = (tolerate(rules, settled), "of its updates")
    return [make_row(f"{rule.name.lower()}_{name}", *value) for name, value in values.items()]


def judge_all(rules: Rules, before: Reputation, scores: Iterable[float]) -> Reputation:
    """The reputation after updates of these scores, one a round."""
    for score in map(to_ppm, scores):
        valid = is_valid(rules, score)
        now = compute_next_standing(rules, *before, score=score, valid=valid, evidence=MILLION)
        before = Reputation(*now)
    return before


def count(rules: Rules, before: Reputation, score: float, *, down: bool) -> int | None:
    """Updates of one score until the reputation is below rho_min, or no longer; None where it never is."""
    for updates in range(MOST + 1):
        if (before.value < rules.rho_min) == down:
            return updates
        before = judge_all(rules, before, [score])
    return None


def tolerate(rules: Rules, settled: Reputation) -> float:
    """The largest share of invalid updates, evenly spread, with which a vehicle is never excluded; in tenths."""
    for bad in range(10, -1, -1):
        spread = [BAD if (i + 1) * bad // 10 > i * bad // 10 else GOOD for i in range(10)]
        now, least = settled, settled.value
        for score in islice(cycle(spread), MOST):
            now = judge_all(rules, now, [score])
            least = min(least, now.value)
        if least >= rules.rho_min:
            return bad / 10
    return 0.0


def make_row(name: str, value: float | None, unit: str) -> Row:
    """One number, which no repetition changes."""
    return {"name": name, "value": value, "unit": unit, "spread": 0.0, "peer": None, "peer_value": None}


if __name__ == "__main__":
    main()
