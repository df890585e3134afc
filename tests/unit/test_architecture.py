import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = {
    ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "src").rglob("*.py")
}


def test_every_file_that_the_page_names_exists():
    files = {"/" + file.relative_to(ROOT).as_posix() for file in (ROOT / "src").rglob("*.py")}
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


def test_what_benchmarks_and_examples_import_exists():  # nothing else runs them in CI
    files = [file for folder in ("benchmarks", "examples", "docs") for file in (ROOT / folder).rglob("*.py")]
    imports = [
        (file.relative_to(ROOT).as_posix(), node.module or "", name.name)
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mlops_project"
        for name in node.names
    ]
    assert len(imports) > 20
    assert [found for found in imports if not _exists(*found[1:])] == []


def _exists(module: str, name: str) -> bool:
    """Return whether a module of ours is there and binds a name at its top level, or holds a module called so."""
    if f"{module}.{name}" in SOURCES:
        return True
    if module not in SOURCES:
        return False
    bound = set()
    for node in ast.parse(SOURCES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            bound |= {item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)}
    return name in bound
