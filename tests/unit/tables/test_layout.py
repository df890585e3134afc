"""Layouts as people have them: titles, types and units around the header, no header, totals, blanks, quotes, encodings."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.errors import DataError
from mlops_project.tables.files import Reading, read_files
from mlops_project.tables.layout import LayoutSettings

N = 40


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": np.arange(20, 20 + N),
            "sex": ["f", "m"] * (N // 2),
            "bmi": np.linspace(20, 33.7, N).round(2),
            "city": ["Rome", "Lima", "New York", "Bonn"] * (N // 4),
            "pay": np.linspace(100.5, 999.5, N).round(1),
        }
    )


@pytest.fixture
def read(tmp_path):
    """Write a file and read it: the frame and what was said of it."""

    def read(content: str | bytes, name: str = "t.csv", *, adopt: bool = False, **settings) -> tuple[pd.DataFrame, str]:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        reading = Reading(LayoutSettings(**settings), adopt=adopt)
        read_back, notes = read_files(str(file), {}, reading=reading)
        again = {
            seen.key: tuple(seen.value) if isinstance(seen.value, list) else seen.value for seen in reading.seen if seen.key
        }
        if again:  # what it says to write into the configuration gives the same table, without another word
            decided = Reading(LayoutSettings(**{**settings, **again}))
            pd.testing.assert_frame_equal(read_files(str(file), {}, reading=decided)[0], read_back)
            assert not [seen for seen in decided.seen if seen.key]
        return read_back, "\n".join(note.replace(str(file), "FILE") for note in notes)

    return read


def same(read_back: pd.DataFrame, frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(read_back, frame.convert_dtypes(), check_dtype=False)


def lines(frame: pd.DataFrame, **options) -> list[str]:
    return frame.to_csv(index=False, **options).splitlines()


def test_title_rows_are_skipped_and_said(read, frame):
    body = lines(frame)
    for title in (
        ["People,,,,", "2026-11-01,,,,", ",,,,"],
        ["People"],
        ["Made by A, B and C on 3 May", "", "v. 2"],
        ["", "", "x"],
    ):
        read_back, said = read("\n".join([*title, *body]))
        same(read_back, frame)
        assert ("1 row stands" if len(title) == 1 else f"{len(title)} rows stand") + " above the header" in said
        assert f"(data.skip_rows: {len(title)})" in said


def test_title_rows_above_semicolons_and_decimal_commas(read, frame):
    text = "\n".join(["Export, made 2026-11-01", "by finance; internal", "", *lines(frame, sep=";", decimal=",")])
    same(read(text)[0], frame)
    same(read(text.encode("cp1252"), skip_rows=3)[0], frame)
    same(read(text, header=4)[0], frame)


def test_row_of_types_is_skipped(read, frame):
    header, *body = lines(frame)
    for types in ("Int,Categorical,Float,Categorical,Float", "int64,object,float64,str,float64", "numeric,factor,numeric,,num"):
        read_back, said = read("\n".join([header, types, *body]))
        same(read_back, frame)
        assert "row 2 below the header holds types" in said
    same(read("\n".join(["Title", header, "c,d,c,d,c", ",,,,class", *body]))[0], frame)


def test_row_of_units_is_refused_with_its_setting_and_skipped_by_a_first_look(read, frame):
    header, *body = lines(frame)
    text = "\n".join([header, "years,,kg/m²,,EUR", *body])
    with pytest.raises(DataError, match=r"row 2 below the header holds texts where .*kg/m².*set data\.skip_rows: \[2\]"):
        read(text)
    same(read(text, adopt=True)[0], frame)


def test_two_rows_of_names_are_joined(read, frame):
    body = lines(frame)[1:]
    text = "\n".join(["person,,body,home,", "age,sex,bmi,city,pay", *body])
    with pytest.raises(DataError, match=r"set data\.header: \[1, 2\]"):
        read(text)
    assert list(read(text, adopt=True)[0]) == ["person age", "person sex", "body bmi", "home city", "home pay"]
    assert list(read(text, header=2)[0]) == list(frame)


def test_file_without_names_is_refused_until_it_is_said(read, frame):
    text = "\n".join(lines(frame)[1:])
    with pytest.raises(
        DataError, match=r"the first row looks like data, not like names \(20, f, 20\.0, …\).*set data\.header: false"
    ):
        read(text)
    read_back, _ = read(text, adopt=True)
    assert list(read_back) == [f"column_{place}" for place in range(1, 6)]
    assert len(read_back) == N
    same(read(text, header=False, names=tuple(frame))[0], frame)
    assert len(read(text, header=True)[0]) == N - 1


def test_titles_above_rows_without_names_are_skipped_too(read, frame):
    body = lines(frame)[1:]
    with pytest.raises(DataError, match=r"set data\.header: false"):
        read("\n".join(["Report,,,,", ",,,,", *body]))
    assert len(read("\n".join(["Report,,,,", ",,,,", *body]), adopt=True)[0]) == N


def test_comment_that_lists_the_names_is_not_the_header(read, frame):
    same(read("\n".join(["# made by hand", "# names: age, sex, bmi, city, pay", *lines(frame)]))[0], frame)
    assert "#age" in read("\n".join(["# made by hand", "#age,sex,bmi,city,pay", *lines(frame)[1:]]))[0]


def test_first_row_whose_category_is_in_early_rows_only_is_data_too(read):
    text = "\n".join(f"{'early' if row < 9 else 'late'},{row % 3},{row / 2}" for row in range(N))
    assert len(read(text, adopt=True)[0]) == N


def test_texts_without_names_are_recognised_by_their_values(read):
    text = "\n".join(f"{'pe'[row % 2]},{'xbs'[row % 3]},{'nw'[row % 2]}" for row in range(N))
    assert len(read(text, adopt=True)[0]) == N


@pytest.mark.parametrize(
    "text",
    [
        pd.DataFrame(np.random.default_rng(0).normal(size=(N, 6))).to_csv(index=False),  # named 0 … 5
        "country,2018,2019,2020\n" + "\n".join(f"c{row % 9},{row * 7 % 11},{row * 5 % 13},{row % 3}" for row in range(N)),
        "400,402,404.5,407,409,411\n"
        + "\n".join(",".join(f"{(row * 37 % at) / at:.3f}" for at in range(11, 17)) for row in range(N)),
        pd.DataFrame({"a": ["x", "y"] * 20, "b": ["u", "v"] * 20}).to_csv(),  # an index without a name
        ",color\n" + "\n".join(f"{row},{'rgb'[row % 3]}" for row in range(N)),
        "a,b\n1,2\n3,4\n",
        ",16.5,16.75,18\n" + "\n".join(f"{18 + row},{row},{row % 3},{row % 7}" for row in range(N)),  # a table of counts
        "a,speed\n" + "\n".join(f"{row},{'average' if row % 3 else 'fast'}" for row in range(N)) + "\n,average\n",
        "id,note\n" + "\n".join(f"{row},total {row}" for row in range(N)),
    ],
)
def test_healthy_file_is_read_as_it_stands(read, text):
    read_back, said = read(text)
    pd.testing.assert_frame_equal(read_back, pd.read_csv(__import__("io").StringIO(text), dtype_backend="numpy_nullable"))
    assert "data." not in said


@pytest.mark.parametrize("label", ["Total", "Gesamtsumme:", "ИТОГО", "Mindent együtt", ""])
def test_row_of_totals_is_left_out_if_the_numbers_add_up(read, frame, label):
    total = f"{label}\t\t{frame['bmi'].sum():.2f}\t\t{frame['pay'].sum():.1f}"
    read_back, said = read("\n".join([*lines(frame, sep="\t"), total]))
    same(read_back, frame)
    assert "holds the sums of bmi, pay; 1 row left out (data.skip_footer: 1)" in said


def test_total_beside_numbers_only_is_left_out(read, frame):
    plain = frame[["sex", "bmi", "pay"]]
    text = "\n".join([*lines(plain), f"Total,{frame['bmi'].sum():.2f},{frame['pay'].sum():.1f}"])
    same(read(text)[0], plain)
    assert len(read("\n".join([*lines(plain), "Total,5,6"]))[0]) == N + 1


def test_row_that_says_total_but_does_not_add_up_is_kept_and_said(read, frame):
    read_back, said = read("\n".join([*lines(frame), "Total,,1,,2"]))
    assert len(read_back) == N + 1
    assert (
        "the last row says 'Total', but its numbers are not the sums of the others; data.skip_footer: 1 leaves it out" in said
    )


def test_last_row_with_gaps_that_adds_up_to_nothing_is_data(read, frame):
    assert len(read("\n".join([*lines(frame), "61,,30,,"]))[0]) == N + 1


def test_footer_that_is_set_and_looks_like_data_is_left_out_and_said(read, frame):
    read_back, said = read("\n".join(lines(frame)), skip_footer=1)
    assert len(read_back) == N - 1
    assert "data.skip_footer leaves out a row that looks like data: '59,m,33.7,Bonn,999.5'" in said
    assert read("\n".join([*lines(frame), "Total,a,2,c,5"]), skip_footer=1)[1] == ""


def test_remarks_below_the_table_are_left_out(read, frame):
    body = lines(frame)
    same(read("\n".join([*body, "Source: a survey,,,,", "Made in 2026"]))[0], frame)
    total = f",,,,\nTotal,,{frame['bmi'].sum():.2f},,{frame['pay'].sum():.1f}\nMean,,{frame['bmi'].mean():.3f},,"
    same(read("\n".join([*body, total, "Source: a survey,,,,"]))[0], frame)


def test_lines_in_quotes_are_read(read, frame):
    text = "\n".join('"' + line.replace('"', '""') + '"' for line in lines(frame, sep=";"))
    read_back, said = read(text)
    same(read_back, frame)
    assert "every line stands in quotes as a whole" in said


@pytest.mark.parametrize("index", [True, False])
def test_columns_between_blanks_are_read(read, frame, index):
    text = frame.assign(bmi=frame["bmi"].where(frame["age"] > 25)).to_string(index=index)
    read_back, said = read(text, "t.txt")
    same(read_back[list(frame)], frame.assign(bmi=frame["bmi"].where(frame["age"] > 25)))
    assert "data.separator: fixed" in said
    words = frame.assign(city=frame["city"].str.replace(" ", "_"))
    same(read(words.to_string(index=False), "w.txt")[0], words)


def test_tabs_among_blanks_separate_as_blanks_do(read):
    rows = "\n".join(f'18.{row % 9}   {row % 8}    {130 + row}.0\t"ford {row % 4}"' for row in range(N))
    read_back, _ = read(f"mpg\tcylinders\tpower name\n{rows}\n", "auto.data")
    assert list(read_back) == ["mpg", "cylinders", "power", "name"]
    assert read_back["name"].iloc[1] == "ford 1"


def test_value_across_columns_of_fixed_width_is_refused_by_line(read):
    text = "name   age\n" + "Ann     12\nBo Li   13\n" * 4000 + "Bartholomew\n"
    with pytest.raises(DataError, match="line 8002: a value stands across place"):
        read(text, "t.txt", separator="fixed")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_read(read, frame, encoding):
    czech = frame.assign(city=frame["city"].replace("Rome", "Plzeň"))
    read_back, said = read(czech.to_csv(index=False, sep=";").encode(encoding))
    same(read_back, czech)
    assert f"(data.encoding: {encoding})" in said


def test_encoding_that_is_set_is_used_or_refused(read):
    assert read("a,b\nż,1\n".encode("cp1250"), encoding="cp1250")[0]["a"].tolist() == ["ż"]
    with pytest.raises(DataError, match=r"data\.encoding: byte 0 is not utf-8"):
        read("a,b\nż,1\n".encode("cp1250"), encoding="utf-8")
    with pytest.raises(DataError, match="'utf-99' is no encoding"):
        read("a,b\n1,2\n", encoding="utf-99")


def test_separators_at_the_end_of_each_line_are_no_column(read, frame):
    header, *body = lines(frame)
    read_back, said = read("\n".join([header, *(f"{line}," for line in body)]))
    same(read_back[list(frame)], frame)
    assert "every row, but not the header, ends with a separator" in said


def test_value_behind_the_last_name_is_refused_beyond_the_sample_as_well(read):
    with pytest.raises(DataError, match="row 30001 has more fields than the header has names"):
        read("a,b\n" + "1,2,\n" * 30_000 + "1,2,3\n")


def test_row_names_without_a_name_are_left_out(read):
    text = '"a","b"\n' + "\n".join(f'"{row}",{row % 7},"x"' for row in range(1, N))
    assert list(read(text)[0])[1:] == ["a", "b"]


def test_separator_decimal_and_thousands_are_taken_as_set(read):
    assert read("a:b\n1.000,5:2\n2.000,5:3\n", separator=":", decimal=",", thousands=".")[0]["a"].tolist() == [1000.5, 2000.5]
    assert read("a;b\n1,5;2\n", decimal=".")[0]["a"].tolist() == ["1,5"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": ("a", "b")}, "data.names has 2 names, and the rows have 5 fields"),
        ({"header": 99}, "data.header: 99: the file has no such row"),
        ({"skip_rows": 99}, "data.skip_rows: 99 leaves nothing"),
    ],
)
def test_setting_that_does_not_fit_the_file_is_named(read, frame, settings, message):
    with pytest.raises(DataError, match=message):
        read("\n".join(lines(frame)), **settings)


def test_names_replace_those_of_the_file(read, frame):
    read_back, _ = read("\n".join(lines(frame)), names=("a", "b", "c", "d", "e"))
    assert list(read_back) == ["a", "b", "c", "d", "e"]
    assert len(read_back) == N


def test_codes_below_title_rows_keep_their_zeros(read):
    read_back, _ = read("Title\nzip,n,m\n" + "\n".join(f"0{row},{row},{row}" for row in range(1000, 1000 + N)))
    assert read_back["zip"].iloc[0] == "01000"
