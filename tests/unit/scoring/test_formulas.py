import pytest

from mlops_project.scoring.formulas import neutralise


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+A1",
        "-A1",
        "@SUM(A1)",
        " =1",
        "\t1",
        "\r=1",
        "\n=1",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        "=",
        "-",
        "+1+1",
        "-1-1",
        "-2e",
    ],
)
def test_what_a_spreadsheet_would_calculate_gets_an_apostrophe(text):
    assert neutralise(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "abc", "1", "-1", "+1.5", "-2e-3", "-.5", "-1,5", "a=b", "a-b", "'=1", "São Paulo"])
def test_other_texts_and_numbers_stay(text):
    assert neutralise(text) == text
