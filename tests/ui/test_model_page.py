"""The page Model beyond what training wrote: other thresholds, the rows of a cell, parts of the rows."""

import json
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from mlops_project.bundle import load_bundle
from mlops_project.runtime import Runtime
from mlops_project.ui import clock
from tests.ui.application import find_button, find_numbers, open_page, press, read_words


def open_section(app, name: str):
    open_page(app, "model")
    app.button_group(key="section").set_value(name).run()
    assert not app.exception
    return app


def find_select(app, beginning: str):
    return next(item for item in app.selectbox if str(item.key).startswith(beginning))


def answer_reference() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Reference rows, probability of the positive class, truth as a class index."""
    bundle = load_bundle("artifacts/model")
    rows = pd.read_parquet(bundle.path / "reference.parquet")
    found = Runtime.load(bundle).predict({name: rows[name].to_numpy() for name in bundle.contract.names})
    return rows, found.probabilities[:, 1], (rows[bundle.contract.target] == bundle.contract.classes[1]).to_numpy()


def test_another_threshold_changes_matrix_and_metrics_on_the_page_and_nothing_else(start, default_project):
    app = open_section(start(default_project), "decisions")
    before = load_bundle("artifacts/model").digest
    app.slider[0].set_value(0.995).run()
    next(item for item in app.number_input if "wrong" in item.label).set_value(7.0).run()
    _, scores, truth = answer_reference()
    said = scores >= 0.995
    table = app.dataframe[0].value.set_index("Metric")
    assert float(table.loc["recall", "this one"]) == float(f"{(said & truth).sum() / truth.sum():.4g}")
    cost = (7 * (said & ~truth).sum() + (~said & truth).sum()) / len(truth)
    assert float(table.loc["expected cost", "this one"]) == float(f"{cost:.4g}")
    missed = next(item for item in find_select(app, "cell/").options if item.startswith("actual benign, predicted malignant"))
    assert missed.endswith(f": {(~said & truth).sum()}")
    codes = "\n".join(item.value for item in app.code)
    assert "threshold: 0.995" in codes
    assert "cost: {false_positive: 7, false_negative: 1}" in codes
    assert load_bundle("artifacts/model").digest == before


def test_rows_of_a_cell_open_on_the_page_predict(start, default_project):
    app = open_section(start(default_project), "quality")
    cells = find_select(app, "cell/")
    assert re.match(r"actual (\w+), predicted (?!\1)", cells.options[0])  # wrong ones first
    cells.set_value((1, 1)).run()
    rows, scores, truth = answer_reference()
    own = np.flatnonzero(truth & (scores > 0.5))
    table = next(item.value for item in app.dataframe if "#" in item.value.columns)
    assert set(table["#"] - 1) == set(own)
    shown = table["#"].iloc[0]
    button = find_button(app, f"Open row {shown} on the page Predict")
    button.click().run()
    assert not app.exception
    assert app.title[0].value == "Predict"
    contract = load_bundle("artifacts/model").contract
    assert [float(item.value) for item in find_numbers(app)] == rows[list(contract.names)].iloc[shown - 1].tolist()
    open_page(app, "predict")
    assert press(app, "Predict").metric[0].value == "benign"


def test_parts_have_the_metrics_of_their_rows(start, mixed_project):
    app = open_section(start(mixed_project), "parts")
    assert "decisions" not in str(app.button_group(key="section").options).lower()  # three classes have no one threshold
    find_select(app, "part/").set_value("city").run()
    find_select(app, "part metric/").set_value("accuracy").run()
    bundle = load_bundle("artifacts/model")
    rows = pd.read_parquet(bundle.path / "reference.parquet")
    found = Runtime.load(bundle).predict({name: rows[name].to_numpy() for name in bundle.contract.names})
    right = np.array(bundle.contract.classes, object)[found.indices] == rows[bundle.contract.target].to_numpy()
    table = app.dataframe[0].value.set_index("Part")
    for city, part in pd.Series(right).groupby(rows["city"].to_numpy()):
        assert table.loc[city, "Rows"] == len(part)
        assert float(table.loc[city, "accuracy"]) == float(f"{part.mean():.4g}")
        assert (table.loc[city, "Few rows"] == "yes") == (len(part) < 30)


def test_quality_tells_coverage_and_what_training_found(start, default_project):
    words = read_words(open_section(start(default_project), "quality"))
    metadata = load_bundle("artifacts/model").metadata
    assert f"{metadata.uncertainty.checked.coverage:.1%}" in words
    assert all(f"`{finding.code}`" in words for finding in metadata.findings)


def test_times_are_told_by_the_visitors_clock_as_well(start, default_project, monkeypatch):
    monkeypatch.setattr(clock, "find_zone", lambda: ZoneInfo("America/Recife"))
    app = open_section(start(default_project), "data")
    made = datetime.fromisoformat(load_bundle("artifacts/model").metadata.created_at)
    local = f"{made.astimezone(ZoneInfo('America/Recife')):%H:%M}"
    assert "Local time" in app.table[0].value.index
    assert f" {local}" in app.table[0].value.loc["Local time", "Value"]
    assert re.search(rf"UTC \((\S+ )?{local}.* here\)", read_words(app))


def test_features_show_every_rows_contributions_and_how_answers_follow_a_column(start, mixed_project):
    app = open_section(start(mixed_project), "features")
    charts = [json.loads(chart.proto.spec)["description"] for chart in app.get("vega_lite_chart")]
    names = load_bundle("artifacts/model").contract.names
    swarm = next(text for text in charts if "moves the probability of" in text)
    assert sum(name in swarm for name in names) >= 5
    column = find_select(app, "summary column/")
    assert len(column.options) >= 2
    for name in column.options:
        column.set_value(name).run()
        assert not app.exception
