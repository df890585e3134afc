"""``docs/checks.md`` explains every code that training can raise, and no other."""

import ast
import re
from pathlib import Path

from mlops_project.findings import CODES

ROOT = Path(__file__).parents[2]
PARTS = ("**Seen.** ", "**Why.** ", "**Do.** ")


def read_codes() -> set[str]:
    """Return every text in what the source passes as ``code=…``: findings alone have codes of this form."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "src").rglob("*.py"))
    keywords = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "code")
    values = (part.value for node in keywords for part in ast.walk(node.value) if isinstance(part, ast.Constant))
    return {value for value in values if isinstance(value, str)}


def read_sections() -> dict[str, str]:
    page = (ROOT / "docs/checks.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^### `([a-z0-9-]+)`\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))


def test_every_code_has_a_section_and_every_section_a_code():
    codes, sections = read_codes(), read_sections()
    assert len(codes) >= 7
    assert codes == set(sections) == CODES


def test_every_section_says_what_was_seen_why_it_matters_and_what_to_do():
    lacking = {code: part for code, text in read_sections().items() for part in PARTS if part not in text}
    assert lacking == {}
