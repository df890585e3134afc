import io

import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.scoring.files import TableFile
from mlops_project.ui.inputs import make_template
from mlops_project.ui.language import Translate

CONTRACT = Contract(
    task="regression",
    target="y",
    features=(Feature("x", "float", default=0.25), Feature("city", "category", categories=("a; b", "c"), default="a; b")),
)


@pytest.mark.parametrize(("language", "number"), [("en", b"0.25"), ("pt", b"0,25")])
def test_template_is_written_as_the_languages_spreadsheets_read_it_and_read_back(language, number):
    text = make_template(CONTRACT, Translate(language)).encode()
    assert number in text
    (frame,) = TableFile(io.BytesIO(text), CONTRACT).read_chunks()
    pd.testing.assert_frame_equal(frame, pd.DataFrame({"x": [0.25], "city": ["a; b"]}), check_dtype=False)
