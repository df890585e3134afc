import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from mlops_project.bundle import MODEL_FILE, Metadata, publish, stage
from mlops_project.config import Config, DataConfig, EvaluationConfig, GatesConfig, ModelConfig
from mlops_project.contract import Contract, Feature
from mlops_project.findings import Finding
from mlops_project.modeling.evaluation import evaluate
from mlops_project.modeling.export import export_onnx
from mlops_project.modeling.groups import measure_groups
from mlops_project.modeling.pipeline import build_pipeline
from mlops_project.modeling.report import Results, write_card, write_report
from mlops_project.runtime import Predictions
from tests.pages import Page

HOSTILE = "<script>alert('x')</script> | `b` *c* _d_ [e](javascript:f) $g$ &amp; {{ 7 * 7 }}"
CONFIG = Config(evaluation=EvaluationConfig(bootstrap_rounds=20))


def build_results(contract, slices=None, **more):
    rng = np.random.default_rng(0)
    if contract.is_classification:
        size = len(contract.classes)
        probabilities = rng.dirichlet(np.ones(size), 60)
        predictions, truth = Predictions(probabilities.argmax(axis=1), probabilities), rng.integers(0, size, 60)
    else:
        predictions, truth = Predictions(values=rng.normal(size=60)), rng.normal(size=60)
    return Results(evaluate(predictions, truth, contract, CONFIG, slices), **more)


def describe(contract, results, **more) -> Metadata:
    facts = {
        "name": "demo",
        "started_at": "2026-01-01T00:00:00.000+00:00",
        "created_at": "2026-01-01T00:01:00.000+00:00",
        "estimator": "random_forest",
        "contract": contract,
        "metrics": results.evaluation.metrics,
        "train_rows": 12345,
        "test_rows": 60,
        "data_source": "table.csv",
        "data_digest": "d" * 64,
        "config": {},
        "config_digest": "c" * 64,
        "libraries": {"numpy": "2.0"},
    }
    return Metadata(**facts | more)


def build_contract(names=("age", "income"), classes=("no", "yes"), task="binary"):
    return Contract(
        tuple(Feature(name, "float", minimum=0, maximum=1, default=0.5) for name in names), "y", task, classes, classes
    )


def render_page(folder, contract, results, settings=CONFIG, **more):
    write_report(folder / "report.html", describe(contract, results, **more), settings, results)
    return (folder / "report.html").read_text(encoding="utf-8")


def render_card(folder, contract, results, settings=CONFIG, **more):
    write_card(folder / "README.md", describe(contract, results, **more), settings, results)
    return (folder / "README.md").read_text(encoding="utf-8")


def read_tables(markdown):
    """Return the card's tables as people see them: lists of rows of cells."""
    tables, row = [], []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            row = []
            tables[-1].append(row)
        elif token.type == "inline" and token.level >= 4 and tables and token.map is not None:
            row.append("".join(child.content for child in token.children))
    return tables


OTHERS = [build_contract(classes=("a", "b", "c"), task="multiclass"), build_contract(classes=(), task="regression")]


@pytest.mark.parametrize("contract", [build_contract(), *OTHERS], ids=["binary", "several", "number"])
def test_groups_are_listed_with_figures_and_intervals(contract, tmp_path):
    results = build_results(contract)
    people = pd.Series(["f", "m|m"] * 30)
    groups = tuple(measure_groups(results.evaluation.scored, people, "sex"))
    listed = replace(results, evaluation=replace(results.evaluation, groups=groups))
    table = next(table for table in read_tables(render_card(tmp_path, contract, listed)) if table[0][:2] == ["column", "value"])
    assert [row[:3] for row in table[1:]] == [["sex", "'f'", "30"], ["sex", "'m|m'", "30"]]
    assert all(re.search(r"\(.+ to .+\)", cell) for row in table[1:] for cell in row[3:])
    assert "<h2>Groups</h2>" in render_page(tmp_path, contract, listed)
    assert "Groups" not in render_card(tmp_path, contract, results)


