import json
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from mlops_project.bundle import Bundle
from mlops_project.config import read_config
from mlops_project.errors import DataError
from mlops_project.monitoring.results import Alert, Reason
from mlops_project.prediction_log.reader import Labels
from mlops_project.retraining.labelled import read_labelled
from tests.evaluations import make_drift, make_evaluation, make_feature

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "tiny.yaml").write_text("data: {source: tiny.csv, target: y}\nmodel: {name: tiny}\n")
    return read_config(tmp_path / "tiny.yaml", root=tmp_path, env={})


class Log:
    """Labelled predictions in memory, asked as the prediction log's reader is."""

    def __init__(self, labels: list[object]) -> None:
        self.labels = labels

    def newest_labelled(self, model, version, n_rows, *, since, witnesses):
        assert (model, version, witnesses) == ("tiny", None, True)
        n_rows = len(self.labels)
        times = [NOW + timedelta(seconds=number) for number in range(n_rows)]
        return pa.table(
            {
                "mlops.id": [str(number) for number in range(n_rows)],
                "mlops.row": np.zeros(n_rows, np.int32),
                "mlops.time": pa.array(times, pa.timestamp("us", "UTC")),
                "x": np.linspace(0, 1, n_rows),
                "mlops.label": [json.dumps(label) for label in self.labels],
            }
        )

    def describe_labels(self, labelled, model, version):
        return Labels(labelled.num_rows)


def test_few_labels_that_are_no_class_are_left_out(config, tiny_bundle):
    rows = read_labelled(config, tiny_bundle, NOW, Log(["no", "yes"] * 99 + ["maybe"])).rows
    assert len(rows) == 198
    assert rows.target.value_counts().to_dict() == {"no": 99, "yes": 99}


def test_many_labels_that_are_no_class_stop_the_retraining(config, tiny_bundle):
    with pytest.raises(DataError, match=r"2 of 100 labels are none that version and table know, such as .*maybe"):
        read_labelled(config, tiny_bundle, NOW, Log(["no", "yes"] * 49 + ["maybe"] * 2))


def test_values_that_are_no_number_are_no_labels_of_a_regression(config, tiny_bundle):
    contract = msgspec.structs.replace(tiny_bundle.contract, task="regression", classes=(), class_names=())
    metadata = msgspec.structs.replace(tiny_bundle.metadata, contract=contract)
    bundle = Bundle(tiny_bundle.path, metadata, tiny_bundle.digest)
    rows = read_labelled(config, bundle, NOW, Log([1.5] * 150 + ["x"])).rows
    assert rows.target.tolist() == [1.5] * 150


def test_log_without_labels_gives_no_rows(config, tiny_bundle):
    assert len(read_labelled(config, tiny_bundle, NOW, Log([])).rows) == 0


class World(Log):
    """The same, with columns of one's own."""

    def __init__(self, **columns: object) -> None:
        super().__init__(["no", "yes"] * 50)
        self.columns = columns

    def newest_labelled(self, model, version, n_rows, **options):
        table = super().newest_labelled(model, version, n_rows, **options)
        for known_as, values in self.columns.items():
            name = known_as.replace("_", ".", 1)
            table = table.drop_columns(name) if name in table.column_names else table
            table = table.append_column(name, pa.array(values))
        return table


def test_rows_of_another_schema_are_left_out_and_said(config, tiny_bundle):
    versions = ["1"] * 70 + ["2"] * 30
    log = World(mlops_version=versions, x=[0.5] * 70 + [None] * 30)
    found = read_labelled(config, tiny_bundle, NOW, log)
    assert len(found.rows) == 70
    assert found.notes == ("30 rows of version 2 are left out: it has another schema (no column 'x')",)
    texts = World(mlops_version=versions, x=["0.5"] * 70 + ["half"] * 30)
    found = read_labelled(config, tiny_bundle, NOW, texts)
    assert found.rows.features["x"].tolist() == [0.5] * 70
    assert found.notes == ("30 rows of version 2 are left out: it has another schema (texts in 'x')",)


def test_labels_about_which_sources_disagree_are_left_out_and_said(config, tiny_bundle):
    found = read_labelled(config, tiny_bundle, NOW, World(mlops_label_disputed=[True] * 7 + [None] * 93))
    assert len(found.rows) == 93
    assert found.notes == ("7 rows are left out because two sources say different labels",)


def test_rows_of_windows_with_faulty_data_are_left_out_and_said(config, tiny_bundle):
    alert = Alert(name="data-quality", windows=1, firing=False, since="", reason="")
    feature = msgspec.structs.replace(make_feature("x"), faults=(Reason(kind="missing"),))
    window = make_evaluation(drift=make_drift((feature,)), alerts=(alert,))
    window = msgspec.structs.replace(
        window, start=(NOW - timedelta(hours=1)).isoformat(), end=(NOW + timedelta(seconds=40)).isoformat()
    )
    found = read_labelled(config, tiny_bundle, NOW, Log(["no", "yes"] * 50), [window])
    assert len(found.rows) == 60
    assert found.notes == ("40 rows of windows with faulty data are left out",)


def test_rows_too_young_for_labels_that_come_late_are_left_out(config, tiny_bundle):
    rng = np.random.default_rng(0)
    hours = np.sort(rng.random(1500) * 100)
    late = rng.random(1500) < 0.4
    came = hours + np.where(late, 24.0, 1.0) * rng.gamma(20, 1 / 20, 1500)
    known = came <= 100

    class Delayed(Log):
        def newest_labelled(self, *arguments, **options):
            table = super().newest_labelled(*arguments, **options)
            for name, values in (("mlops.time", hours), ("mlops.label_time", came)):
                times = pa.array([NOW + timedelta(hours=hour) for hour in values[known]], pa.timestamp("us", "UTC"))
                table = table.drop_columns(name) if name in table.column_names else table
                table = table.append_column(name, times)
            return table

    found = read_labelled(config, tiny_bundle, NOW, Delayed(["yes" if item else "no" for item in late[known]]))
    (note,) = found.notes
    assert "are left out: labels of 'yes' take so long, those of 'no' " in note
    assert len(found.rows) < 0.75 * known.sum()
    assert (found.rows.target == "yes").mean() == pytest.approx(0.4, abs=0.05)
