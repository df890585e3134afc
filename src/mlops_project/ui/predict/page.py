"""Predict: enter a case, see the answer, why, and what would change it."""

from typing import Any, cast

import numpy as np
import pandas as pd
import streamlit as st

from mlops_project.client.http import ServerError
from mlops_project.client.model_server import ModelServer
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.explanation import Explanation
from mlops_project.names import shorten
from mlops_project.ui import charts
from mlops_project.ui.address import CASE, MAX_LINK, read_case, write_link
from mlops_project.ui.document import announce, press_on_enter
from mlops_project.ui.drawing import PERCENT
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate, format_value
from mlops_project.ui.predict.answers import Answer, Asked, ask, compute_what_if, explain, is_measured
from mlops_project.ui.predict.form import FEW, MAX_WORD, Case, find_features, find_outside, show_inputs
from mlops_project.ui.reference import Row, take_row
from mlops_project.ui.typed import InputError, read_number
from mlops_project.ui.view import View, open_view

ANSWER, DRAWS, FEEDBACK, OPENED = "answer", "draws", "feedback sent", "opened link"
MAX_NAMES = 10  # of inputs that a message lists


def show() -> None:
    """Draw the page."""
    view = open_view()
    case = Case(view.model, st.session_state, view.t("decimal"))
    case.read()
    unused = _open_link(view, case)
    contract, t = view.model.contract, view.t
    st.title(t("page.predict"))
    st.markdown(t("predict.lead", model=escape(view.model.name), target=escape(contract.target)))
    if unused:
        names = ", ".join(escape(name[:MAX_WORD]) for name in unused[:MAX_NAMES])
        st.warning(t("link.unused", names=names), icon=":material/link_off:")
    _show_fillers(view, case)
    left, right = st.columns([3, 2], gap="large")
    with right:  # first: the answer need not wait for the inputs to be drawn
        asked = _show_result(view, case)
    with left:
        _show_form(view, case, asked)
    if asked is not None:
        with right:
            _show_why(view, asked)
            _show_what_if(view, asked)


def _show_fillers(view: View, case: Case) -> None:
    t, contract, reference = view.t, view.model.contract, view.model.reference
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if reference is not None:
            note = t("fill.drawn" if reference.drawn else "fill.help")
            st.button(t("fill"), icon=":material/casino:", on_click=_fill, args=(view, case, None), help=note)
            if contract.is_classification and reference.truth is not None:
                st.selectbox(
                    t("example"),
                    range(len(contract.classes)),
                    index=None,
                    key="example",
                    format_func=lambda index: contract.class_names[index],
                    placeholder=t("example.of"),
                    label_visibility="collapsed",
                    on_change=_fill_example,
                    args=(view, case),
                    width=260,
                )
        st.button(t("reset"), icon=":material/restart_alt:", on_click=_fill_default, args=(view, case))
        with st.popover(t("link"), icon=":material/link:"):
            _show_link(view, case)


def _open_link(view: View, case: Case) -> list[str]:
    """Fill the form with the case that the address brings, once; return the names in it that could not be used."""
    text, state = st.query_params.get(CASE), st.session_state
    if text is None:
        return []
    name, contract = view.model.name, view.model.contract
    opened = state.get(OPENED)
    if opened is None or opened[:2] != (name, text):
        row, unused = read_case(text, contract)
        case.set(row)
        state.pop(ANSWER, None)
        opened = state[OPENED] = (name, text, row, unused)
    if case.row != opened[2]:  # the address no longer tells what is shown
        del st.query_params[CASE]
        return []
    return list(opened[3])


def _show_link(view: View, case: Case) -> None:
    t, problems = view.t, case.find_problems(view.t)
    page = (st.context.url or "").partition("?")[0]
    link = write_link(page, view.model.name, case.row, view.model.contract)
    st.caption(t("link.lead"))
    if problems:
        st.info(t("unread.count", count=len(problems)))
    elif len(link) > MAX_LINK:
        st.info(t("link.long", length=len(link), limit=MAX_LINK))
    else:
        st.code(link, language=None, wrap_lines=True)


def _fill(view: View, case: Case, wanted: int | None) -> None:
    """Put a reference row into the form, of a class if one is wanted, another one each time."""
    reference = view.model.reference
    if reference is None:
        return
    rows = np.arange(len(reference)) if wanted is None or reference.truth is None else np.flatnonzero(reference.truth == wanted)
    if not len(rows):
        return
    draws = st.session_state[DRAWS] = st.session_state.get(DRAWS, 0) + 1
    order = np.random.default_rng(len(rows)).permutation(rows)
    row = take_row(reference, int(order[draws % len(rows)]), view.model.contract)
    case.set(row)
    st.session_state.pop(ANSWER, None)


