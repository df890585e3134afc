"""What would change the answer: the least change of a few inputs with which another class is answered."""

from typing import Any

import pandas as pd
import streamlit as st

from mlops_project.counterfactual import MAX_CHANGES, Counterfactual, find_counterfactual
from mlops_project.errors import ContractError
from mlops_project.ui.catalogue import Model
from mlops_project.ui.format import escape
from mlops_project.ui.language import format_value
from mlops_project.ui.predict.answers import CACHED, Asked
from mlops_project.ui.predict.form import Case
from mlops_project.ui.reference import Row
from mlops_project.ui.view import View


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: lambda model: model.digest})
def find_change(model: Model, row: Row, wanted: int, fixed: tuple[str, ...]) -> Counterfactual | None:
    """Return the least change that was found; None if none was, or the model is not on this machine. Cached.

    Parameters
    ----------
    model
        Whose answer.
    row
        Feature name → value, as a form holds it.
    wanted
        Index of the class that is to be answered.
    fixed
        Features that stay as they are.

    Raises
    ------
    ContractError
        If a change leads to a row that the model has no answer for.
    """
    return None if model.runtime is None else find_counterfactual(model.runtime, row, wanted, fixed)


def show_change(view: View, case: Case, asked: Asked) -> None:
    """Draw what would change an answer; nothing for numbers, and for a model that is not on this machine."""
    t, contract, answer = view.t, view.model.contract, asked.answer
    if answer is None or not contract.is_classification or view.model.runtime is None:
        return
    st.header(t("change.least"), anchor=False)
    others = sorted((i for i in range(len(contract.classes)) if i != answer.index), key=lambda i: -answer.probabilities[i])
    wanted = others[0]
    if len(others) > 1:
        wanted = st.selectbox(t("change.to"), others, format_func=contract.class_names.__getitem__, key="change to")
    fixed = st.multiselect(
        t("change.fixed"), contract.names, key=f"fixed/{view.model.name}", placeholder=t("change.fixed.none")
    )
    try:
        found = find_change(view.model, asked.row, wanted, tuple(fixed))
    except ContractError as error:
        st.info(t("refused", reason=escape(error)))
        return
    if found is None:
        st.info(t("change.none", name=escape(contract.class_names[wanted]), count=MAX_CHANGES), icon=":material/block:")
        return
    _show_found(view, case, asked.row, found)


def _show_found(view: View, case: Case, row: Row, found: Counterfactual) -> None:
    t, contract = view.t, view.model.contract
    words = {"name": escape(contract.class_names[found.index]), "share": t.percent(found.probability)}
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
