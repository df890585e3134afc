"""Spark of this machine, on loopback. It is not among the project's own libraries: ``make test-spark`` installs it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLACE = Path(os.environ.get("SPARK_TOOLS", ROOT / "build/spark-tools"))


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    found = sorted(PLACE.glob("lib/python3*/site-packages/pyspark"))
    if not found:
        pytest.skip(f"PySpark is missing in {PLACE}; make test-spark installs it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(found[0].parent))  # of the workers, too
        patch.syspath_prepend(str(found[0].parent))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        session = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.memory", "512m").getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()
