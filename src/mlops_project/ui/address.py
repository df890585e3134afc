"""What a page's address holds: the choices that were made, and the case that a link brings."""

import json
import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import streamlit as st

from mlops_project.contract import Contract, Feature
from mlops_project.ui.inputs import is_kept, takes_none
from mlops_project.ui.reference import Row

CASE, MODEL = "case", "model"
MAX_LINK = 4000  # characters; longer ones are cut by mail and chat programs, and refused by proxies (nginx: 8 KiB)


def recall(name: str, options: Collection[str], default: str) -> str:
    """Return a choice: the address's, else the one made on this page before, else the default; for a widget's first value.

    Parameters
    ----------
    name
        Of the choice in the address.
    options
        Possible values; others are ignored.
    default
        If neither has one of them.
    """
    wishes = (st.query_params.get(name), st.session_state.get(f"address/{name}"))
    return next((wish for wish in wishes if wish is not None and wish in options), default)


def note(name: str, chosen: str, default: str) -> None:
    """Put a choice into the address, so that it is kept on a reload and on other pages.

    Parameters
    ----------
    name
        Of the choice in the address.
    chosen
        The value.
    default
        A value equal to it is left out of the address.
    """
    st.session_state[f"address/{name}"] = chosen
    if chosen != default:
        st.query_params[name] = chosen
    elif name in st.query_params:
        del st.query_params[name]


def write_link(page: str, model: str, row: Row, contract: Contract) -> str:
    """Return an address that opens the page Predict with a case: the values that are not the example row's.

    Parameters
    ----------
    page
        Address of the page, without query and fragment.
    model
        The model's name.
    row
        The case.
    contract
        Of the model.
    """
    example = contract.example_row()
    values = {name: value for name, value in row.items() if value != example[name]}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return f"{page.rstrip('/')}/?{MODEL}={quote(model, safe='')}&{CASE}={quote(text, safe=',:')}"


def read_case(text: str, contract: Contract) -> tuple[Row, list[str]]:
    """Return the row of a link's ``case``, and the names in it that the model cannot use.

    Parameters
    ----------
    text
        A JSON object, feature name → value; the features that it leaves out have the example row's values.
    """
    try:
        values = json.loads(text[:MAX_LINK], parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        values = None
    row: dict[str, Any] = dict(contract.example_row())
    if not isinstance(values, Mapping):
        return row, [text]
    unused = []
    for name, value in values.items():
        feature = next((item for item in contract.features if item.name == name), None)
        fitting = None if feature is None else _fit(value, feature)
        if feature is None or (fitting is None and not (value is None and takes_none(feature))):
            unused.append(name)
        else:
            row[name] = fitting
    return row, unused


def _fit(value: Any, feature: Feature) -> Any:
    """Return a JSON value as a value of a feature; None if the feature cannot have it."""
    if feature.type == "float" and type(value) is int and abs(value) <= 2**53:
        value = float(value)
    if feature.type == "datetime":
        return _fit_moment(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if is_kept({feature.name: value}, feature) else None


def _fit_moment(value: Any) -> str | None:
    try:
        moment = datetime.fromisoformat(value)
        naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        return naive.isoformat(timespec="seconds")
    except (ValueError, TypeError, OverflowError):
        return None
