import ast
import re
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

import mlops_project.ui
from mlops_project.metadata import Engine
from mlops_project.modeling.evaluation import TITLES
from mlops_project.monitoring.results import AlertName, Source
from mlops_project.streamlit_app import PAGES
from mlops_project.ui.format import escape, format_moment, format_number
from mlops_project.ui.language import TEXTS as LANGUAGE_TEXTS
from mlops_project.ui.language import Translate, find_language, name_metric
from mlops_project.ui.monitoring.timeline import LOOKS

TEXTS = LANGUAGE_TEXTS["en"]
FILES = [*Path(mlops_project.ui.__file__).parent.rglob("*.py"), Path(mlops_project.ui.__file__).parents[1] / "streamlit_app.py"]


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGE_TEXTS)
def test_every_text_is_there_in_every_language_with_the_same_fields(language):
    texts = {key: text for key, text in LANGUAGE_TEXTS[language].items() if key != "reasons"}
    assert list(texts) == list(TEXTS)
    assert [key for key, text in texts.items() if not text.strip()] == []
    assert [key for key, text in texts.items() if fields(text) != fields(TEXTS[key])] == []


@pytest.mark.parametrize(
    ("value", "english", "portuguese"),
    [(1234567, "1,234,567", "1.234.567"), (1234.5, "1,234.5", "1.234,5"), (0.25, "0.25", "0,25"), (None, "-", "-")],
)
def test_numbers_are_written_as_the_language_writes_them(value, english, portuguese):
    assert [Translate(code).number(value) for code in ("en", "pt")] == [english, portuguese]


def test_numbers_that_fill_a_text_are_written_as_the_language_writes_them():
    assert "1.234 linhas" in Translate("pt")("batch.good", rows=1234)
    assert Translate("pt").percent(0.983) == "98,3%"


def used_keys() -> set[str]:
    """First arguments of ``t(…)`` that are plain texts."""
    calls = [
        node
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and (getattr(node.func, "id", "") == "t" or getattr(node.func, "attr", "") == "t")
    ]
    plain = {inner.value for call in calls for inner in ast.walk(call.args[0]) if isinstance(inner, ast.Constant)}
    return {key for key in plain if isinstance(key, str) and key in TEXTS}


# What pages ask for by a name that they build: beginning → every end that there can be.
BUILT = {
    "page": tuple(PAGES),
    "tab": ("quality", "decisions", "parts", "features", "data", "card", "versions"),
    "metric": tuple(TITLES),
    "metric.none": get_args(Source),
    "answered": ("server", "bundle"),
    "engine": get_args(Engine),
    "baseline": ("dummy", "linear"),
    "compare": ("metrics", "slices", "changed", "importance", "settings"),
    "confirm": ("promote", "rollback"),
    "alert": get_args(AlertName),
    "approval": ("waiting", "approved", "refused"),
    "step": get_args(AlertName),
    "event": tuple(LOOKS),
    "mark": ("promoted", "rolled-back"),
}
BUILT_KEYS = {f"{beginning}.{end}" for beginning, ends in BUILT.items() for end in ends}


def test_every_text_is_used():
    code = "\n".join(file.read_text() for file in FILES)
    assert [key for key in TEXTS.keys() - used_keys() - BUILT_KEYS if f'"{key}"' not in code] == []


def test_every_key_that_is_built_exists_and_is_built():
    assert BUILT_KEYS - TEXTS.keys() == set()
    code = "\n".join(file.read_text() for file in FILES)
    assert [beginning for beginning in BUILT if not re.search(rf"""f["']{beginning}\.{{""", code)] == []


def test_every_key_that_the_pages_ask_for_exists():
    for file in FILES:
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if name == "t" and isinstance(call.args[0], ast.Constant):
                assert call.args[0].value in TEXTS


@pytest.mark.parametrize(
    ("wishes", "language"),
    [
        (("pt-BR",), "pt"),
        ((None, "pt-PT"), "pt"),
        (("de", "en-GB"), "en"),
        ((None, None), "en"),
        (("PT",), "pt"),
        (("en", "pt"), "en"),
    ],
)
def test_language_is_the_first_wish_that_there_is(wishes, language):
    assert find_language(*wishes) == language


def test_unknown_metric_keeps_its_name():
    t = Translate("pt")
    assert name_metric(t, "accuracy") == "acurácia"
    assert name_metric(t, "my_metric") == "my_metric"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("petal width (cm)", "petal width (cm)"),
        ("breast-cancer", "breast-cancer"),
        ("a_b_c", "a_b_c"),
        ("price: 5 %", "price: 5 %"),
        ("<b>x</b>", r"\<b\>x\</b\>"),
        ("*x*", r"\*x\*"),
        ("_x_", r"\_x\_"),
        ("$x^2$", r"\$x^2\$"),
        ("[a](b)", r"\[a\](b)"),
        ("# x", r"\# x"),
        ("- x", r"\- x"),
        ("1. x", r"1\. x"),
        ("`x`", r"\`x\`"),
        (":red[x]", r"\:red\[x\]"),
        ("http://x.org", "`http://x.org`"),
        ("no answer from http://127.0.0.1:8000 (refused)", "no answer from `http://127.0.0.1:8000` (refused)"),
        ("see https://x.org:1/a_b_?q=*#c, www.x.org.", "see `https://x.org:1/a_b_?q=*#c`, `www.x.org`."),
        ("me@x.org", "`me@x.org`"),
        ("http://x`*y*`", r"`http://x`\`\*y\*\`"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("a\\b", r"a\\b"),
    ],
)
def test_only_what_markdown_would_read_is_escaped(text, escaped):
    assert escape(text) == escaped


def test_escaped_text_is_one_line():
    assert escape("a\n# b\n\nc") == "a # b c"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (13.27, "13.27"),
        (1234567.0, "1,234,567"),
        (0.061440, "0.06144"),
        (1e-9, "1e-09"),
        (-3.5, "-3.5"),
        (None, "-"),
        (100.0, "100"),
        (1e20, "1e+20"),
    ],
)
def test_numbers_are_short_and_grouped(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-23T00:00:00", "2026-11-23"),
        ("2026-11-23T10:30:00", "2026-11-23 10:30"),
        ("2026-11-23T10:30:05.123+00:00", "2026-11-23 10:30:05"),
        ("", ""),
    ],
)
def test_moments_are_as_short_as_they_can_be(text, shown):
    assert format_moment(text) == shown
