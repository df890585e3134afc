"""``mlops init``: what it writes is read back, loads the table and keeps no secrets."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_project.cli import main
from mlops_project.config import read_config
from mlops_project.data_prep import judge_table, load_table
from mlops_project.errors import ConfigError, DataError
from mlops_project.tables.draft import draft_config
from mlops_project.wire.words import PLACEHOLDERS

N = 120


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": range(5000, 5000 + N),
            "age": rng.integers(18, 80, N),
            "income": [*(f"{value:.2f}" for value in rng.normal(3000, 900, N - 2)), "?", "?"],
            "limit": [np.inf, *rng.random(N - 1).round(4)],
            "plan": rng.choice(["basic", "plus"], N),
            "stage": rng.choice([1, 2, 3], N),
            "since": pd.date_range("2025-01-01", periods=N).astype(str),
            "churned_text": ["left", "stayed"] * (N // 2),
            "churned": ["yes", "no"] * (N // 2),
        }
    )


@pytest.fixture
def draft(tmp_path, monkeypatch):
    """Write a table, draft its configuration and read both back."""
    monkeypatch.chdir(tmp_path)

    def make(frame: pd.DataFrame, target: str = "churned", name: str = "t.csv"):
        frame.to_csv(tmp_path / name, index=False) if name.endswith("csv") else frame.to_parquet(tmp_path / name)
        text = draft_config(name, target, query=None, folder=tmp_path).text
        (tmp_path / "model.yaml").write_text(text, encoding="utf-8")
        config = read_config(tmp_path / "model.yaml", root=tmp_path, env={})
        return text, config, load_table(config)

    return make


def test_nasty_table_gets_a_configuration_that_loads_as_it_is(draft, frame):
    text, config, table = draft(frame)
    assert config.data.drop == ("customer_id", "churned_text")
    assert set(config.data.missing) >= {"inf", "-inf"}
    assert (table.task, table.classes) == ("binary", ("no", "yes"))
    assert list(table.features) == ["age", "income", "limit", "plan", "stage", "since"]
    assert table.types["income"] == "float"
    assert re.search(r"- customer_id +# numbers the rows", text)
    assert re.search(r"- churned_text +# equals the target 'churned' in other words: a leak", text)
    assert re.search(r"stage: integer +# only 1, 2, 3: if these are codes", text)
    assert re.search(r"# time: since +# hold out the newest rows", text)
    assert "60 rows; precision" in text


def test_number_column_spoilt_by_many_texts_is_dropped_for_that_reason(draft, frame):
    frame["income"] = [f"e{row}" if row % 15 == 0 else row + 0.5 for row in range(len(frame))]
    text, config, _ = draft(frame)
    assert "income" in config.data.drop
    assert re.search(r"- income +# mostly numbers or dates, but also 'e0', 'e15'", text)


def test_column_of_numbers_written_for_people_is_read_and_noted(draft, frame):
    frame["income"] = [f"1,{100 + row * 7 % N}" for row in range(N)]
    frame["age"] = [f"{18 + row % 60}%" for row in range(N)]
    text, config, _ = draft(frame)
    assert not {"income", "age"} & {*config.data.drop}
    assert "# Note: column 'income': texts were read as numbers, '1,100' as 1100" in text
    assert "# Note: column 'age': texts were read as numbers, '18%' as 0.18" in text


def test_target_of_numbers_with_one_stray_text_is_refused_with_that_text_and_its_row(draft, frame):
    frame["income"] = [*(f"{row}.5" for row in range(N - 1)), "plus"]  # which another column uses as a value
    with pytest.raises(DataError) as caught:
        draft(frame, "income")
    told = "the target column 'income' holds numbers, but 1 of its values are not: 'plus' (row 120); mend them, or leave"
    assert told in str(caught.value)


def test_values_are_shown_short(draft, frame):
    text, _, _ = draft(
        frame.assign(stage=frame["stage"].astype("Int64").mask(frame.index == 0), age=np.linspace(1 / 3, 1e7 / 3, N))
    )
    assert re.search(r"#   age +float +0.333333 … 3.33333e\+06\n", text)
    assert re.search(r"#   stage +integer +1 … 3, 1 missing\n", text)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no column is left to learn from\n  - 'y' is the only column"),
        ({"id": range(N)}, "no column is left to learn from\n  - column 'id' numbers the rows"),
        ({"one": ["x"] * N}, "no column is left to learn from\n  - column 'one' is 'x' in all 120 rows"),
    ],
)
def test_table_with_nothing_to_learn_from_is_refused_with_the_reasons(draft, columns, message):
    with pytest.raises(DataError) as caught:
        draft(pd.DataFrame(columns | {"y": [0, 1] * (N // 2)}), "y")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("target", "task", "estimator", "gate"),
    [("age", "regression", "ridge", "{r2: 0.5}"), ("stage", "multiclass", "logistic_regression", "{accuracy: 0.8}")],
)
def test_estimator_and_gates_fit_the_task(draft, frame, target, task, estimator, gate):
    text, config, table = draft(frame.drop(columns="churned_text"), target)
    assert (config.data.task, table.task) == (task, task)
    assert config.model.estimator == "auto"
    assert estimator in text
    assert gate in text


def test_rare_class_is_noted_and_judged_by_pr_auc(draft, frame):
    frame["churned"] = ["yes"] * 8 + ["no"] * (N - 8)
    text, config, _ = draft(frame.drop(columns="churned_text"))
    assert config.gates.metric == "pr_auc"
    assert "the rarest class has 6.7% of the rows" in text


def test_large_table_is_not_tried_with_a_forest(draft, rng):
    frame = pd.DataFrame({"a": rng.random(60_000).round(3), "y": rng.integers(0, 2, 60_000)})
    text, config, _ = draft(frame, "y")
    assert config.model.estimator == "auto"
    assert "hist_gradient_boosting" in text
    assert "random_forest" not in text


ODD = [
    "a: b",
    "x # y",
    "- z",
    "yes",
    "null",
    "1e3",
    "'quoted'",
    '"double"',
    "ção",
    "{brace}",
    "[list]",
    "&anchor",
    "*star",
    "100%",
    "!tag",
    "@at",
    "two\nlines",
    "tab\tbed",
    "bell\x07",
    "next\x85line",
    "line\u2028separator",
    "\u202eright to left",
    "mark\ufeff",
    "n" * 200,
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_and_labels_survive_the_yaml(draft, rng, name):
    frame = pd.DataFrame(
        {
            name: rng.random(N),
            f"{name} code": rng.integers(0, 3, N),  # named in types, so the name is a key
            f"{name} id": range(N),
            f"{name} class": [f"{name}!", "plain"] * (N // 2),
        }
    )
    text, config, table = draft(frame, f"{name} class")
    assert list(table.features) == [name, f"{name} code"]
    assert config.data.types == {f"{name} code": "integer"}
    assert config.data.drop == (f"{name} id",)
    assert set(table.classes) == {f"{name}!", "plain"}
    assert all(sign.isprintable() for line in text.split("\n") for sign in line)


@pytest.mark.parametrize(
    "label", ["yes", "no", "on", "NULL", "~", "=", "1e3x", "0x1F", "2026-01-01x", "a: b", "#", "- x", "two\nlines"]
)
def test_label_that_yaml_might_misread_stays_what_it_is(draft, rng, label):
    _, config, table = draft(pd.DataFrame({"a": rng.random(N), "y": ["zz", label] * (N // 2)}), "y", "t.parquet")
    assert set(table.classes) == {"zz", label}
    assert config.data.positive_class in (label, "zz")


def test_blanks_around_names_are_trimmed(draft, rng):
    _, config, table = draft(pd.DataFrame({" a ": rng.random(N), " y": [0, 1] * (N // 2)}), "y")
    assert (list(table.features), config.data.target) == (["a"], "y")


signs = st.characters(codec="utf-8", exclude_categories=["Cs"])
names = st.text(signs, min_size=1, max_size=12).filter(lambda name: name.strip() and not name.startswith("Unnamed: "))
letters = st.characters(codec="utf-8", exclude_categories=["Cs", "N"])
labels = st.text(letters, min_size=1, max_size=12).filter(
    lambda label: label.strip() and label.strip().lower() not in (*PLACEHOLDERS, "inf", "infinity", "true", "false")
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(names, min_size=2, max_size=4, unique_by=str.strip), st.lists(labels, min_size=2, max_size=2, unique=True))
def test_any_names_and_labels_survive(draft, columns, classes):
    rng = np.random.default_rng(0)
    target, *features = [name.strip() for name in columns]
    frame = pd.DataFrame({name: rng.random(N) for name in columns[1:]} | {columns[0]: classes * (N // 2)})
    _, config, table = draft(frame, target, "t.parquet")
    assert config.data.target == target
    assert list(table.features) == features
    assert set(table.classes) == set(classes)


def test_source_is_relative_below_the_configuration_and_absolute_elsewhere(tmp_path, monkeypatch, frame):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "configs").mkdir()
    frame.to_csv(tmp_path / "data" / "t.csv", index=False)
    for folder, expected in ((tmp_path, "data/t.csv"), (tmp_path / "configs", str(tmp_path / "data" / "t.csv"))):
        file = folder / "model.yaml"
        file.write_text(draft_config("data/t.csv", "churned", query=None, folder=folder).text, encoding="utf-8")
        config = read_config(file, root=tmp_path, env={})
        assert config.data.source == expected
        assert len(load_table(config).target) == N


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("My Data (v1.2).csv", "my-data-v1"),
        ("sales", "sales"),
        ("year=*.parquet", "year"),
        ("%%%.csv", "model"),
        ("o'brien.csv", "o-brien"),
    ],
)
def test_model_is_named_after_the_table(tmp_path, monkeypatch, frame, source, name):
    monkeypatch.chdir(tmp_path)
    plain = frame.drop(columns=["limit", "customer_id", "churned_text"])
    if source == "sales":
        (tmp_path / "sales").mkdir()
        plain.to_parquet(tmp_path / "sales" / "1.parquet")
    elif "*" in source:
        plain.to_parquet(tmp_path / "year=2026.parquet")
    else:
        plain.to_csv(tmp_path / source, index=False)
    text = draft_config(source, "churned", query=None, folder=tmp_path).text
    assert f"name: {name} " in text
    assert f"exported_model_dir: artifacts/{name} " in text


def test_sql_source_and_query_are_written(tmp_path, monkeypatch, frame):
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        frame.drop(columns="limit").to_sql("sales", connection, index=False)
    query = "SELECT * FROM sales WHERE plan <> ': #'"
    file = tmp_path / "model.yaml"
    file.write_text(draft_config("sqlite:///shop.db", "churned", query=query, folder=tmp_path).text, encoding="utf-8")
    config = read_config(file, root=tmp_path, env={})
    assert (config.data.source, config.data.query) == ("sqlite:///shop.db", query)
    assert len(load_table(config).target) == N


@pytest.mark.parametrize(
    "source",
    ["postgresql://ana:hunter2@host/db", "postgresql://host/db?password=hunter2"],  # pragma: allowlist secret
)
def test_password_in_the_address_is_refused_before_anything_is_read(tmp_path, source):
    with pytest.raises(ConfigError, match="the file would keep it") as caught:
        draft_config(source, "y", query="SELECT 1", folder=tmp_path)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def run(tmp_path, monkeypatch, frame):
    monkeypatch.chdir(tmp_path)
    frame.to_csv("t.csv", index=False)
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def test_command_writes_the_file_and_says_what_is_next(run):
    done = run("init", "t.csv", "--target", "churned")
    assert done.exit_code == 0
    for words in (
        "read        120 rows, 9 columns of t.csv (text file, commas between the fields)",
        "predicts    churned, one of two classes: no (60 rows), yes (60 rows)",
        "yes is the positive class",
        "            1 category: plan\n",
        "leaves out  customer_id: numbers the rows (120 different values)",
        "missing     'inf' (limit), '-inf' (limit) read as missing",
        "data.types: {stage: category}",
        "data.time: since",
        "wrote model.yaml; every choice stands in it with its reason",
        "next:\n  mlops train model.yaml\n",
    ):
        assert words in done.stdout or words in " ".join(done.stdout.split())
    assert len(done.stdout.splitlines()) <= 25
    assert max(map(len, done.stdout.splitlines())) < 80
    assert run("config", "check", "model.yaml").stdout.endswith("model.yaml: ok\n")
    assert "exported_model_dir: artifacts/t" in run("config", "check", "--show", "model.yaml").stdout


def test_command_without_target_lists_likely_ones(run):
    done = run("init", "t.csv")
    assert done.exit_code == 2
    assert "for example --target 'churned'" in done.stderr
    assert "columns: customer_id, age" in done.stderr
    assert not Path("model.yaml").exists()


def test_command_keeps_an_existing_file_unless_forced(run):
    Path("model.yaml").write_text("mine")
    done = run("init", "t.csv", "--target", "churned")
    assert (done.exit_code, Path("model.yaml").read_text()) == (2, "mine")
    assert "exists already; choose another name with -o, or replace it with --force" in done.stderr
    assert run("init", "t.csv", "--target", "churned", "--force").exit_code == 0
    assert Path("model.yaml").read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.csv", "--target", "y"), "no such file"),
        (("t.csv", "--target", "churn"), "'churn'"),
        (("t.csv", "--target", "churned", "-o", "no/such/folder.yaml"), "no/such"),
    ],
)
def test_command_explains_what_is_wrong(run, arguments, message):
    done = run("init", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize("kind", ["csv", "csv.bz2", "jsonl", "parquet", "feather", "xlsx"])
def test_config_check_looks_at_the_first_rows_of_the_table(run, frame, kind):
    plain = frame[["age", "plan", "churned"]]
    writers = {
        "jsonl": lambda: plain.to_json("p.jsonl", orient="records", lines=True),
        "parquet": lambda: plain.to_parquet("p.parquet"),
    }
    writers |= {"feather": lambda: plain.to_feather("p.feather"), "xlsx": lambda: plain.to_excel("p.xlsx", index=False)}
    writers.get(kind, lambda: plain.to_csv(f"p.{kind}", index=False))()
    settings = f"data:\n  source: p.{kind}\n  target: "
    Path("m.yaml").write_text(f"{settings}churned\n")
    done = run("config", "check", "m.yaml")
    assert done.stdout.startswith(str(Path(f"p.{kind}").resolve()))
    assert done.stdout.splitlines()[0].endswith("has the target 'churned' and 2 other columns")
    for text, message in (("churn", "did you mean 'churned'"), ("churned\n  drop: [ages]", "data.drop: no column 'ages'")):
        Path("m.yaml").write_text(f"{settings}{text}\n")
        done = run("config", "check", "m.yaml")
        assert done.exit_code == 2
        assert message in done.stderr
        assert run("config", "check", "--no-data", "m.yaml").stdout.endswith("m.yaml: ok\n")


def test_config_check_does_not_read_a_large_table_to_its_end(run, monkeypatch):
    monkeypatch.setattr("mlops_project.init.HEAD_ROWS", 50)
    Path("big.csv").write_text("a,churned\n" + "1,2\n" * 300_000 + "1,2,3\n")  # the last line cannot be read
    Path("m.yaml").write_text("data: {source: big.csv, target: churned}")
    assert run("config", "check", "m.yaml").exit_code == 0


def test_config_check_says_what_a_layout_needs_and_runs_no_query(run, frame):
    frame[["age", "plan"]].to_csv("bare.csv", index=False, header=False)
    Path("m.yaml").write_text("data: {source: bare.csv, target: plan}")
    assert "set data.header: false" in run("config", "check", "m.yaml").stderr
    Path("m.yaml").write_text("data: {source: 'sqlite:///none.db', query: SELECT 1, target: y}")
    assert run("config", "check", "m.yaml").stdout.startswith("the query was not run\n")


def test_config_check_lists_every_problem(run):
    Path("bad.yaml").write_text("test_size: 2\nmodel: {estimater: x}\ngates: {require: best}\n")
    done = run("config", "check", "bad.yaml")
    assert done.exit_code == 2
    assert "bad.yaml: 3 problems" in done.stderr
    assert "did you mean 'estimator'" in done.stderr


def test_layout_that_is_found_is_said_and_written_and_loads_as_it_is(run, frame):
    plain = frame[["age", "plan", "churned"]]
    text = plain.to_csv(index=False, sep=";", header=False)
    Path("odd.csv").write_text(f"Report 2026;;\n{text}")
    given = ("--skip-rows", "1", "--names", "age, plan, churned", "--header", "false")
    done = run("init", "odd.csv", "-o", "odd.yaml", "--target", "churned", *given)
    assert done.exit_code == 0, done.stderr
    config = read_config(Path("odd.yaml"), root=Path.cwd(), env={})
    assert (config.data.header, config.data.skip_rows, config.data.names) == (False, 1, ("age", "plan", "churned"))
    assert len(load_table(config).target) == N
    Path("odd.csv").write_text(f"Report 2026;;\nage;plan;churned\n{text}Source: none;;\n")
    done = run("init", "odd.csv", "-o", "odd.yaml", "--force", "--target", "churned")
    said = " ".join(done.stdout.split())
    assert "1 row stands above the header ('Report 2026') and was skipped (skip_rows: 1)" in said
    assert "at the end one holds only a remark; 1 row left out (skip_footer: 1)" in said
    config = read_config(Path("odd.yaml"), root=Path.cwd(), env={})
    assert (config.data.skip_rows, config.data.skip_footer) == (1, 1)
    assert load_table(config).warnings == ()


def test_missing_header_is_said_where_the_target_is_asked_for_and_refused_in_training(run, frame):
    frame[["age", "plan", "churned"]].to_csv("bare.csv", index=False, header=False)
    for arguments in (("bare.csv",), ("bare.csv", "--target", "churned")):
        said = run("init", *arguments).stderr
        assert "the first row looks like data, not like names" in said
        assert "column_2 = " in said
    assert run("init", "bare.csv", "--target", "column_3").exit_code == 0
    text = Path("model.yaml").read_text()
    assert "header: false" in text
    Path("model.yaml").write_text(text.replace("  header: false", "  # header: false"))
    with pytest.raises(
        DataError, match=r"set data\.header: false \(names names them; if the row does hold names: header: true\)"
    ):
        load_table(read_config(Path("model.yaml"), root=Path.cwd(), env={}))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--header", "maybe", "is no row"), ("--skip-rows", "2,x", "is no row"), ("--header", "0", "rows are counted from 1")],
)
def test_option_of_the_layout_that_makes_no_sense_is_refused(run, option, value, message):
    assert message in run("init", "t.csv", "--target", "churned", option, value).stderr


def test_few_whole_numbers_are_classes_unless_the_task_says_otherwise(run):
    done = run("init", "t.csv", "--target", "stage")
    assert "stage: whole numbers taken for classes; if they are amounts: --task" in done.stdout
    assert "task: multiclass" in Path("model.yaml").read_text()
    assert run("init", "t.csv", "--target", "stage", "--task", "regression", "--force").exit_code == 0
    config = read_config(Path("model.yaml"), root=Path.cwd(), env={})
    assert (config.data.task, load_table(config).task) == ("regression", "regression")


@pytest.mark.parametrize("target", ["age", "churned"])
def test_every_comment_stands_beside_a_setting_or_begins_its_line(run, target):
    run("init", "t.csv", "--target", target)
    lines = Path("model.yaml").read_text().splitlines()
    assert not [line for line in lines if line.lstrip().startswith("#") and not line.startswith(("#", "  #"))]


def test_leaks_are_left_out_and_rows_of_one_person_kept_together(run, rng):
    ids = np.repeat(np.arange(60), 5)
    person = rng.normal(size=(60, 2))
    cost = np.exp(person[ids, 0] + rng.normal(0, 0.1, 300)) + 5
    frame = pd.DataFrame({"person_id": ids + 1000, "age": person[ids, 0], "pulse": rng.normal(size=300), "cost": cost})
    frame.assign(log_cost=np.log(cost)).sample(frac=1, random_state=0).to_csv("p.csv", index=False)
    done = run("init", "p.csv", "--target", "cost")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "groups by person_id: " in said
    assert (
        "leaves out log_cost: the target 'cost' rises or falls with column 'log_cost' without exception (300 rows): a leak"
        in said
    )
    config = read_config(Path("model.yaml"), root=Path.cwd(), env={})
    assert (config.data.group, config.data.drop) == ("person_id", ("log_cost",))
    found = judge_table(load_table(config), config).findings  # nothing stops the training
    assert not [finding for finding in found if finding.code in ("repeated-identifier", "leak-monotone")]


def test_rows_without_a_target_are_counted_and_their_word_is_told(run, frame):
    frame.assign(kind=["None" if row % 3 == 0 else "ab"[row % 2] for row in range(N)]).to_csv("n.csv", index=False)
    said = " ".join(run("init", "n.csv", "--target", "kind").stdout.split())
    assert "40 of 120 rows have no 'kind' and are left out (column 'kind': 'None' in 40 rows was read as missing" in said
    assert "data.na_words: false" in said
