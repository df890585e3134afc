import datetime as dt
import decimal

import numpy as np
import pandas as pd
import pytest

from mlops_project.contract import Reading
from mlops_project.errors import DataError
from mlops_project.tables.missing import Options, mark_missing
from mlops_project.tables.types import StrayValuesError, convert_column


def convert(values, wanted=None, dtype=None, max_categories=50):
    return convert_column(pd.Series(values, name="col", dtype=dtype), wanted, max_categories)


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "result"),
    [
        ([1, 2, 3], None, "integer", [1, 2, 3]),
        ([1, None, 3], "Int64", "integer", [1.0, np.nan, 3.0]),
        ([0.5, 1.0], None, "float", [0.5, 1.0]),
        ([0.5, None], "float32", "float", [0.5, np.nan]),
        ([True, False], None, "boolean", [True, False]),
        ([True, None], "boolean", "boolean", [1.0, np.nan]),
        ([True, None, False], object, "boolean", [1.0, np.nan, 0.0]),
        (["true", "False", "TRUE"], None, "boolean", [True, False, True]),
        (["1", "2", " 3 "], None, "integer", [1, 2, 3]),
        (["1", "2.5", ""], None, "float", [1.0, 2.5, np.nan]),
        (["1e3", "2"], None, "float", [1000.0, 2.0]),
        ([decimal.Decimal("1.5"), None], object, "float", [1.5, np.nan]),
        (["a", "b", " "], None, "category", ["a", "b", np.nan]),
        (["a", None], object, "category", ["a", np.nan]),
        (pd.Categorical([1, 2, None]), None, "integer", [1.0, 2.0, np.nan]),
        (pd.Categorical(["x", "y"]), None, "category", ["x", "y"]),
        ([str(2**70), "10"], "string", "category", [str(2**70), "10"]),
        ([2**70, 1], object, "category", [str(2**70), "1"]),  # beyond int64: a code, no quantity
        ([2**63, 2**63 + 1], "uint64", "category", [str(2**63), str(2**63 + 1)]),
        ([2**63 - 1, 1], "uint64", "integer", [2**63 - 1, 1]),
        (["123456789012345678901", "223456789012345678901"], None, "category", None),
        (["01", "02"], None, "category", ["01", "02"]),
    ],
)
def test_type_is_guessed_and_values_take_its_representation(values, dtype, kind, result):
    typed = convert(values, dtype=dtype)
    assert typed.type == kind
    assert typed.warning is None
    if result is not None:
        expected = pd.Series(result, name="col")
        pd.testing.assert_series_equal(typed.values, expected, check_dtype=False)
    allowed = {"integer": "if", "float": "f", "boolean": "bf", "datetime": "M"}
    assert typed.values.dtype.kind in allowed.get(typed.type, "O") or typed.values.dtype == "str"


@pytest.mark.parametrize(
    "values",
    [
        ["2026-01-02", "2026-01-03T10:00:00", "2026-01-03T10:00:00+02:00", None],
        [dt.date(2026, 1, 2), dt.date(2026, 1, 3)],
        pd.to_datetime(["2026-01-02", None]),
        pd.to_datetime(["2026-01-02T12:00"]).tz_localize("America/Sao_Paulo"),
    ],
)
def test_dates_become_utc_microseconds(values):
    typed = convert(values)
    assert typed.type == "datetime"
    assert str(typed.values.dtype) == "datetime64[us]"


def test_time_zone_is_converted_not_dropped():
    typed = convert(["2026-01-03T10:00:00+02:00"])
    assert typed.values.iloc[0] == pd.Timestamp("2026-01-03T08:00:00")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["01/02/2026", "03/02/2026"], "can be read as %d/%m/%Y and as %m/%d/%Y; set data.dates"),
        (["01/02/26", "03/02/26"], "can be read as %d/%m/%y and as %m/%d/%y; set data.dates"),
        (["1,200", "13,400", "900"], "can be read as 1200 and as 1.2; set data.decimal"),
        (["1.200 €", "13.400 €"], "can be read as 1.2 and as 1200; set data.decimal"),
    ],
)
def test_texts_that_could_be_read_in_two_ways_stay_text_and_name_the_setting(values, said):
    typed = convert(values)
    assert (typed.type, typed.warning) == ("category", f"column 'col' counts as text: its values {said}")