def _fill_example(view: View, case: Case) -> None:
    wanted = st.session_state.get("example")
    if wanted is not None:
        _fill(view, case, int(wanted))
    st.session_state["example"] = None


def _fill_default(view: View, case: Case) -> None:
    case.set(view.model.contract.example_row())
    st.session_state.pop(ANSWER, None)


def _show_form(view: View, case: Case, asked: Asked | None) -> None:
    t, contract = view.t, view.model.contract
    wanted = ""
    if len(contract.features) > FEW:
        wanted = st.text_input(
            t("search"), key="search", type="search", placeholder=t("search"), label_visibility="collapsed", live=True
        )
    with st.container(key="inputs", border=True):
        show_inputs(case, contract, t, wanted or "")
        if wanted:
            shown = len(find_features(contract, wanted))
            st.caption(t("search.count", shown=shown, all=len(contract.features)))
    with st.container(key="ask", horizontal=True, vertical_alignment="center"):  # stays in sight: see style.css
        st.button(t("predict"), type="primary", icon=":material/play_arrow:", on_click=_ask, args=(view, case), key="predict")
        st.markdown(_sum_up(view, case, asked))
    press_on_enter("inputs", "predict")


def _sum_up(view: View, case: Case, asked: Asked | None) -> str:
    """Return the answer in a few words: on a phone, and with many inputs, the whole of it is out of sight."""
    t, contract, answer = view.t, view.model.contract, asked and asked.answer
    count = len(case.find_problems(t))
    if count:
        return f":red[{t('unread.count', count=count)}]"
    if not answer:
        return ""
    if answer.value is not None:
        return f"**{t.number(answer.value)}**"
    return f"**{escape(contract.class_names[answer.index])}** · {t.percent(answer.probabilities[answer.index])}"


def _ask(view: View, case: Case) -> None:
    case.read()
    if not case.find_problems(view.t):
        st.session_state[ANSWER] = ask(view.model, view.server, case.row)


def _show_result(view: View, case: Case) -> Asked | None:
    """Draw the answer; returns what there is to explain."""
    t, problems = view.t, case.find_problems(view.t)
    if problems:
        lines = [f"- **{escape(name)}**: {problem}" for name, problem in problems.items()]
        st.error("\n".join([t("unread"), "", *lines]), icon=":material/error:")
        return None
    asked = st.session_state.get(ANSWER)
    if asked is None or asked.digest != view.model.digest:
        st.info(t("result.none" if asked is None else "result.stale"), icon=":material/arrow_back:")
        return None
    if asked.row != case.row:
        st.info(t("result.changed"), icon=":material/arrow_back:")
        return None
    answer: Answer | None = asked.answer
    if answer is None:
        st.error(t("refused", reason=escape(asked.problem)), icon=":material/error:")
        return None
    _show_answer(view, answer)
    outside = find_outside(asked.row, view.model.contract, t)
    if outside:
        st.warning("\n".join([t("outside"), "", *(f"- {line}" for line in outside)]), icon=":material/warning:")
    _show_feedback(view, answer)
    return cast("Asked", asked)


def _show_answer(view: View, answer: Answer) -> None:
    t, contract = view.t, view.model.contract
    if answer.value is not None:
        said = f"{contract.target}: {t.number(answer.value)}"
        st.metric(escape(contract.target), t.number(answer.value))
    else:
        name = contract.class_names[answer.index]
        said = f"{t('result')}: {name}, {t('probability')} {t.percent(answer.probabilities[answer.index])}"
        st.metric(t("result"), " ".join(name.split()))
        order = np.argsort(-np.array(answer.probabilities), kind="stable")[:12].tolist()
        names, shares = [contract.class_names[i] for i in order], [answer.probabilities[i] for i in order]
        st.altair_chart(charts.draw_probabilities(names, shares, order.index(answer.index), t), width="stretch")
        if contract.threshold is not None:
            st.caption(t("decided", name=escape(contract.class_names[1]), share=t.percent(contract.threshold)))
    announce(said, answer.seconds)
    words = {"version": escape(answer.version), "ms": t.number(1000 * answer.seconds, 3), "id": answer.id}
    st.caption(t("answered.unlogged" if answer.origin == "server" and not answer.id else f"answered.{answer.origin}", **words))


def _show_why(view: View, asked: Asked) -> None:
    t, contract, reference = view.t, view.model.contract, view.model.reference
    answer = asked.answer
    if answer is None or reference is None:
        return
    st.header(t("why"), anchor=False)
    output = max(answer.index, 0)
    if len(contract.classes) > 2:
        options = range(len(contract.classes))
        output = st.selectbox(
            t("why.class"), options, index=answer.index, format_func=lambda index: contract.class_names[index]
        )
    try:
        found = explain(view.model, asked.row, output)
    except ContractError as error:
        st.info(t("why.unknown", reason=escape(error)))
        return
    if found is not None:
        _draw_why(view, asked.row, found, output)


