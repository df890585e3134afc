"""What the pages say is so: settings, commands, metrics and functions are all there, and code in them names what exists.

Blocks of ``bash`` and ``python`` run in a test each. Blocks of ``console`` need a server, a cluster or a person, and ``py`` the
reader's own data: of these, commands and calls are checked against the real parsers and signatures here.
"""

import ast
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
import yaml

import mlops_project as mlops
from mlops_project.cli import COMMANDS, main
from mlops_project.config import Config, build_config
from mlops_project.monitoring.service.metrics import METRICS as MONITOR_METRICS
from mlops_project.sections import Section
from mlops_project.serving.metrics import METRICS
from mlops_project.tracking.server_metrics import METRICS as TRACKING_METRICS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("README.md")])
RUN = {  # page with blocks of bash or python → the test that runs them
    "guide.md": "walkthrough/test_readme.py",
    "guia.md": "walkthrough/test_readme.py",  # has the same blocks
    "signing.md": "walkthrough/test_readme.py",
    "step-by-step.md": "walkthrough/test_guides.py",
    "passo-a-passo.md": "walkthrough/test_guides.py",
    "python.md": "unit/interface/test_page.py",
}
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}


def find_blocks(page: Path, *languages: str) -> list[str]:
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", TEXTS[page], re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def list_settings() -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    return walk_settings(Config, "")


def walk_settings(section: type[Section], place: str) -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from walk_settings(field.type, f"{place}{field.name}.")
        else:
            yield f"{place}{field.name}", field


def test_every_setting_is_on_the_page_with_a_description():
    page = TEXTS[DOCS / "configuration.md"]
    for place, field in list_settings():
        row = re.search(rf"^\| `{re.escape(field.name)}` \|.*\| (.+) \|$", page, re.MULTILINE)
        assert row, place
        assert len(row[1]) > 10, place


def test_every_command_metric_and_function_has_its_place():
    commands = TEXTS[DOCS / "commands.md"]
    assert [found for found in COMMANDS if f"## mlops {found}\n" not in commands and f"## mlops {found} " not in commands] == []
    metrics = TEXTS[DOCS / "metrics.md"]
    declared = [metric.name for metric in (*METRICS, *MONITOR_METRICS, *TRACKING_METRICS)]
    assert len(declared) > 50
    assert [found for found in declared if f"| `{found}`" not in metrics] == []
    python = TEXTS[DOCS / "python.md"]
    assert [found for found in mlops.__all__ if not found.startswith("_") and not re.search(rf"\b{found}\b", python)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_metrics_that_a_page_names_exist(page):
    families = {metric.name for metric in (*METRICS, *MONITOR_METRICS, *TRACKING_METRICS)}
    named = set(re.findall(r"`(mlops_(?!project)[a-z_]+)`", TEXTS[page]))
    assert [
        found for found in named if re.sub(r"_(bucket|sum|count)$", "", found) not in families and found not in families
    ] == []


def list_invocations(page: Path) -> Iterator[list[str]]:
    """The words of each call of `mlops` in a page's blocks."""
    for block in find_blocks(page, "bash", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s*(?:&&|\|\||;|\|)\s+", line.split(" #")[0]):
                if re.match(r"(?:\$ )?mlops [a-z]", part):
                    yield shlex.split(re.sub(r"\s[<>].*", "", part.removeprefix("$ ")))[1:]


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, f"no command {words[0]!r}"
    if isinstance(command, click.Group):
        return command.commands[words[1]], words[2:]
    return command, words[1:]


@pytest.mark.parametrize("page", [page for page in PAGES if any(list_invocations(page))], ids=name)
def test_every_command_on_a_page_has_options_that_exist(page):
    for words in list_invocations(page):
        command, rest = find_command(words)
        command.make_parser(click.Context(command)).parse_args(rest)  # raises a usage error for an option that is not there


@pytest.mark.parametrize("page", [page for page in PAGES if "```" in TEXTS[page]], ids=name)
def test_every_make_target_in_a_page_s_blocks_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    blocks = "\n".join(find_blocks(page, "bash", "console"))
    for target in re.findall(r"^make ([a-z0-9-]+)", blocks, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", [page for page in PAGES if find_blocks(page, "yaml", "json")], ids=name)
def test_blocks_of_settings_are_valid(page, tmp_path):
    for block in find_blocks(page, "json"):
        json.loads(block)
    for block in find_blocks(page, "yaml"):
        for values in yaml.safe_load_all(block):
            if isinstance(values, dict) and values.keys() <= {field.name for field in msgspec.structs.fields(Config)}:
                build_config(values, tmp_path / "page.yaml", root=tmp_path, env={})


@pytest.mark.parametrize("page", [page for page in PAGES if find_blocks(page, "py", "python")], ids=name)
def test_calls_in_python_blocks_have_parameters_that_exist(page):
    for block in find_blocks(page, "py", "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "mlops":
                assert node.func.attr in mlops.__all__, ast.unparse(node)
                signature = inspect.signature(getattr(mlops, node.func.attr))
                signature.bind_partial(*node.args, **{item.arg: None for item in node.keywords if item.arg})


@pytest.mark.parametrize("page", [page for page in PAGES if find_blocks(page, "bash", "python")], ids=name)
def test_blocks_that_claim_to_run_run_in_a_test(page):
    tests = ROOT / "tests"
    assert f'{page.name}"' in (tests / RUN[page.name]).read_text(encoding="utf-8"), "run its blocks, or call them console or py"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.MULTILINE | re.DOTALL)
    links = [
        link
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        if "://" not in link and not link.startswith("mailto:")
    ]
    assert [link for link in links if not (page.parent / link).exists()] == []