def test_months_without_a_day_stay_text():
    assert convert(["Jan 2026", "Feb 2026"]).type == "category"


def test_many_texts_are_a_string_column():
    values = [f"text {number}" for number in range(60)]
    assert convert(values).type == "string"
    assert convert(values, max_categories=100).type == "category"


def test_placeholders_among_numbers_are_missing_and_told():
    typed = convert(["1", "2", "?", "N/A", "3"] * 4)
    assert typed.type == "integer"
    assert int(typed.values.isna().sum()) == 8
    assert typed.warning == "column 'col': '?', 'N/A' in 8 rows was read as missing"


@pytest.mark.parametrize(
    ("values", "kind", "first", "reading"),
    [
        (["1,200", "13,400", "1,234,567", "900"], "integer", 1200, {"thousands": ","}),
        (["1.234,5", "2.345,25"], "float", 1234.5, {"thousands": ".", "decimal": ","}),
        (["0,5", "1,25"], "float", 0.5, {"decimal": ","}),
        (["1 200", "13 400,50"], "float", 1200, {"thousands": " ", "decimal": ","}),
        (["1\u202f200", "13\u202f400"], "integer", 1200, {"thousands": " "}),
        (["$5.50", "-$3.00", "$1,200.00"], "float", 5.5, {"thousands": ",", "currency": "$"}),
        (["R$ 5,50", "R$ 1.200,00"], "float", 5.5, {"thousands": ".", "decimal": ",", "currency": "R$"}),
        (["12 €", "9,50€"], "float", 12, {"decimal": ",", "currency": "€"}),
        (["12%", "9.5 %", "-3%"], "float", 0.12, {"percent": True}),
        (["(120)", "(3.5)"], "float", -120, {}),
        (["2012/01/31", "2012/02/01"], "datetime", "2012-01-31", {"formats": ("%Y/%m/%d",)}),
        (["31.01.2026", "1.2.2026 10:30"], "datetime", "2026-01-31", {"formats": ("%d.%m.%Y", "%d.%m.%Y %H:%M")}),
        (["01/31/26", "02/01/26"], "datetime", "2026-01-31", {"formats": ("%m/%d/%y",)}),
        (["Nov 03, 2024", "December 12, 2024"], "datetime", "2024-11-03", {"formats": ("%b %d, %Y",)}),
        (["3-Nov-24", "12-Dec-24"], "datetime", "2024-11-03", {"formats": ("%d-%b-%y",)}),
        (["03:15 PM", "12:00 am"], "float", 15.25, {"formats": ("%I:%M %p",)}),
        (["15:30", "23:59"], "float", 15.5, {"formats": ("%H:%M",)}),
    ],
)
def test_numbers_and_dates_written_for_people_are_read_where_one_reading_fits_all(values, kind, first, reading):
    typed = convert([*values, "n/a", " "])
    assert typed.type == kind
    assert typed.values.iloc[0] == (pd.Timestamp(first) if kind == "datetime" else first)
    assert typed.values.isna().tolist() == [False] * len(values) + [True, True]
    assert typed.reading == Reading(is_written=True, **reading)
    assert f"column 'col': texts were read as {'dates' if kind == 'datetime' else ''}" in typed.warning
    assert "'n/a' in 1 rows was read as missing" in typed.warning
    assert convert(values, "category").type == "category"
    assert convert(values, "category").warning is None  # ordered, so it is meant


def test_the_files_decimal_sign_decides_between_two_readings():
    values = pd.Series(["1,200", "13,400"], name="col")
    assert convert_column(values, None, 50, Options(True, decimal=".")).values.tolist() == [1200, 13400]
    assert convert_column(values, None, 50, Options(True, decimal=",")).values.tolist() == [1.2, 13.4]


