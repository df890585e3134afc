"""What this visitor asked before, kept in the session alone, and two of these cases side by side."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from mlops_project.errors import ContractError
from mlops_project.explanation import Explanation, explain_row
from mlops_project.names import shorten
from mlops_project.scoring.formulas import neutralise_frame
from mlops_project.ui import charts
from mlops_project.ui.catalogue import Model
from mlops_project.ui.clock import list_moment
from mlops_project.ui.drawing import PERCENT
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate, format_value
from mlops_project.ui.predict.answers import CACHED, Answer, Asked
from mlops_project.ui.predict.form import Case
from mlops_project.ui.reference import Row
from mlops_project.ui.view import View

OPEN = "history open"
MAX_KEPT = 100
MAX_SHOWN_INPUTS = 8  # of those that differ


@dataclass(frozen=True)
class Entry:
    """One question that was answered.

    Attributes
    ----------
    number
        From 1, in the order of asking.
    at
        When, ISO 8601, UTC.
    row, digest, answer
        What was asked, of which model, and its answer.
    """

    number: int
    at: str
    row: Row
    digest: str
    answer: Answer


def note_answer(model: Model, asked: Asked) -> None:
    """Keep an answer; the oldest of more than ``MAX_KEPT`` go."""
    if asked.answer is None:
        return
    kept = list_entries(model)
    number = kept[-1].number + 1 if kept else 1
    entry = Entry(number, datetime.now(UTC).isoformat(timespec="seconds"), asked.row, asked.digest, asked.answer)
    st.session_state[_key(model)] = [*kept, entry][-MAX_KEPT:]


def list_entries(model: Model) -> list[Entry]:
    """Return what was asked of a model in this session, whichever version answered, the oldest first."""
    entries: list[Entry] = st.session_state.get(_key(model), [])
    return [entry for entry in entries if entry.row.keys() == set(model.contract.names)]


def _key(model: Model) -> str:
    return f"history/{model.name}"


def show_history(view: View, case: Case) -> None:
    """Draw what was asked before, newest first, and two of the cases side by side."""
    entries = list_entries(view.model)
    if not entries:
        return
    t = view.t
    box = st.expander(t("history", count=len(entries)), icon=":material/history:", key=OPEN, on_change="rerun")
    if not box.open:
        return  # what is not seen is not computed
    with box:
        st.caption(t("history.lead"))
        st.dataframe(_build_table(view, entries[::-1]), hide_index=True, width="stretch")
        with st.container(horizontal=True):
            st.download_button(
                t("history.download"),
                lambda: _write_file(view, entries),
                f"{view.model.name}-asked.csv",
                "text/csv",
                icon=":material/download:",
                on_click="ignore",
            )
            st.button(t("history.forget"), icon=":material/delete:", on_click=_forget, args=(view.model,))
        if len(entries) > 1:
            _show_pair(view, case, entries)


def _forget(model: Model) -> None:
    st.session_state.pop(_key(model), None)


def _build_table(view: View, entries: list[Entry]) -> pd.DataFrame:
    """Return the answers, and the inputs in which the cases differ."""
    t, contract = view.t, view.model.contract
    moving = [name for name in contract.names if len({repr(entry.row[name]) for entry in entries}) > 1][:MAX_SHOWN_INPUTS]
    numbered = any(entry.answer.version for entry in entries)
    return pd.DataFrame(
        [
            {
                "#": entry.number,
                **list_moment(t("when"), entry.at, t),
                t("result"): say_answer(view, entry.answer),
                t("sure"): _say_sure(entry.answer, t),
                **({t("number"): entry.answer.version} if numbered else {}),
                **{name: format_value(entry.row[name], contract.feature(name), t) for name in moving},
            }
            for entry in entries
        ]
    )


def say_answer(view: View, answer: Answer) -> str:
    """Return an answer in a few words."""
    if answer.value is not None:
        return view.t.number(answer.value)
    return f"{shorten(view.model.contract.class_names[answer.index])}, {view.t.percent(answer.probabilities[answer.index])}"


def _say_sure(answer: Answer, t: Translate) -> str:
    sure = answer.sure
    if sure is None:
        return ""
    if sure.lower is not None and sure.upper is not None:
        said = t("span", low=t.number(sure.lower), high=t.number(sure.upper))
    else:
        said = ", ".join(sure.classes)
    return f"{said} · {t('abstain.short')}" if sure.abstain else said


def _write_file(view: View, entries: list[Entry]) -> str:
    contract = view.model.contract
    rows: list[dict[str, Any]] = []
    for entry in entries:
        answer = entry.answer
        label = answer.value if answer.value is not None else contract.class_names[answer.index]
        shares = {f"probability {name}": share for name, share in zip(contract.class_names, answer.probabilities, strict=False)}
        about = {"asked at": entry.at, "model version": answer.version, "prediction id": answer.id}
        rows.append({**about, **entry.row, f"predicted {contract.target}": label, **shares})
    return neutralise_frame(pd.DataFrame(rows)).to_csv(index=False)


def _show_pair(view: View, case: Case, entries: list[Entry]) -> None:
    t, newest = view.t, entries[::-1]
    st.subheader(t("pair"), anchor=False)
    left, right = st.columns(2)
    titles = {entry.number: f"#{entry.number} · {say_answer(view, entry.answer)}" for entry in newest}
    numbers = list(titles)
    with left:
        one = st.selectbox(t("pair.one"), numbers, 0, format_func=titles.__getitem__, key="pair/one")
    with right:
        other = st.selectbox(t("pair.other"), numbers, 1, format_func=titles.__getitem__, key="pair/other")
    found = {entry.number: entry for entry in newest}
    first, second = found[one], found[other]
    st.button(t("pair.open", number=one), icon=":material/input:", on_click=case.set, args=(first.row,), key="open entry")
    contract = view.model.contract
    differing = [name for name in contract.names if first.row[name] != second.row[name]]
    if not differing:
        st.info(t("pair.same"))
        return
    rows = [
        {
            t("input"): name,
            f"#{one}": format_value(first.row[name], contract.feature(name), t),
            f"#{other}": format_value(second.row[name], contract.feature(name), t),
        }
        for name in differing
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    _explain_pair(view, first, second)


def _explain_pair(view: View, first: Entry, second: Entry) -> None:
    """Draw which inputs lead from the second case's answer to the first one's."""
    t, contract = view.t, view.model.contract
    output = max(first.answer.index, 0)
    try:
        found = explain_difference(view.model, first.row, second.row, output)
    except ContractError as error:
        st.info(t("why.unknown", reason=escape(error)))
        return
    if found is None:
        return
    is_share = contract.is_classification
    axis = t("probability.of", name=shorten(contract.class_names[output])) if is_share else contract.target
    moved = [place for place, name in enumerate(contract.names) if first.row[name] != second.row[name]]
    labels = [shorten(contract.names[place], 30) for place in moved]
    others = t("others", count=len(labels) - charts.MAX_STEPS)
    steps = charts.list_steps(labels, found.contributions[moved], found.base, others)
    ends = f"#{second.number}", f"#{first.number}"
    chart = charts.draw_waterfall(steps, axis, PERCENT if is_share else charts.DIGITS, t, ends)
    st.altair_chart(chart, width="stretch")
    st.caption(t("pair.lead", one=f"#{first.number}", other=f"#{second.number}"))


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: lambda model: model.digest})
def explain_difference(model: Model, row: Row, other: Row, output: int) -> Explanation | None:
    """Return what each input adds between another row's answer and this one's; None if the model is not here. Cached.

    Parameters
    ----------
    model
        Whose answers.
    row, other
        Feature name → value, as a form holds it.
    output
        Index of the class; not looked at for regression.

    Raises
    ------
    ContractError
        If the model has no answer for a mixture of the two.
    """
    if model.runtime is None:
        return None
    return explain_row(model.runtime, row, {name: [value] for name, value in other.items()}, output)
