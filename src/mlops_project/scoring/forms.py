"""How a file with rows to score is laid out: as the file that the model was trained on, as far as it is of that kind."""

import re
from collections.abc import Mapping
from typing import Any

from mlops_project.contract import Contract
from mlops_project.errors import DataError
from mlops_project.tables.encodings import guess_encoding
from mlops_project.tables.footers import TOTAL
from mlops_project.tables.layout import LayoutSettings, number_names
from mlops_project.tables.text_format import TextFormat, find_format, split_lines

# A field that is a number with a point which stands between no thousands: 1.5, 12.25, 0.3333.
POINT = r'(?m)(?:^|[{0} "])-?\d+\.(?:\d{{1,2}}|\d{{4,}})(?=[{0} "\r\n]|$)'
NUMBERED = re.compile(r"column_(\d+)")


def read_settings(config: Mapping[str, Any]) -> LayoutSettings:
    """Return the layout that a bundle's configuration names; older ones name none."""
    data = config.get("data", {})
    values: dict[str, Any] = {name: data[name] for name in LayoutSettings._fields if name in data}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return LayoutSettings(**values)


def find_form(sample: bytes, contract: Contract, settings: LayoutSettings = LayoutSettings()) -> TextFormat:  # noqa: B008 - a tuple
    """Return how a text file is written.

    The names of the model's inputs show which row is the header, so files without the title rows of the training file, with
    other separators, or with names where training had none are read as well.

    Parameters
    ----------
    sample
        The file's first bytes.
    settings
        The layout of the file that the model was trained on.

    Raises
    ------
    DataError
        If the file has no names, and its columns cannot be told by their number.
    """
    hints = _find_hints(sample, contract, settings)
    plain = find_format(sample, hints._replace(header=True, skip_rows=None, names=(), skip_footer=None))
    found = find_format(sample, hints._replace(header=None, skip_rows=None, names=(), skip_footer=None))
    n_plain = _count_known(plain, sample, contract)
    n_found = _count_known(found, sample, contract) if found.layout.header else 0
    best = plain
    if n_found >= max(1, n_plain) and all(seen.certain for seen in found.seen):
        best = found
    unnamed = settings.header is False or bool(settings.names)
    trained = find_format(sample, hints) if settings.places_header and not unnamed and _fits(sample, hints) else None
    if trained is not None and _count_known(trained, sample, contract) >= max(1, n_plain, n_found):
        best = trained if not _skips_data(trained, sample, contract) else best
    elif unnamed and not max(n_plain, n_found):
        best = _by_number(sample, contract, hints)
    return best._replace(footer=settings.skip_footer or 0)


def _fits(sample: bytes, hints: LayoutSettings) -> bool:
    try:
        find_format(sample, hints)
    except DataError:  # fewer rows than the header's number
        return False
    return True


def _find_hints(sample: bytes, contract: Contract, settings: LayoutSettings) -> LayoutSettings:
    """Return the settings that may hold for this file as well; what it shows itself counts more."""
    guess = guess_encoding(sample)
    keeps = guess == "cp1252" or (guess == "utf-8-sig" and sample.isascii())
    encoding = settings.encoding if settings.encoding and keeps and not settings.encoding.startswith("utf-16") else None
    hints = settings._replace(encoding=encoding)
    own = find_format(sample, LayoutSettings(header=True, encoding=encoding, separator=settings.separator))
    if settings.separator is not None and not _count_known(own, sample, contract):
        other = find_format(sample, LayoutSettings(header=True, encoding=encoding))
        if _count_known(other, sample, contract):
            hints, own = hints._replace(separator=None), other
    points = own.decimal == "." and re.search(
        POINT.format(re.escape(own.plain_separator)), sample.decode(own.encoding, errors="ignore")
    )
    if (settings.decimal == "," and points) or (settings.decimal == "." and own.decimal == ","):
        hints = hints._replace(decimal=None, thousands=None)
    return hints


def _count_known(form: TextFormat, sample: bytes, contract: Contract) -> int:
    """Return how many of a header's names are the model's."""
    return len({name.strip() for name in form.split(sample)[0]} & {*contract.names})


def _skips_data(form: TextFormat, sample: bytes, contract: Contract) -> bool:
    """Whether a row below the header, that the training file's layout skips, holds data here."""
    rows = split_lines(form.read_lines(sample), form)
    top = max(form.layout.header, default=-1)
    names = form.split(sample)[0]
    skipped = [rows[place] for place in form.layout.skip if top < place < len(rows)]
    return any(not is_footer(row, names, form, contract) for row in skipped)


def _by_number(sample: bytes, contract: Contract, hints: LayoutSettings) -> TextFormat:
    """Return the layout of a file without names; its columns are told by their number."""
    form = find_format(sample, hints._replace(header=False, skip_footer=None))
    width = len(form.split(sample)[0])
    places = {name: int(found[1]) for name in (*contract.names, contract.target) if (found := NUMBERED.fullmatch(name))}
    target, last = places.get(contract.target), max(places.values(), default=0)
    if not hints.names and target is not None and (width < last - 1 or (width < last and target < last)):
        raise DataError(
            f"the rows have {width} fields and no names; the model was trained on a file without names, whose {last} columns "
            f"are known by their number: send all of them, or name them in a first row: {', '.join(number_names(2))}, …"
        )
    return form


def is_footer(row: list[str], names: list[str], form: TextFormat, contract: Contract) -> bool:
    """Whether a row is no data: it says that it is a total, has no numbers where the model has, or lacks most values."""
    cells = {name.strip(): cell.strip() for name, cell in zip(names, row, strict=False)}
    if any(TOTAL.fullmatch(cell) for cell in cells.values()):
        return True
    numbers = [cells.get(feature.name, "") for feature in contract.numbers if feature.type != "datetime"]
    if any(cell and not _is_number(cell, form) for cell in numbers):
        return True
    inputs = [cells.get(name, "") for name in contract.names]
    return 2 * inputs.count("") > len(inputs)


def _is_number(cell: str, form: TextFormat) -> bool:
    plain = cell.replace(form.thousands, "") if form.thousands else cell
    try:
        float(plain.replace(form.decimal, "."))
    except ValueError:
        return cell.lower() in ("true", "false", "yes", "no", "na", "nan", "null", "none", "n/a")
    return True
