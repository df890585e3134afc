"""The page about Python: its blocks run as they stand, in order."""

import re
from pathlib import Path

import pytest

from tests.servers import write_mlflow_tables

PAGE = Path(__file__).parents[3] / "docs" / "python.md"


def test_blocks_of_the_page_run_in_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_mlflow_tables(tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.setenv("MLOPS_EVALUATION__IMPORTANCE_REPEATS", "0")
    monkeypatch.setenv("MLOPS_EVALUATION__BOOTSTRAP_ROUNDS", "20")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # a page of our own
    said = capsys.readouterr().out
    assert "churned" in said
    assert "(base)" in said
    assert "\n400\n" in said
    assert names["result"].metrics["accuracy"] == pytest.approx(0.8, abs=0.2)
