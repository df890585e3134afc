import re
from pathlib import Path

import pytest

from tests.walkthrough.conftest import QUICK

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(300)  # as every test has; those that say so are started first
def test_every_line_of_the_readmes_shell_and_python_blocks_runs_in_an_empty_project(run):
    """In order, in one project: the blocks after training read what training wrote."""
    shell, python = blocks("bash"), blocks("python")
    assert len(shell) == 3
    for block in shell:
        run("bash", "-euo", "pipefail", "-c", block, **QUICK)
    for block in python:
        assert "Predictions(" in run("python", "-c", block).stdout


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 5
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_every_make_target_in_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z0-9-]+)", README))
    assert {"up", "test"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