def _draw_why(view: View, row: Row, found: Explanation, output: int) -> None:
    t, contract = view.t, view.model.contract
    labels = [f"{shorten(item.name, 22)} ({shorten(format_value(row[item.name], item, t), 16)})" for item in contract.features]
    is_share = contract.is_classification
    axis = t("probability.of", name=shorten(contract.class_names[output])) if is_share else contract.target
    form = PERCENT if is_share else charts.DIGITS
    steps = charts.list_steps(labels, found.contributions, found.base, t("others", count=len(labels) - charts.MAX_STEPS))
    chart = charts.draw_waterfall(steps, axis, form, t)
    st.altair_chart(chart, width="stretch")
    largest = float(found.errors.max())
    error = f"{t.number(100 * largest, 2)}%" if is_share else t.number(largest, 2)
    st.caption(f"{t('why.lead', rows=found.rows)} {t('why.error', walks=found.walks, error=error)}")


def _show_what_if(view: View, asked: Asked) -> None:
    t, contract = view.t, view.model.contract
    if view.model.runtime is None:
        return
    st.header(t("whatif"), anchor=False)
    key, by_hand = f"what if/{view.model.name}", f"what if by hand/{view.model.name}"
    if not st.session_state.get(by_hand):
        st.session_state[key] = _find_top_contributor(view, asked)
    name = st.selectbox(
        t("whatif.feature"), contract.names, key=key, on_change=lambda: st.session_state.update({by_hand: True})
    )
    try:
        curve = compute_what_if(view.model, asked.row, name, t.code)
    except ContractError as error:
        st.info(t("refused", reason=escape(error)))
        return
    if curve is not None:
        _draw_what_if(view, curve, contract.feature(name), asked.row[name])


def _find_top_contributor(view: View, asked: Asked) -> str:
    """Return the input that moves this answer most; the first one where that cannot be computed."""
    names = view.model.contract.names
    try:
        found = explain(view.model, asked.row, max(asked.answer.index, 0)) if asked.answer else None
    except ContractError:
        found = None
    return names[0] if found is None else names[int(np.abs(found.contributions).argmax())]


def _draw_what_if(view: View, curve: pd.DataFrame, feature: Feature, current: Any) -> None:
    t, contract = view.t, view.model.contract
    series = list(dict.fromkeys(curve["series"]))
    kind: charts.Kind = "nominal" if not is_measured(feature) else "temporal" if feature.type == "datetime" else "quantitative"
    if not contract.is_classification:
        y = contract.target
    else:
        y = t("probability.of", name=shorten(series[0])) if len(series) == 1 else t("probability")
    here = format_value(current, feature, t) if kind == "nominal" else current
    st.altair_chart(charts.draw_curves(curve, here, (shorten(feature.name), y), kind, series, t), width="stretch")
    st.caption(t("whatif.lead.choices" if kind == "nominal" else "whatif.lead"))


def _show_feedback(view: View, answer: Answer) -> None:
    if not answer.id or view.server is None:
        return
    t, contract = view.t, view.model.contract
    sent_id, problem = st.session_state.get(FEEDBACK, ("", ""))
    if sent_id == answer.id and not problem:
        st.success(t("feedback.done"), icon=":material/check:")
        return
    with st.expander(t("feedback"), icon=":material/rate_review:", expanded=sent_id == answer.id):
        with st.form("feedback", border=False):
            st.caption(t("feedback.lead"))
            key = f"truth/{answer.id}"
            if contract.is_classification:
                names, options = contract.class_names, range(len(contract.classes))
                st.selectbox(
                    t("feedback"),
                    options,
                    None,  # a preset one would be sent unseen
                    key=key,
                    format_func=names.__getitem__,
                    placeholder=t("feedback.choose"),
                    label_visibility="collapsed",
                )
            else:
                st.text_input(t("feedback"), key=key, placeholder=t("feedback.type"), label_visibility="collapsed")
            st.form_submit_button(t("feedback.send"), on_click=_send_label, args=(view.server, contract, answer.id, key, t))
        if sent_id == answer.id:
            st.error(t("failed", reason=escape(problem)))


def _send_label(server: ModelServer, contract: Contract, prediction_id: str, key: str, t: Translate) -> None:
    truth = st.session_state[key]
    try:
        if truth is None or truth == "":
            raise InputError("feedback.needed")
        label = contract.classes[truth] if contract.is_classification else read_number(truth, t("decimal"))
        server.send_labels([(prediction_id, label)]).checked()
    except InputError as error:
        st.session_state[FEEDBACK] = (prediction_id, t(error.key, **error.words))
    except ServerError as error:
        st.session_state[FEEDBACK] = (prediction_id, str(error))
    else:
        st.session_state[FEEDBACK] = (prediction_id, "")


if __name__ == "__main__":
    show()
