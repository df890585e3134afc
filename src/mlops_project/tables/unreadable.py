"""Files that are not the table that their name says: what they are instead, why a library refused them, what to do."""

import re
from pathlib import PurePosixPath

KINDS = (  # how a file begins, what it is, what to do
    (b"PAR1", "a Parquet file", "give it the ending .parquet"),
    (b"PK\x03\x04", "an Excel file or a zip archive", "give it the ending .xlsx or .zip"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file", "give it the ending .xls"),
    (b"\x1f\x8b", "packed with gzip", "add .gz to its name"),
    (b"BZh91AY&SY", "packed with bzip2", "add .bz2 to its name"),
    (b"\xfd7zXZ", "packed with xz", "add .xz to its name"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard", "add .zst to its name"),
    (b"ARROW1\0", "an Arrow file", "give it the ending .arrow"),
    (b"%PDF-", "a PDF", "export the table as CSV"),
    (b"SQLite format 3", "an SQLite database", "name it as sqlite:///FILE, and with data.query what to read"),
    *(
        (b"\x80" + protocol, "a pickle", "loading one runs code; save the table as Parquet")
        for protocol in (b"\3", b"\4", b"\5")
    ),
)
WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|\?xml)", re.IGNORECASE)
JSON = re.compile(rb'\s*(\[\s*)?\{\s*"[^"]*"\s*:')
ENDINGS = {
    "": "it has no ending; add that of what it is, such as .csv or .parquet",
    ".json": "a line for each row can be read: write it as JSON lines (.jsonl), CSV or Parquet",
    ".pkl": "loading a pickle runs code, so none is read; save the table as CSV or Parquet",
    ".pickle": "loading a pickle runs code, so none is read; save the table as CSV or Parquet",
    ".yaml": "this is a configuration, and the table's file is expected",
    ".yml": "this is a configuration, and the table's file is expected",
}
REASONS = (  # part of what a library says, what is meant, with the cure
    (
        r"Expected (\d+) fields in line (\d+), saw (\d+)",
        r"line \2 has \3 fields instead of \1; mend it, or put a value that has the separator in it in quotes",
    ),
    (r"EOF inside string starting at row (\d+)", r"a quotation mark of row \1 has no second one; mend this row"),
    (r'"delimiter" must be', "data.separator is one sign such as ';', or `space`, or `fixed`"),
    (r"end-of-stream marker", "the packed file is cut off; copy it again"),
    (r"Not a gzipped file", "it is not packed; take .gz out of its name"),
    (
        r"Parquet magic bytes|Could not open Parquet|Parquet file size is",
        "it is no Parquet file, or is cut off; copy it again, or give it its own ending",
    ),
    (r"Not an Arrow file|Could not open IPC", "it is no Arrow file, or is cut off; copy it again, or give it its own ending"),
    (
        r"[Uu]nable to locate credentials",
        "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    ),
    (r"Forbidden|Access ?Denied", "the server refuses this; ask for the right, or name other credentials"),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken",
        "the credentials are wrong or too old; look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_PROFILE",
    ),
    (
        r"NoSuchBucket|bucket does not exist",
        "there is no such bucket; mend the name, or set AWS_ENDPOINT_URL if it is elsewhere",
    ),
    (
        r"Could not connect to the endpoint|ConnectionRefused|Connect call failed|Name or service not known",
        "no server answers there; mend the address, or start it",
    ),
    (r"'charmap' codec can't decode", "it is not text; save it as CSV in UTF-8"),
)


def find_other_kind(beginning: bytes) -> str | None:
    """Return what a file is that was taken for text, and what to do; None if nothing speaks against text."""
    for mark, kind, cure in KINDS:
        if beginning.startswith(mark):
            return f"this is not text, it is {kind}; {cure}"
    if WEB_PAGE.match(beginning):
        return "this is a web page and no table, perhaps an error or a login; download the file again"
    if JSON.match(beginning):
        return "this is JSON; write a line for each row, and give it the ending .jsonl"
    return None


def explain_ending(file: str) -> str:
    """Return what to do with a file whose ending is none of a table."""
    return ENDINGS.get(PurePosixPath(file.partition("?")[0]).suffix.lower(), "save it as CSV or Parquet")


def explain_refusal(error: BaseException | str, most: int = 300) -> str:
    """Return why a library refused a file, on one line, and what to do where that is known."""
    said = " ".join(str(error).split())
    for part, meant in REASONS:
        found = re.search(part, said)
        if found is not None:
            return found.expand(meant)
    return said.removeprefix("Error tokenizing data. C error: ")[:most]
