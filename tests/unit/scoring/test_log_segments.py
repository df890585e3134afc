"""Segments of the prediction log that `mlops score --log` writes."""

import json

import pandas as pd

from mlops_project.scoring.batch import Options, score_table
from mlops_project.scoring.log_segments import LogSegment, LogSettings
from mlops_project.scoring.outputs import MANIFEST_FILE


def test_second_run_has_parts_and_segments_of_its_own(tiny_bundle, tmp_path):
    """In an object store a part of the same name is not sent again, and the ids in it would be those of the first run."""
    pd.DataFrame({"x": [0.1, 0.9]}).to_parquet(tmp_path / "in.parquet")
    names = []
    for _ in range(2):
        options = Options(log_folder=tmp_path / "log")
        score_table(str(tmp_path / "in.parquet"), str(tmp_path / "out"), tiny_bundle, options)
        (part,) = json.loads((tmp_path / "out" / MANIFEST_FILE).read_bytes())["parts"]
        names.append(part["name"])
    assert names[0] != names[1]
    assert len(list((tmp_path / "log").glob("*-score-*"))) == 2


def test_marker_of_a_segment_follows_from_the_secret_the_run_and_the_unit(tiny_contract, tmp_path):
    """A text of a request cannot hold it, so none is taken for a record where the log is damaged."""
    runs = [(b"key", 1, 0), (b"other", 1, 0), (b"key", 2, 0), (b"key", 1, 1)]
    segments = [
        LogSegment(LogSettings(tmp_path, key, "m", run), tiny_contract, "1", "part", index, 0) for key, run, index in runs
    ]
    markers = {segment._marker for segment in segments}
    assert len(markers) == 4
    assert {len(marker) for marker in markers} == {8}
