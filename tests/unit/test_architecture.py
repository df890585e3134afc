import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_file_that_the_page_names_exists():
    files = {"/" + file.relative_to(ROOT).as_posix() for file in (ROOT / "src").rglob("*.py")}
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []
