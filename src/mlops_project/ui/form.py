"""The inputs of one case: a widget per feature, chosen by the contract; their values outlive reruns, pages and a search."""

import math
from collections.abc import MutableMapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from mlops_project.contract import Contract, Feature
from mlops_project.ui.format import escape, format_bound, format_value
from mlops_project.ui.language import Translate
from mlops_project.ui.model import Model
from mlops_project.ui.reference import Row

GROUP_SIZE = 12
FEW = 15  # inputs, up to which there is no search and no scrolling
COLUMNS = 3
FORM_HEIGHT = 560  # pixels


class Case:
    """The row that a visitor edits, one per model, kept in the session.

    Parameters
    ----------
    model
        Whose inputs they are. When it is replaced by one that has the same inputs, the values stay.
    state
        The session's state.
    """

    def __init__(self, model: Model, state: MutableMapping[Any, Any]) -> None:
        self._contract, self._state = model.contract, state
        self._prefix = f"input/{model.name}/"
        self._name = f"case/{model.name}"
        row = state.get(self._name)
        if not isinstance(row, dict) or not fits(row, model.contract):
            self.set(self._start(row if isinstance(row, dict) else {}))

    def _start(self, before: Row) -> Row:
        """Return the contract's example with what still fits of the row before."""
        row = dict(self._contract.example_row())
        return row | {item.name: before[item.name] for item in self._contract.features if is_kept(before, item)}

    @property
    def row(self) -> Row:
        """Feature name → value."""
        row: Row = self._state[self._name]
        return row

    def set(self, row: Row) -> None:
        """Replace the values, in the widgets too."""
        self._state[self._name] = dict(row)
        for feature in self._contract.features:
            self._state.pop(self.key(feature), None)

    def key(self, feature: Feature) -> str:
        """Return a feature's widget key."""
        return f"{self._prefix}{feature.name}"

    def read_widgets(self) -> None:
        """Take over what the shown widgets hold."""
        values = {item.name: self._state[self.key(item)] for item in self._contract.features if self.key(item) in self._state}
        self._state[self._name] = self.row | {name: from_widget(value) for name, value in values.items()}

    def prepare(self, feature: Feature) -> str:
        """Give a widget its value before it is drawn; returns its key."""
        key = self.key(feature)
        if key not in self._state:
            self._state[key] = to_widget(self.row[feature.name], feature)
        return key


def fits(row: Row, contract: Contract) -> bool:
    """Whether a row has just this contract's inputs, each of its type."""
    return row.keys() == set(contract.names) and all(is_kept(row, feature) for feature in contract.features)


def is_kept(row: Row, feature: Feature) -> bool:
    """Whether a row's value for a feature can be a value of this feature."""
    if feature.name not in row:
        return False
    value = row[feature.name]
    if value is None:
        return feature.nullable or feature.default is None
    if feature.type == "category":
        return value in feature.categories
    kinds: dict[str, type] = {"float": float, "integer": int, "boolean": bool}
    return type(value) is kinds.get(feature.type, str)


def to_widget(value: Any, feature: Feature) -> Any:
    """Return a value as the feature's widget holds it."""
    if feature.type == "datetime" and value is not None:
        return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    return value


def from_widget(value: Any) -> Any:
    """Return what a widget holds as a value of the row."""
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def show_inputs(case: Case, contract: Contract, t: Translate, wanted: str) -> None:
    """Draw the widgets in groups; ``wanted`` is what a shown input's name must contain."""
    shown = find_features(contract, wanted)
    if not shown:
        st.caption(t("search.none"))
        return
    if len(shown) <= FEW or wanted:
        _show_grid(case, shown, t)
        return
    for start in range(0, len(shown), GROUP_SIZE):
        group = shown[start : start + GROUP_SIZE]
        st.caption(t("group", first=escape(group[0].name), last=escape(group[-1].name)))
        _show_grid(case, group, t)


def find_features(contract: Contract, wanted: str) -> list[Feature]:
    """Return the features with every word of ``wanted`` in their names."""
    words = wanted.lower().split()
    return [feature for feature in contract.features if all(word in feature.name.lower() for word in words)]


def _show_grid(case: Case, features: Sequence[Feature], t: Translate) -> None:
    width = COLUMNS - any(feature.type == "datetime" for feature in features)  # date and time need room
    for start in range(0, len(features), width):
        columns = st.columns(width, vertical_alignment="bottom")
        for column, feature in zip(columns, features[start : start + width], strict=False):
            with column:
                _show_input(case.prepare(feature), feature, t)


def _show_input(key: str, feature: Feature, t: Translate) -> None:
    label = escape(f"{feature.name} ({feature.unit})" if feature.unit else feature.name)
    note = _describe(feature, t)
    if feature.type == "boolean":
        if feature.nullable:
            words = {True: t("yes"), False: t("no"), None: t("missing")}
            st.selectbox(label, [True, False, None], key=key, format_func=words.__getitem__)
        else:
            st.toggle(label, key=key)
    elif feature.is_text:
        options: list[str | None] = [*feature.categories, *([None] if feature.nullable else [])]
        st.selectbox(
            label,
            options,
            key=key,
            format_func=lambda value: t("missing") if value is None else str(value),
            help=note,
            accept_new_options=feature.type == "string",
        )
    elif feature.type == "datetime":
        st.datetime_input(label, value=None, key=key, help=note, min_value=datetime(1, 1, 1), max_value=datetime(9999, 1, 1))  # noqa: DTZ001 - UTC, as everywhere
    else:
        _show_number(label, key, feature, note, t)


def _show_number(label: str, key: str, feature: Feature, note: str, t: Translate) -> None:
    whole = feature.type == "integer"
    step = find_step(feature)
    st.number_input(
        label,
        value=None if feature.nullable or feature.default is None else "min",  # None can be cleared
        key=key,
        step=max(1, round(step)) if whole else step,
        format="%d" if whole else "%.6g",
        placeholder=t("missing"),
        help=note,
    )


def _describe(feature: Feature, t: Translate) -> str:
    if feature.minimum is None or feature.quantiles == ():
        return ""
    middle = feature.quantiles[len(feature.quantiles) // 2]
    ends = {"low": feature.minimum, "high": feature.maximum, "middle": middle}
    return escape(t("range", **{name: format_bound(value, feature, t) for name, value in ends.items()}))


def find_step(feature: Feature) -> float:
    """Return a power of ten, at most a fiftieth of the training range."""
    width = (feature.maximum or 0.0) - (feature.minimum or 0.0)
    return 10.0 ** math.floor(math.log10(width / 50)) if width > 0 else 1.0


def find_outside(row: Row, contract: Contract, t: Translate) -> list[str]:
    """Return a sentence per value that training did not show."""
    return [sentence for feature in contract.features if (sentence := _judge(row[feature.name], feature, t))]


def _judge(value: Any, feature: Feature, t: Translate) -> str:
    if value is None or feature.type in ("boolean", "datetime"):
        return ""
    name = escape(feature.name)
    if feature.is_text:
        known = feature.type != "category" or value in feature.categories
        return "" if known else t("outside.category", name=name, value=escape(value))
    low, high = feature.minimum, feature.maximum
    if low is None or high is None or low <= value <= high:
        return ""
    numbers = {"value": format_value(value, feature, t), "low": t.number(low), "high": t.number(high)}
    return t("outside.number", name=name, **{key: escape(text) for key, text in numbers.items()})
