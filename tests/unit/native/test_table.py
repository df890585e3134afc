"""Plain tables in JSON are read as ``json`` reads them, bit for bit, and whatever else comes is declined."""

import json

import numpy as np

from mlops_project.native.table import GAP, INDEX, NUMBER, TEXT, TRUTH, WHOLE, ZERO_ONE, Form, TableReader, open_reader

LISTS = Form("[", "]", ["[", ",", ",", "]"])
RECORDS = Form('{"rows":[', "]}", ['{"x":', ',"b":', ',"t":', "}"])
INDEXED = Form(f'{{"index":[{INDEX}],"data":[', "]}", LISTS.pieces)
KINDS = (NUMBER | GAP, NUMBER | TRUTH | ZERO_ONE, TEXT | GAP)
ONE = Form("", "", ["[", "]"], is_list=False)


def open_table(kinds=KINDS, forms=(LISTS, RECORDS, INDEXED)) -> TableReader:
    reader = open_reader(kinds, forms)
    assert reader is not None, "make native"
    return reader


def list_rows(table) -> list[list]:
    """Return what was read as JSON would have it."""
    numbers = [[None if np.isnan(value) else value for value in row] for row in table.numbers.tolist()]
    texts = [
        [None if code < 0 else values[code] for code, values in zip(row, table.values, strict=True)]
        for row in table.codes.tolist()
    ]
    return [row + own for row, own in zip(numbers, texts, strict=True)]


def draw_numbers(rng: np.random.Generator, n: int) -> list[str]:
    """Draw numbers as programs write them: short ones, whole ones, with all digits, and between two float64."""
    any_bits = rng.integers(0, 2**63, n, np.uint64).view(np.float64)
    sized = (rng.normal(size=n) * 10.0 ** rng.integers(-30, 30, n)).tolist()
    with np.errstate(all="ignore"):
        middles = [f"{int(value) * 2 + 1}" for value in rng.integers(2**52, 2**53, n)]  # these need 54 bits
    texts = [
        *map(repr, sized),
        *(repr(value) for value in any_bits.tolist() if abs(value) < 1e38),
        *(f"{value:.{rng.integers(0, 12)}f}" for value in (rng.normal(size=n) * 1e4).tolist()),
        *(f"{value:.{rng.integers(15, 25)}e}" for value in sized),
        *map(str, rng.integers(-(2**63), 2**63 - 1, n).tolist()),
        *(f"{digits[:-3]}.{digits[-3:]}" for digits in middles),
        *middles,
    ]
    return [*texts, "0", "-0", "-0.0", "0e7", "1E5", "1e-400", "-1e-400", "9007199254740993", "1" + "0" * 30, "0.1" + "0" * 30]


def test_numbers_have_the_bits_that_python_gives_them():
    reader = open_table((NUMBER,), [Form("[", "]", ["[", "]"])])
    texts = draw_numbers(np.random.default_rng(0), 3_000)
    expected = np.array([float(json.loads(text)) for text in texts])
    few = np.abs(expected) <= np.finfo(np.float32).max
    table = reader.read(f"[{','.join(f'[{text}]' for text, fits in zip(texts, few, strict=True) if fits)}]".encode())
    assert table.numbers.ravel().tobytes() == expected[few].tobytes()


def test_a_table_is_read_in_each_form_and_with_blanks():
    rows = [[1.5, True, "a"], [None, 0, ""], [-2, 1, None], [3e4, False, 'ä€"\n']]
    records = {"rows": [dict(zip("xbt", row, strict=True)) for row in rows]}
    expected = [[1.5, 1, "a"], [None, 0, ""], [-2, 1, None], [3e4, 0, 'ä€"\n']]
    for value in (rows, records, {"index": [4, 0, 7, 10], "data": rows}):
        for options in ({}, {"ensure_ascii": False}, {"indent": 2}, {"separators": (",", ":")}):
            body = json.dumps(value, **options).encode()
            assert list_rows(open_table().read(body)) == expected


def test_what_is_not_plain_is_declined():
    reader = open_table()
    for body in (
        *(
            "",
            "[",
            "[]",
            "[[]]",
            '[[1,1,"a"]',
            '[[1,1,"a"],]',
            '[[1,1,"a"]] 1',
            "[[1,1]]",
            '[[1,1,"a",2]]',
            '[[1,1,"a\\x"]]',
            '[[1,1,"a\\',
        ),
        *('[["1",1,"a"]]', '[[1,2,"a"]]', "[[1,1,3]]", '[[true,1,"a"]]', '[[1e39,1,"a"]]', '[[01,1,"a"]]', '[[1.,1,"a"]]'),
        *('[[.5,1,"a"]]', '[[+1,1,"a"]]', '[[-,1,"a"]]', '[[1e,1,"a"]]', '[[NaN,1,"a"]]', '[[nul,1,"a"]]', '[[1,1,"a]]'),
        *('{"index":[1,2],"data":[[1,1,"a"]]}', '{"index":[01],"data":[[1,1,"a"]]}', '{"index":[],"data":[[1,1,"a"]]}'),
        *('{"rows":[{"x":1,"t":"a","b":1}]}', '{"rows":[{"x":1,"b":1,"t":"a"}],"more":1}', '[[1,1,"\x00"]]', '[[1,1,"\x1f"]]'),
    ):
        assert reader.read(body.encode()) is None, body
    assert reader.read(b'[[1,1,"\xff"]]') is None  # no UTF-8
    assert open_table((NUMBER | WHOLE,), [ONE]).read(b"[1.5]") is None
    assert open_table((NUMBER | WHOLE,), [ONE]).read(b"[9007199254740992]") is None
    assert open_table((NUMBER,), [ONE]).read(b"[null]") is None
    assert open_table((NUMBER,), [ONE]).read(b"[1],[2]") is None


def test_many_different_texts_keep_their_places():
    reader = open_table((TEXT,), [Form("[", "]", ["[", "]"])])
    texts = [str(number % 700) for number in range(5_000)]
    table = reader.read(json.dumps([[text] for text in texts]).encode())
    assert table.values[0] == texts[:700]
    assert list_rows(table) == [[text] for text in texts]


def test_damaged_bodies_are_declined_or_read_as_python_reads_them():
    rng, reader = np.random.default_rng(1), open_table()
    draw_row = lambda: [round(rng.normal(), 3), int(rng.integers(0, 2)), rng.choice(["a", "bb", "ü"])]  # noqa: E731
    n_read = 0
    for _ in range(3_000):
        rows = [draw_row() for _ in range(int(rng.integers(1, 5)))]
        body = bytearray(json.dumps(rows, ensure_ascii=False).encode())
        for place in rng.integers(0, len(body), int(rng.integers(0, 3))):
            body[place] = int(rng.choice(bytearray(b'0123456789[]{}",.-e \\\xc3a')))
        body = bytes(body[: int(rng.integers(1, len(body) + 1))] if rng.random() < 0.2 else body)
        table = reader.read(body)
        if table is not None:
            n_read += 1
            assert list_rows(table) == json.loads(body)
    assert n_read > 500
