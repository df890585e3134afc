"""The README, the guide and their Portuguese twins: what they say runs, and what they name is there."""

import re
from pathlib import Path

import pytest

from tests.walkthrough.conftest import QUICK

ROOT = Path(__file__).parents[2]
README, GUIDE, README_PT, GUIDE_PT = PAGES = [
    ROOT / name for name in ("README.md", "docs/guide.md", "README.pt-BR.md", "docs/guia.md")
]


def find_blocks(page: Path, *languages: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def strip_comments(block: str) -> list[str]:
    """The lines of a block without comments and names in one language."""
    return [re.sub(r"\s+#.*| {2,}", "", line) for line in block.splitlines()]


@pytest.mark.timeout(300)  # as every test has; those that say so are started first
def test_every_line_of_the_guide_s_shell_and_python_blocks_runs_in_an_empty_project(run):
    """In order, in one project: the blocks after training read what training wrote."""
    shell, python = find_blocks(GUIDE, "bash"), find_blocks(GUIDE, "python")
    assert len(shell) == 3
    for block in shell:
        run("bash", "-euo", "pipefail", "-c", block, **QUICK)
    for block in python:
        assert "Predictions(" in run("python", "-c", block).stdout


@pytest.mark.timeout(300)
def test_every_line_of_the_shell_blocks_about_signing_runs_in_an_empty_project(run):
    for block in find_blocks(ROOT / "docs/signing.md", "bash"):
        run("bash", "-euo", "pipefail", "-c", block, **QUICK)


@pytest.mark.parametrize(("page", "other"), [(README, README_PT), (GUIDE, GUIDE_PT)], ids=["readme", "guide"])
def test_both_languages_have_the_same_commands_links_and_sections(page, other):
    kinds = "bash", "console", "python"
    assert [strip_comments(block) for block in find_blocks(page, *kinds)] == [
        strip_comments(block) for block in find_blocks(other, *kinds)
    ]
    texts = [file.read_text(encoding="utf-8") for file in (page, other)]
    assert texts[0].count("\n## ") == texts[1].count("\n## ")
    assert texts[0].count("\n| ") == texts[1].count("\n| ")
    pictures = [re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text) for text in texts]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_make_target_on_a_page_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z0-9-]+)", page.read_text(encoding="utf-8"))) - {"e", "em"}  # Portuguese words
    assert "up" in targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_readme_fits_one_screen_and_says_the_figures_that_were_measured():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 70
    measured = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    for figure in ("| 762× |", "| 25× |", "0.24 s", "| 78 MiB |", "on 33 of 33 tables, better on 14"):
        assert figure in measured
    for figure in ("762", "25 times", "0.24 s", "78 MiB", "on 33, better on 14"):
        assert figure in text
