"""What docs/aggregation.md shows works: its aggregator, the test of it, its entry point; its tables are whole."""

import re
import sys
from pathlib import Path

import numpy as np

from platoon.learning.aggregators import AGGREGATORS, PRE_AGGREGATIONS, resolve_aggregator
from platoon.records.rules import WEIGHT_TOTAL
from platoon.scenario import Aggregation

DOCUMENT = (Path(__file__).parents[2] / "docs" / "aggregation.md").read_text(encoding="utf-8")


def blocks(language):
    """Code blocks of the document by the file name in their first line."""
    return dict(re.findall(rf"```{language}\n# (\S+)\n(.*?)```", DOCUMENT, re.DOTALL))


def test_the_documents_aggregator_passes_its_own_test_and_is_found(tmp_path, monkeypatch):
    info = tmp_path / "my_aggregators-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-aggregators\nVersion: 1.0\n")
    (entry,) = re.findall(r"^(\w+) = \"(.+)\"$", blocks("toml")["pyproject.toml"], re.MULTILINE)
    (info / "entry_points.txt").write_text(f"[platoon.aggregators]\n{entry[0]} = {entry[1]}\n")
    (tmp_path / "my_aggregators.py").write_text(blocks("python")["my_aggregators.py"])
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        namespace = {}
        exec(blocks("python")["test_my_aggregators.py"], namespace)
        namespace["test_middle"]()
        updates = np.array([[0, 4], [10, 8], [2, 2]], dtype=np.int32)
        weights = np.array([WEIGHT_TOTAL // 2, WEIGHT_TOTAL // 4, WEIGHT_TOTAL // 4])
        aggregate = resolve_aggregator(Aggregation(rule=entry[0]), participants=3)
        assert aggregate(updates, weights).tolist() == [5, 5]
    finally:
        sys.modules.pop("my_aggregators", None)


def test_the_tables_name_every_rule():
    rules, pre = re.findall(r"\n\| `(?:rule|pre)` \|.*?\n(?=\n)", DOCUMENT, re.DOTALL)
    assert re.findall(r"^\| `(\w+)` \|", rules, re.MULTILINE)[1:] == list(AGGREGATORS)
    assert re.findall(r"^\| `(\w+)` \|", pre, re.MULTILINE)[1:] == list(PRE_AGGREGATIONS)
