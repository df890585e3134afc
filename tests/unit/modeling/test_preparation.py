"""``model.preprocessing``: settings of groups and columns become blocks, are exported exactly, or are refused with the cure."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, PowerTransformer, StandardScaler

from mlops_project.config import Config, build_config
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.export.preprocessing import is_built_here
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline

FEATURES = (
    Feature("income", "float", nullable=True),
    Feature("zone", "integer"),
    Feature("member", "boolean"),
    Feature("seen", "datetime", nullable=True),
    Feature("town", "category", nullable=True, categories=("north", "south")),
    Feature("shop", "category", categories=tuple(f"s{number}" for number in range(8))),
)
CONTRACT = Contract(FEATURES, "y", "binary", ("no", "yes"), ("no", "yes"))


def configure(tmp_path, preprocessing, **model) -> Config:
    settings = {"model": {"estimator": "logistic_regression", "preprocessing": preprocessing} | model}
    return build_config(settings, tmp_path / "model.yaml", root=tmp_path, env={})


def draw(n_rows=200):
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"income": rng.exponential(1000, n_rows).round(2), "zone": rng.integers(0, 4, n_rows)})
    rows["member"] = rng.random(n_rows) < 0.5
    rows["seen"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 9000, n_rows), unit="h")
    rows["town"], rows["shop"] = rng.choice(["north", "south"], n_rows), [f"s{place}" for place in rng.integers(0, 8, n_rows)]
    target = np.where(np.log(rows["income"]) + (rows["zone"] == 2) + rng.normal(0, 1, n_rows) > 6.5, "yes", "no")
    gaps = rng.random((n_rows, 3)) < 0.1
    for place, name in enumerate(("income", "seen", "town")):
        rows[name] = rows[name].mask(gaps[:, place])
    rows = rows.astype({"seen": "datetime64[us]", "town": "str", "shop": "str"})
    return rows, pd.Series(target, name="y")


def fit(config, contract=CONTRACT):
    rows, target = draw()
    return rows, fit_pipeline(build_pipeline(contract, config), rows[list(contract.names)], target)


def test_columns_with_the_same_settings_share_a_block(tmp_path):
    config = configure(tmp_path, {"columns": {"income": {"scale": "power"}, "zone": {"encode": "onehot"}}})
    _, pipeline = fit(config)
    blocks = {name: (step, columns) for name, step, columns in pipeline["features"].transformers_}
    assert {name: columns for name, (_, columns) in blocks.items()} == {
        "numbers": ["income"],
        "numbers_2": ["zone"],
        "numbers_3": ["member"],
        "dates": ["seen"],
        "texts": ["town", "shop"],
    }
    assert isinstance(blocks["numbers"][0]["scaler"], PowerTransformer)
    assert isinstance(blocks["numbers_2"][0]["encoder"], OneHotEncoder)
    assert isinstance(blocks["numbers_3"][0]["scaler"], StandardScaler)


def test_column_has_the_settings_of_its_group_where_it_has_none(tmp_path):
    given = {"numbers": {"scale": "minmax", "impute": "mean"}, "columns": {"income": {"fill": 0}}}
    _, pipeline = fit(configure(tmp_path, given))
    blocks = {columns[0]: step for _, step, columns in pipeline["features"].transformers_}
    assert [type(blocks[name]["scaler"]) for name in ("income", "zone")] == [MinMaxScaler, MinMaxScaler]
    assert blocks["income"]["imputer"].statistics_.tolist() == [0.0]
    assert blocks["zone"]["imputer"].strategy == "mean"


SETTINGS = {
    "nothing said": {},
    "minmax": {"numbers": {"scale": "minmax"}, "dates": {"scale": "maxabs"}},
    "robust": {"numbers": {"scale": "robust", "impute": "most_frequent"}, "dates": {"impute": "mean"}},
    "quantile": {"numbers": {"scale": "quantile"}, "dates": {"scale": "normal"}},
    "power": {"columns": {"income": {"scale": "power"}}},
    "raw": {"numbers": {"scale": "none"}, "texts": {"encode": "ordinal"}},
    "codes": {"columns": {"zone": {"encode": "onehot"}, "income": {"encode": "bins"}, "member": {"encode": "bins"}}},
    "filled": {"columns": {"income": {"fill": -1, "indicator": True}, "town": {"fill": "nowhere"}}},
    "indicators": {"numbers": {"indicator": True}, "dates": {"indicator": True}, "texts": {"impute": "most_frequent"}},
    "mixed encodings": {"texts": {"encode": "ordinal"}, "columns": {"shop": {"encode": "target"}}},
}


@pytest.mark.parametrize("estimator", ["logistic_regression", "hist_gradient_boosting"])
@pytest.mark.parametrize("given", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_is_exported_exactly(tmp_path, given, estimator):
    params = {"max_iter": 5} if estimator == "hist_gradient_boosting" else {}
    rows, pipeline = fit(configure(tmp_path, given, estimator=estimator, params=params))
    runtime = load_exported(export_onnx(pipeline, CONTRACT), CONTRACT)
    assert check_parity(pipeline, runtime, rows).rows > len(rows)


def test_pipeline_without_settings_is_built_and_exported_as_before(tmp_path):
    _, pipeline = fit(configure(tmp_path, {}))
    assert [name for name, *_ in pipeline["features"].transformers_] == ["numbers", "dates", "texts"]
    assert is_built_here(pipeline, CONTRACT)
    _, other = fit(configure(tmp_path, {"columns": {"town": {"encode": "ordinal"}}}))
    assert not is_built_here(other, CONTRACT)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"columns": {"incom": {"scale": "power"}}}, "no such column; did you mean 'income'"),
        ({"columns": {"town": {"scale": "power"}}}, "'town': texts have no scale"),
        ({"texts": {"impute": "mean"}}, "'town': texts have no mean; impute: most_frequent, or fill"),
        ({"texts": {"indicator": True}}, "'town': being missing is a value of a text already"),
        ({"columns": {"income": {"fill": "none"}}}, "'income': fill: 'none' is no number"),
        ({"columns": {"town": {"fill": 3}}}, "'town': fill: 3.0 is no text"),
        ({"columns": {"income": {"encode": "target"}}}, "'income': encode: target is not for a number; use onehot or bins"),
        ({"dates": {"encode": "bins"}}, "'seen': encode: bins is not for a date; leave it out"),
        ({"columns": {"shop": {"encode": "target", "fill": "x"}}}, "'shop': encode: target gives missing texts a mean"),
        ({"columns": {"income": {"impute": "none"}}}, "'income': impute: none, and the estimator takes no missing values"),
    ],
)
def test_setting_that_does_not_fit_its_column_is_refused_with_the_cure(tmp_path, given, said):
    with pytest.raises(ConfigError, match=said):
        build_pipeline(CONTRACT, configure(tmp_path, given))


def test_misspelled_settings_are_named_with_their_place(tmp_path):
    given = {"numbers": {"scael": "minmax"}, "columns": {"age": {"impute": "meen"}}}
    with pytest.raises(ConfigError) as error:
        configure(tmp_path, given)
    assert "model.preprocessing.numbers.scael: unknown key; did you mean 'scale'?" in str(error.value)
    assert "model.preprocessing.columns.age.impute: 'meen' is wrong" in str(error.value)


def test_column_that_is_read_by_its_words_takes_no_settings(tmp_path):
    config = build_config(
        {
            "data": {"text": ["town"]},
            "model": {"estimator": "logistic_regression", "preprocessing": {"columns": {"town": {"encode": "onehot"}}}},
        },
        tmp_path / "model.yaml",
        root=tmp_path,
        env={},
    )
    with pytest.raises(ConfigError, match=r"data\.text reads it by its words"):
        build_pipeline(CONTRACT, config)


def test_settings_go_through_the_file_and_back(tmp_path):
    config = configure(tmp_path, {"numbers": {"scale": "minmax"}, "columns": {"income": {"fill": 0, "indicator": True}}})
    again = build_config(config.to_dict(), tmp_path / "model.yaml", root=tmp_path, env={})
    assert again.model == config.model
