"""What docs/selectors.md shows works: the selector, its test, and its entry point."""

import re
import sys
from pathlib import Path

import pytest

from platoon.errors import UserError
from platoon.testing import make_candidates
from platoon.twin.selectors import guard_selector

DOCUMENT = Path(__file__).parents[2] / "docs" / "selectors.md"


def blocks(language):
    """Code blocks of the document by the file name in their first line."""
    found = re.findall(rf"```{language}\n# (\S+)\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return dict(found)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The document's package as if it were installed; returns a function that writes its module."""
    (entry,) = re.findall(r"^(\w+) = \"(.+)\"$", blocks("toml")["pyproject.toml"], re.MULTILINE)
    info = tmp_path / "my_selectors-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-selectors\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[platoon.selectors]\n{entry[0]} = {entry[1]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source):
        (tmp_path / "my_selectors.py").write_text(source)
        sys.modules.pop("my_selectors", None)
        return entry[0]

    yield write
    sys.modules.pop("my_selectors", None)


def test_the_documents_selector_passes_its_own_test_and_is_found(package):
    name = package(blocks("python")["my_selectors.py"])
    namespace = {}
    exec(blocks("python")["test_my_selectors.py"], namespace)
    namespace["test_quickest"]()
    candidates = make_candidates(3)
    chosen = guard_selector(name)(candidates)
    assert (candidates.forecasts.finish_probability[chosen] > 0.5).all()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('speed')", "raised KeyError ('speed') in round 10"),
        ("return [0] * 99", "allowed: at most"),
        ("return [0, 0][: candidates.count] if candidates.count > 1 else [-1]", "in round 10"),
        ("return [0.5]", "gave no row of whole numbers"),
        ("return [10**6]", "chose a vehicle that is not there"),
        ("return [int((candidates.forecasts.edge_server < 0).argmax())]", "out of service"),
    ],
)
def test_invalid_answers_of_a_plug_in_are_named(package, body, words):
    name = package(f"def quickest(candidates):\n    {body}\n")
    with pytest.raises(UserError) as raised:
        guard_selector(name)(
            next(c for c in map(make_candidates, range(50)) if (c.forecasts.edge_server < 0).any())
        )
    assert str(raised.value).startswith("selector = 'quickest': ")
    assert words in str(raised.value)
