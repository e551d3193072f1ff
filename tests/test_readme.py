"""What the README shows a newcomer runs: its plug-in passes the published laws, and its files exist."""

import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from platoon.cli.main import app
from platoon.learning.scores import ScoreRule
from platoon.testing import check_score

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_plug_in_of_ten_lines_keeps_the_laws() -> None:
    block = next(
        code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "ScoreRule" in code
    )
    names: dict[str, Any] = {}
    exec(block, names)
    assert isinstance(names["rule"], ScoreRule)
    check_score(names["rule"].score)


def test_links_lead_somewhere() -> None:
    for text in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "docs" / "decisions" / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", text.read_text()):
            if "://" not in target:
                assert (text.parent / target).exists(), f"{text.name}: {target}"


def test_commands_exist() -> None:
    blocks = "".join(re.findall(r"```\n(.*?)```", README, re.DOTALL))
    commands = set(re.findall(r"^platoon (\w+)", blocks, re.MULTILINE))
    assert {"run", "compare", "resume", "verify", "report", "data"} <= commands
    for command in sorted(commands):
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command
