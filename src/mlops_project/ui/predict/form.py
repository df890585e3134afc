"""The inputs of one case: a widget per feature, chosen by the contract; their values outlive reruns, pages and a search."""

from collections.abc import MutableMapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from mlops_project.contract import Contract, Feature
from mlops_project.ui.catalogue import Model
from mlops_project.ui.format import escape
from mlops_project.ui.inputs import fits, is_kept, takes_none
from mlops_project.ui.language import Translate, format_bound, format_value
from mlops_project.ui.reference import Row
from mlops_project.ui.typed import InputError, read_number, write_number

GROUP_SIZE = 12
FEW = 15  # inputs, up to which there is neither a search nor groups
COLUMNS = 3
MAX_WORD = 40  # characters of a text that is quoted
MAX_OFFERED = 100  # values of an open set; others can be typed


class Case:
    """The row that a visitor edits, one per model, kept in the session.

    Parameters
    ----------
    model
        Whose inputs they are. When it is replaced by one that has the same inputs, the values stay.
    state
        The session's state.
    decimal
        The language's sign before the decimals.
    """

    def __init__(self, model: Model, state: MutableMapping[Any, Any], decimal: str) -> None:
        self._contract, self._state, self._decimal = model.contract, state, decimal
        self._prefix = f"input{decimal}/{model.name}/"
        self._name, self._unread_name, self._edition = (f"{kind}/{model.name}" for kind in ("case", "unread", "edition"))
        row = state.get(self._name)
        if not isinstance(row, dict) or not fits(row, model.contract):
            self.set(self._start(row if isinstance(row, dict) else {}))

    def _start(self, before: Row) -> Row:
        """Return the contract's example with what still fits of the row before."""
        row = dict(self._contract.example_row())
        return row | {item.name: before[item.name] for item in self._contract.features if is_kept(before, item)}

    @property
    def row(self) -> Row:
        """Feature name → value; where ``find_problems`` finds a problem, the value before it."""
        row: Row = self._state[self._name]
        return row

    @property
    def _unread(self) -> dict[str, Any]:
        """Feature name → what its widget holds, where that is no value of the feature."""
        held: dict[str, Any] = self._state.get(self._unread_name, {})
        return held

    def set(self, row: Row) -> None:
        """Replace the values, in the widgets too: they become new ones."""
        self._state[self._name] = dict(row)
        self._state[self._unread_name] = {}
        self._state[self._edition] = self._state.get(self._edition, 0) + 1

    def key(self, feature: Feature) -> str:
        """Return a feature's widget key.

        A widget gets its first value as its default, under a key of its own. Setting it in the session will not do: if the
        page is drawn again before the browser has shown it, streamlit forgets that it was set, and the browser sends nothing.
        """
        return f"{self._prefix}{self._state[self._edition]}/{feature.name}"

    def read(self) -> None:
        """Take over what the shown widgets hold; again is no harm. Streamlit may leave a widget's own call out."""
        row, unread = dict(self.row), dict(self._unread)
        for feature in self._contract.features:
            key = self.key(feature)
            if key in self._state:
                unread.pop(feature.name, None)
                try:
                    row[feature.name] = from_widget(self._state[key], feature, self._decimal)
                except InputError:
                    unread[feature.name] = self._state[key]
        self._state[self._name], self._state[self._unread_name] = row, unread

    def show(self, feature: Feature) -> Any:
        """Return what a feature's widget holds at first."""
        unread = self._unread
        return unread[feature.name] if feature.name in unread else to_widget(self.row[feature.name], feature, self._decimal)

    def find_problems(self, t: Translate) -> dict[str, str]:
        """Return feature name → why its input cannot be used, escaped."""
        problems = {}
        for name, held in self._unread.items():
            try:
                from_widget(held, self._contract.feature(name), self._decimal)
            except InputError as error:
                problems[name] = t(error.key, **{key: escape(word[:MAX_WORD]) for key, word in error.words.items()})
        return problems


def is_number(feature: Feature) -> bool:
    """Whether a feature's values are typed as numbers."""
    return feature.type in ("float", "integer")


def to_widget(value: Any, feature: Feature, decimal: str) -> Any:
    """Return a value as the feature's widget holds it."""
    if is_number(feature):
        return "" if value is None else write_number(value, decimal)
    if feature.type == "datetime" and value is not None:
        return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    return value


def from_widget(held: Any, feature: Feature, decimal: str) -> Any:
    """Return what a widget holds as a value of the row; None if it is empty and may be.

    Raises
    ------
    InputError
        If it is empty and must not be, or a number's text is none.
    """
    if held is None or (isinstance(held, str) and not held.strip()):
        if not takes_none(feature):
            raise InputError("input.needed")
        return None
    if is_number(feature):
        return read_number(held, decimal, whole=feature.type == "integer")
    return held.isoformat(timespec="seconds") if isinstance(held, datetime) else held


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
    problems = case.find_problems(t)
    for start in range(0, len(features), width):
        columns = st.columns(width, vertical_alignment="bottom")
        for column, feature in zip(columns, features[start : start + width], strict=False):
            with column:
                if feature.name in problems:
                    st.caption(f":red[{problems[feature.name]}]")
                _show_input(case, feature, t)


def _show_input(case: Case, feature: Feature, t: Translate) -> None:
    label = escape(f"{feature.name} ({feature.unit})" if feature.unit else feature.name)
    common: dict[str, Any] = {"key": case.key(feature), "on_change": case.read}
    value = case.show(feature)
    note = _describe(feature, t)
    if feature.type == "boolean":
        if feature.nullable:
            words = {True: t("yes"), False: t("no"), None: t("missing")}
            st.selectbox(label, [*words], [*words].index(value), format_func=words.__getitem__, **common)
        else:
            st.toggle(label, value, **common)
    elif feature.is_text:
        offered = feature.categories[:MAX_OFFERED] if feature.type == "string" else feature.categories
        options = [*dict.fromkeys([*offered, *([None] if feature.nullable else []), value])]
        st.selectbox(
            label,
            options,
            options.index(value),
            format_func=lambda value: t("missing") if value is None else str(value),
            help=note,
            accept_new_options=feature.type == "string",
            **common,
        )
    elif feature.type == "datetime":
        st.datetime_input(label, value, help=note, min_value=datetime(1, 1, 1), max_value=datetime(9999, 1, 1), **common)  # noqa: DTZ001 - UTC, as everywhere
    else:  # a browser's own number field drops the comma of 1,5 where its language writes a point
        st.text_input(label, value, placeholder=t("missing") if feature.nullable else "", help=note, **common)


def _describe(feature: Feature, t: Translate) -> str:
    if feature.minimum is None or feature.quantiles == ():
        return ""
    middle = feature.quantiles[len(feature.quantiles) // 2]
    ends = {"low": feature.minimum, "high": feature.maximum, "middle": middle}
    return escape(t("range", **{name: format_bound(value, feature, t) for name, value in ends.items()}))


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
