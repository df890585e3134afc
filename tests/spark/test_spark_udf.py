"""The registered model as a user-defined function of Spark."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import read_config
from mlops_project.score import fetch_model
from mlops_project.train import train

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of PySpark and MLflow
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # PySpark leaves its socket to the JVM
]
ROWS = 400


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.uniform(18, 90, ROWS), "city": rng.choice(["Recife", "Natal", "Olinda"], ROWS)})
    frame["churned"] = np.where((frame["age"] > 50) ^ (frame["city"] == "Natal"), "yes", "no")
    frame.loc[::7, "age"] = np.nan
    return frame


def test_registered_model_predicts_in_spark_as_everywhere(spark, table, tmp_path):
    import mlflow.pyfunc
    from pyspark.sql.functions import struct

    table.to_csv(tmp_path / "customers.csv", index=False)
    (tmp_path / "model.yaml").write_text(
        "model: {name: churn, estimator: decision_tree}\n"
        "data: {source: customers.csv, target: churned}\n"
        "evaluation: {bootstrap_rounds: 0, importance_repeats: 0}\n"
    )
    config = read_config(tmp_path / "model.yaml", root=tmp_path, env={})
    train(config)
    bundle, version = fetch_model("models:/churn/1", config, tmp_path / "fetched")
    assert version == "1"
    rows = table.drop(columns="churned").reset_index(names="id")
    predict = mlflow.pyfunc.spark_udf(spark, str(bundle.path), env_manager="local", result_type="string")
    frame = spark.createDataFrame(rows.astype(object).where(rows.notna(), None), "id long, age double, city string")
    found = frame.repartition(3).withColumn("predicted", predict(struct("age", "city"))).toPandas().sort_values("id")
    expected = mlflow.pyfunc.load_model(str(bundle.path)).predict(rows.drop(columns="id"))
    assert found["predicted"].tolist() == list(expected)
    assert set(found["predicted"]) == {"yes", "no"}