@pytest.fixture
def plots(tmp_path):
    files = [tmp_path / "roc.png", tmp_path / "importance.png"]
    for file in files:
        Image.new("RGB", (40, 30), "white").save(file)
    return files


@pytest.mark.parametrize(("task", "classes"), [("binary", ("no", "yes")), ("multiclass", tuple("abcdef")), ("regression", ())])
def test_page_is_valid_and_whole_for_every_task(tmp_path, plots, task, classes):
    contract = build_contract(classes=classes, task=task)
    slices = pd.DataFrame({"region": ["north", "south"] * 30})
    page = Page(render_page(tmp_path, contract, build_results(contract, slices, plots=plots, parity="equal", warnings=["odd"])))
    assert page.tags.count("h1") == 1
    assert page.tags.count("img") == 2
    for text in ("demo", "age", "region", "north", "odd", "equal", "12,345 rows to learn from, 60 held out"):
        assert any(text in seen for seen in page.texts), text


def test_page_and_card_say_what_the_owner_says_and_ask_for_it_where_nothing_is_said(tmp_path):
    contract, results = build_contract(), build_results(build_contract())
    said = {
        "intended_use": f"to call people\n{HOSTILE}",
        "owner": "analytics",
        "contact": "a@example.com",
        "licence": "internal",
    }
    config = {"card": said}
    page = Page(render_page(tmp_path, contract, results, config=config))
    for text in ("Use and owner", "Intended use", "analytics", "a@example.com", "internal"):
        assert text in page.texts
    assert "script" not in page.tags
    card = render_card(tmp_path, contract, results, config=config)
    assert "- Intended use: to call people \\<script\\>" in card
    assert "- Owner: analytics\n- Contact: a@example.com\n- Licence: internal\n" in card
    asked = "its owner has to say (section `card` of the configuration)"
    assert asked not in card
    for config in ({}, {"card": "none"}, {"card": {"owner": 7}}, {"card": {}}):  # older bundles, and those of others
        silent = render_card(tmp_path, contract, results, config=config)
        assert (asked in silent, "Use and owner" in silent) == (True, False)


def test_page_and_card_say_what_was_found_with_its_code(tmp_path):
    contract = build_contract()
    leak = Finding(code="leak-sum", seen=f"{HOSTILE} adds up", why="it is not known", cure="drop it", severity="error")
    found = (leak, msgspec.structs.replace(leak, code="constant", severity="note", accepted="by design"))
    seen = " ".join(Page(render_page(tmp_path, contract, build_results(contract), findings=found)).texts)
    for text in ("leak-sum", f"{HOSTILE} adds up; it is not known; drop it", "it is not known; accepted: by design"):
        assert text in " ".join(seen.split())
    card = render_card(tmp_path, contract, build_results(contract), findings=found)
    assert re.search(r"^- error `leak-sum`: .* adds up; it is not known; drop it$", card, re.MULTILINE)
    assert re.search(r"^- accepted `constant`: ", card, re.MULTILINE)
    assert "<script>" not in card


