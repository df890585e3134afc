"""What would change the answer: the least change of a few inputs with which another class is answered."""

import math
from typing import Any

import pandas as pd
import streamlit as st

from mlops_project.counterfactual import MAX_CHANGES, Bounds, Counterfactual, find_counterfactual
from mlops_project.errors import ContractError
from mlops_project.ui.catalogue import Model
from mlops_project.ui.format import escape
from mlops_project.ui.language import format_value
from mlops_project.ui.predict.answers import CACHED, Answer, Asked
from mlops_project.ui.predict.form import Case
from mlops_project.ui.reference import Row
from mlops_project.ui.typed import InputError, read_number
from mlops_project.ui.view import View

Wanted = int | tuple[float, float]  # a class, or the least and the greatest number


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: lambda model: model.digest})
def find_change(model: Model, row: Row, wanted: Wanted, fixed: tuple[str, ...]) -> Counterfactual | None:
    """Return the least change that was found; None if none was, or the model is not on this machine. Cached.

    Parameters
    ----------
    model
        Whose answer.
    row
        Feature name → value, as a form holds it.
    wanted
        What is to be answered.
    fixed
        Features that stay as they are.

    Raises
    ------
    ContractError
        If a change leads to a row that the model has no answer for.
    """
    if model.runtime is None:
        return None
    return find_counterfactual(model.runtime, row, Bounds(*wanted) if isinstance(wanted, tuple) else wanted, fixed)


def show_change(view: View, case: Case, asked: Asked) -> None:
    """Draw what would change an answer; nothing for a model that is not on this machine."""
    t, contract, answer = view.t, view.model.contract, asked.answer
    if answer is None or view.model.runtime is None:
        return
    st.header(t("change.least"), anchor=False)
    chosen = _ask_class(view, answer) if contract.is_classification else _ask_bounds(view, answer)
    fixed = st.multiselect(
        t("change.fixed"), contract.names, key=f"fixed/{view.model.name}", placeholder=t("change.fixed.none")
    )
    if chosen is None:
        return
    wanted, name = chosen
    try:
        found = find_change(view.model, asked.row, wanted, tuple(fixed))
    except ContractError as error:
        st.info(t("refused", reason=escape(error)))
        return
    if found is None:
        st.info(t("change.none", name=name, count=MAX_CHANGES), icon=":material/block:")
    elif not found.changes:
        st.info(t("change.already"), icon=":material/check:")
    else:
        _show_found(view, case, asked.row, found)


def _ask_class(view: View, answer: Answer) -> tuple[int, str]:
    """Return the class that is to be answered: the other one, or which of several the visitor wants; and its name, escaped."""
    names = view.model.contract.class_names
    others = sorted((index for index in range(len(names)) if index != answer.index), key=lambda i: -answer.probabilities[i])
    wanted = others[0]
    if len(others) > 1:
        wanted = st.selectbox(view.t("change.to"), others, format_func=names.__getitem__, key="change to")
    return wanted, escape(names[wanted])


def _ask_bounds(view: View, answer: Answer) -> tuple[tuple[float, float], str] | None:
    """Return between what the number is to be, and that in words; None until the visitor has said so."""
    t, left_right = view.t, st.columns(2)
    if answer.value is None:
        return None
    ends = []
    for column, key, end in zip(left_right, ("change.least.value", "change.most.value"), (-math.inf, math.inf), strict=True):
        with column:
            text = st.text_input(t(key), key=key, placeholder=t.number(answer.value))
        try:
            ends.append(read_number(text, t("decimal")) if text else end)
        except InputError as error:
            st.error(t(error.key, **{name: escape(word) for name, word in error.words.items()}))
            return None
    low, high = ends
    if not (math.isfinite(low) or math.isfinite(high)) or low > high:
        st.caption(t("change.bounds"))
        return None
    said = [f"≥ {t.number(low)}"] * math.isfinite(low) + [f"≤ {t.number(high)}"] * math.isfinite(high)
    return (low, high), ", ".join(said)


def _show_found(view: View, case: Case, row: Row, found: Counterfactual) -> None:
    t, contract = view.t, view.model.contract
    if found.value is None:
        words = {"name": escape(contract.class_names[found.index]), "share": t.percent(found.probability)}
    else:
        words = {"name": t.number(found.value), "share": escape(contract.target)}
    st.markdown(t("change.found" if len(found.changes) > 1 else "change.found.one", **({"count": len(found.changes)} | words)))
    st.dataframe(
        pd.DataFrame(
            [
                {
                    t("input"): name,
                    t("now"): format_value(row[name], contract.feature(name), t),
                    t("then"): format_value(value, contract.feature(name), t),
                }
                for name, value in found.changes.items()
            ]
        ),
        hide_index=True,
        width="stretch",
    )
    st.caption(t("change.lead"))
    st.button(t("change.take"), icon=":material/input:", on_click=_take, args=(case, row, found.changes), key="take change")


def _take(case: Case, row: Row, changes: dict[str, Any]) -> None:
    case.set(row | changes)