def test_format_of_the_settings_is_obeyed():
    values, options = pd.Series(["01/02/2026", "31/02/2026"], name="col"), Options(dates={"col": "%d/%m/%Y"})
    with pytest.raises(DataError, match=r"1 values are not of type datetime written as %d/%m/%Y: '31/02/2026' \(row 2\)"):
        convert_column(values, None, 50, options)
    assert convert_column(values[:1], None, 50, options).values.tolist() == [pd.Timestamp("2026-02-01")]
    with pytest.raises(DataError, match=r"data\.dates: 'col': '%d/%Q': %Q is not known"):
        convert_column(values, None, 50, Options(dates={"col": "%d/%Q"}))


@pytest.mark.parametrize(
    ("values", "noun", "shown"),
    [
        (["$5.50", "€3.00"] * 5, "numbers", "$5.50"),
        (["12%", "12"], "numbers", "12%"),
        (["Jan 1 2000", "February 2, 2000"], "dates", "Jan 1 2000"),
        (["31.01.2026", "1/2/2026"], "dates", "31.01.2026"),
    ],
)
def test_what_only_looks_like_numbers_or_dates_is_text_and_told(values, noun, shown):
    typed = convert(values)
    assert typed.type == "category"
    assert typed.warning.startswith(
        f"column 'col' has texts that look like {noun}, such as {shown!r}, and counts as text; write"
    )


@pytest.mark.parametrize(
    "values",
    [
        ["01234", "00999"],
        ["1.2.3", "1.10.0"],
        ["10-20", "20-30"],
        ["<5", ">=5"],
        ["A1", "B2"],
        ["march hare", "may fly"],
        ["4x4", "6 cyl"],
        ["2-door", "4-door"],
        ["123456789012345678901", "223456789012345678901"],
        ["red", "$5", "12%", "blue"],
        ["-", "?"],
        [None, "x"],
    ],
)
def test_codes_and_words_are_plain_text(values):
    typed = convert(values)
    assert (typed.type, typed.warning) == ("category", None)


def test_placeholders_among_texts_are_texts():
    assert convert(["red", "unknown", "none"]).values.tolist() == ["red", "unknown", "none"]


def test_stray_texts_among_numbers_are_refused_with_their_rows_and_the_cure():
    with pytest.raises(StrayValuesError) as caught:
        convert([str(number) for number in range(40)] + ["abc", "12x"])
    message = str(caught.value)
    assert message.startswith("column 'col' holds numbers, but 2 of its values are not: 'abc' (row 41), '12x' (row 42)")
    assert "data.types: {col: category}" in message
    assert "data.missing: ['abc', '12x']" in message
    assert caught.value.values == ("abc", "12x")


def test_stray_texts_among_dates_are_refused():
    days = [f"2026-01-{day:02d}" for day in range(1, 29)]
    with pytest.raises(StrayValuesError, match=r"holds dates, but 1 of its values are not: 'soon' \(row 29\)"):
        convert([*days, "soon"])