def test_page_needs_no_other_file_and_no_network(tmp_path, plots):
    contract = build_contract()
    text = render_page(tmp_path, contract, build_results(contract, plots=plots))
    page = Page(text)
    sources = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action", "data", "poster")]
    assert len(sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert re.findall(r"https?://", text) == []


def test_every_image_of_the_page_has_a_caption_and_a_name(tmp_path, plots):
    contract = build_contract()
    page = Page(render_page(tmp_path, contract, build_results(contract, plots=plots)))
    assert [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")] == ["roc", "importance"]
    assert any("explains the model, not the world" in text for text in page.texts)


def test_page_shows_hostile_names_as_text(tmp_path):
    contract = msgspec.structs.replace(
        build_contract((HOSTILE, "b"), (HOSTILE, "yes")), target=HOSTILE, class_names=(HOSTILE, HOSTILE + "2")
    )
    slices = pd.DataFrame({HOSTILE: [HOSTILE[:60], "plain"] * 30})
    findings = build_results(contract, slices, parity=HOSTILE, warnings=[HOSTILE])
    page = Page(render_page(tmp_path, contract, findings, name=HOSTILE, data_source=HOSTILE, git_commit=HOSTILE))
    assert "script" not in page.tags
    assert sum(HOSTILE in text for text in page.texts) >= 8
    assert {name for _, name, _ in page.attributes} <= {"lang", "charset", "name", "content", "class", "alt", "src", "tabindex"}


def test_page_shows_the_configuration_that_the_bundle_holds_and_no_secret(tmp_path):
    secret = "hunter2"  # pragma: allowlist secret
    config = Config(data=DataConfig(source=f"postgresql://me:{secret}@host/db", storage_options={"secret": secret}))
    contract = build_contract()
    public = {"data": {"source": "postgresql://me:***@host/db"}}
    text = render_page(tmp_path, contract, build_results(contract), config, config=public)
    assert secret not in text
    assert "postgresql://me:***@host/db" in text
    assert secret not in render_card(tmp_path, contract, build_results(contract), config, config=public)


def test_page_frames_the_metric_that_the_gate_compares(tmp_path):
    contract = build_contract()
    for gates, title in ((GatesConfig(), "ROC AUC"), (GatesConfig(metric="log_loss"), "log loss")):
        text = render_page(tmp_path, contract, build_results(contract), Config(gates=gates))
        assert re.findall(r'card main"><span class="soft">([^<]+) [↑↓]', text) == [title]


def test_metric_that_a_slice_does_not_define_is_called_undefined(tmp_path):
    contract = build_contract()
    slices = pd.DataFrame({"region": ["north"] * 59 + ["south"]})
    findings = build_results(contract, slices)
    assert read_tables(render_card(tmp_path, contract, findings))[1][2][3] == "undefined"
    assert ">undefined</td>" in render_page(tmp_path, contract, findings)


def test_wide_tables_fold_their_inputs_away(tmp_path):
    contract = build_contract([f"column {number}" for number in range(300)])
    text = render_page(tmp_path, contract, build_results(contract))
    assert "<summary>300 columns</summary>" in text
    assert len(text) < 200_000
    assert Page(text).tags.count("details") == 2


def test_inputs_say_what_training_saw(tmp_path):
    features = (
        Feature("f", "float", minimum=0.25, maximum=2_500_000.0, default=1.5),
        Feature("i", "integer", nullable=True, minimum=0, maximum=9, default=4),
        Feature("b", "boolean", minimum=0, maximum=1, default=True),
        Feature("c", "category", categories=tuple("abcdefghij"), default="a"),
        Feature("d", "datetime", minimum=0, maximum=86400 * 1.5, default="1970-01-01T12:00:00"),
        Feature("e", "float", nullable=True),
    )
    contract = Contract(features, "y", "regression")
    rows = read_tables(render_card(tmp_path, contract, build_results(contract)))[1]
    assert rows[1:] == [
        ["f", "float", "no", "0.25 to 2,500,000, median 1.5"],
        ["i", "integer", "yes", "0 to 9, median 4"],
        ["b", "boolean", "no", "true, false"],
        ["c", "category", "no", "a, b, c, d, e, f, g, h and 2 more"],
        ["d", "datetime", "no", "1970-01-01 to 1970-01-02T12:00:00"],
        ["e", "float", "yes", "no values"],
    ]


@pytest.mark.parametrize("value", [HOSTILE, "line\nbreak | pipe", "**bold**", "a\\|b", "<b>", "~~x~~", "# not a title"])
def test_card_shows_any_name_as_it_is(tmp_path, value):
    shown = " ".join(value.split())
    contract = msgspec.structs.replace(build_contract((value, "b")), target=value, class_names=("no", value))
    slices = pd.DataFrame({value: ["plain", "other"] * 30})
    card = render_card(tmp_path, contract, build_results(contract, slices, warnings=[value]), name=value, data_source=value)
    _, sliced, inputs = read_tables(card)
    assert sliced[1][0] == shown
    assert inputs[1][0] == shown
    assert {len(row) for row in sliced} == {5}
    assert {len(row) for row in inputs} == {4}
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(card)
    assert not {"script", "b", "em", "a", "del"} & set(re.findall(r"<(\w+)", html))
    assert re.findall(r"<h1>(.*)</h1>", html)[0].count("<") == 0


def test_card_has_its_sections_in_order_and_its_tables_whole(tmp_path):
    contract = build_contract()
    card = render_card(tmp_path, contract, build_results(contract, pd.DataFrame({"r": ["n", "s"] * 30})), git_commit="abc")
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == ["Metrics", "Slices", "Inputs", "Use", "Limits", "Reproduce"]
    metrics, slices, inputs = read_tables(card)
    assert metrics[0] == ["metric", "value", "interval", "better"]
    assert [row[0] for row in metrics[1:4]] == ["accuracy", "precision", "recall"]
    assert {len(row) for row in metrics} == {4}
    assert slices[0] == ["column", "value", "rows", "ROC AUC", "accuracy"]
    assert [row[0] for row in inputs] == ["column", "age", "income"]
    assert "60 held-out rows are few" in card
    assert "commit: `abc`" in card
    assert "\n\n\n" not in card


def test_card_without_optional_parts_leaves_no_holes(tmp_path):
    contract = build_contract(task="regression", classes=())
    card = render_card(tmp_path, contract, build_results(contract), test_rows=5000)
    assert "Slices" not in card
    assert "held-out rows are few" not in card
    assert "Classes" not in card
    assert "commit" not in card
    assert "None" not in card


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_example_of_the_card_runs_as_written_for_a_mixed_table(tmp_path, task):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            'it\'s "odd" £': rng.normal(size=60),
            "count": rng.integers(0, 9, 60),
            "flag": rng.random(60) > 0.5,
            "city": rng.choice(["São Paulo", 'O\'Brien "x"', "\\n"], 60),
            "day": (pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 99, 60), unit="D")).astype("datetime64[us]"),
        }
    )
    kinds = ("float", "integer", "boolean", "category", "datetime")
    defaults = (0.1, 4, True, 'O\'Brien "x"', "2026-02-01T00:00:00")
    features = tuple(
        Feature(
            name,
            kind,
            minimum=0,
            maximum=1,
            default=default,
            categories=tuple(sorted(set(frame[name]))) if kind == "category" else (),
        )
        for name, kind, default in zip(frame.columns, kinds, defaults, strict=True)
    )
    classes = ("no", "yes") if task == "binary" else ()
    contract = Contract(features, "y", task, classes, classes)
    config = Config(model=ModelConfig(estimator="random_forest", params={"n_estimators": 3}))
    target = pd.Series(np.where(frame["flag"], "yes", "no") if classes else frame["count"].astype(float), name="y")
    model = export_onnx(build_pipeline(contract, config).fit(frame, target), contract)
    findings = build_results(contract)
    with stage(tmp_path / "artifacts" / "model") as folder:
        (folder / MODEL_FILE).write_bytes(model)
        write_card(folder / "README.md", describe(contract, findings), config, findings)
        bundle = publish(folder, tmp_path / "artifacts" / "model", describe(contract, findings))
    code = re.findall(r"```python\n(.*?)```", (bundle.path / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code[0]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert re.fullmatch(r"(yes|no) \[[\d. ]+\]\n" if classes else r"[\d.]+\n", done.stdout)


def test_templates_belong_to_the_package():
    import mlops_project.modeling

    folder = Path(mlops_project.modeling.__file__).parent / "templates"
    assert {file.name for file in folder.iterdir()} == {"card.md.j2", "page.css", "report.html.j2"}
