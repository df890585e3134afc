"""Steps that keep frames of pandas, as encoders of categories do, are stored and come back alike."""

import pandas as pd
import pytest

from mlops_project.errors import BundleError
from mlops_project.python_engine.pipeline import dump_pipeline, load_pipeline
from mlops_project.python_engine.trusted import find_strangers

FRAME = pd.DataFrame(
    {
        "number": [1, 2],
        "text": ["x", None],
        "kind": pd.Categorical(["u", None], ["v", "u"], ordered=True),
        "when": pd.to_datetime(["2024-01-01 10:00:01", None]),
        "took": pd.to_timedelta([None, "3h"]),
        "gap": [1.5, None],
        "count": pd.array([1, None], dtype="Int64"),
        "said": [True, False],
        "mixed": pd.Series(["a", 2.5], dtype=object),
    },
    index=pd.Index(["i", "j"], name="row"),
)


def test_frames_columns_and_types_come_back_alike_and_need_no_trust():
    kept = {"frame": FRAME, "twice": FRAME[["number", "number"]], "column": FRAME["text"], "index": pd.RangeIndex(3, name="n")}
    types = [pd.CategoricalDtype(["b", "a"], ordered=True), pd.StringDtype(), FRAME["when"].dtype, FRAME["count"].dtype]
    data, named = dump_pipeline(kept | {"types": types})
    assert not find_strangers(named, ())
    found = load_pipeline(data, ())
    pd.testing.assert_frame_equal(found["frame"], FRAME)
    pd.testing.assert_frame_equal(found["twice"], kept["twice"])
    pd.testing.assert_series_equal(found["column"], kept["column"])
    pd.testing.assert_index_equal(found["index"], pd.Index([0, 1, 2], name="n"))
    assert found["types"] == types


def test_index_of_several_levels_is_refused_with_the_cure():
    with pytest.raises(BundleError, match=r"an index of several levels; reset_index\(\)"):
        dump_pipeline(FRAME.set_index(["number", "text"]))