@pytest.mark.parametrize(
    ("values", "wanted", "message"),
    [
        (["a", "b"], "float", r"column 'col': 2 values are not of type float: 'a' \(row 1\), 'b' \(row 2\)"),
        ([0.5, 1.0], "integer", r"1 values are not whole numbers: '0.5' \(row 1\); use type float"),
        ([0, 1, 2], "boolean", r"1 values are neither true nor false: '2' \(row 3\)"),
        ([1, 2], "datetime", "numbers are no dates"),
        (["2026-01-01", "soon"], "datetime", r"1 values are not dates such as 2026-11-23T10:00: 'soon' \(row 2\)"),
        (pd.to_datetime(["2026-01-01"]), "float", "holds dates, not values of type float"),
        ([[1, 2], [3]], None, "holds values of type list; spread them over columns, or drop it"),
        ([{"a": 1}], None, "holds values of type dict"),
        ([b"x", b"y"], None, "holds values of type bytes"),
        ([1 + 2j], None, "is complex128; turn it into a number, or drop it"),
        (pd.to_timedelta(["1h"]), None, "turn it into a number, or drop it"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, wanted, message):
    with pytest.raises(DataError, match=message):
        convert(values, wanted)


@pytest.mark.parametrize(
    ("values", "wanted", "result"),
    [
        ([1, 0, 1], "boolean", [True, False, True]),
        (["yes", "No", "y"], "boolean", [True, False, True]),
        ([1.0, 2.0, None], "category", ["1", "2", np.nan]),
        ([1.5, 2.0], "category", ["1.5", "2.0"]),
        ([1.0, 2.0], "integer", [1, 2]),
        ([3, 4], "float", [3.0, 4.0]),
        ([True, False], "category", ["True", "False"]),
    ],
)
def test_wanted_type_is_taken(values, wanted, result):
    typed = convert(values, wanted)
    assert typed.type == wanted
    pd.testing.assert_series_equal(typed.values, pd.Series(result, name="col"), check_dtype=False)


@pytest.mark.parametrize(
    ("values", "marks", "expected"),
    [
        ([1, -999, 3], [-999], [False, True, False]),
        ([1.0, -999.0, np.inf], [-999, "inf"], [False, True, True]),
        (["a", "Not Stated", " x "], ["not stated", "X"], [False, True, True]),
        ([True, False], [1], [False, False]),
        (["a", "b"], [], [False, False]),
    ],
)
def test_marks_become_missing(values, marks, expected):
    assert mark_missing(pd.Series(values), marks).isna().tolist() == expected


@pytest.mark.parametrize(
    ("values", "options", "kind", "result", "said"),
    [
        (["DE", "NA", "None"], Options(True), "category", ["DE", None, None], "'NA', 'None' in 2 rows was read as missing; if"),
        (["DE", "NA", "None"], Options(True, False), "category", ["DE", "NA", "None"], None),
        (["DE", "NA", "None"], Options(True, ("None",)), "category", ["DE", "NA", None], None),
        (["DE", "NA", "None"], Options(False), "category", ["DE", "NA", "None"], None),  # a source with types of its own
        (["1", "NA", "-1.#IND"], Options(True, False), "integer", [1, None, None], None),  # no number in any reading
        (["1.5", "absent"], Options(True, ("absent",)), "float", [1.5, None], None),
        (["2026-01-01", "<NA>"], Options(True), "datetime", ["2026-01-01", None], None),
        (["true", "NA"], Options(True), "boolean", [1, None], None),
    ],
)
def test_words_for_a_missing_value_are_what_the_settings_say(values, options, kind, result, said):
    typed = convert_column(pd.Series(values, name="col", dtype="string"), None, 50, options)
    assert typed.type == kind
    expected = pd.to_datetime(pd.Series(result)) if kind == "datetime" else pd.Series(result)
    assert typed.values.isna().tolist() == expected.isna().tolist()
    assert typed.values.dropna().tolist() == expected.dropna().tolist()
    assert said is None or said in str(typed.warning)
    assert said is not None or typed.warning is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["5.0", "?", "-999.0"], [5.0, None, None]), (["5,25", "1,5", "-999,0"], [5.25, 1.5, None])],
)
def test_marks_are_found_however_the_number_is_written_as_in_a_request(values, expected):
    typed = convert_column(pd.Series(values, name="col", dtype="string"), None, 50, Options(True, missing=(-999,)))
    assert typed.values.astype(object).where(typed.values.notna(), None).tolist() == expected


def test_typed_dates_that_a_format_does_not_fit_are_refused_not_lost():
    column = pd.Series([dt.date(2026, 1, 3), dt.date(2026, 2, 3)], name="day", dtype=object)
    with pytest.raises(DataError, match="2 values are not of type datetime written as %d/%m/%Y"):
        convert_column(column, None, 50, Options(dates={"day": "%d/%m/%Y"}))


@pytest.mark.parametrize("values", [pd.Series([2**63 + 5, 3], dtype="uint64"), pd.Series([1e300, 3.0])])
def test_integers_that_do_not_fit_are_refused_and_codes_keep_their_text(values):
    with pytest.raises(DataError, match="beyond 2"):
        convert_column(values.rename("col"), "integer", 50)
    assert convert_column(values.rename("col"), "category", 50).values.tolist() == values.astype("str").tolist()


def test_blank_texts_among_other_values_are_missing():
    column = pd.Series(["x", " ", 3], name="col", dtype=object)
    assert convert_column(column, None, 50).values.isna().tolist() == [False, True, False]
