"""Predict: enter a case, see the answer, why, and what would change it."""

from typing import cast

import numpy as np
import streamlit as st

from mlops_project.names import shorten
from mlops_project.ui import charts
from mlops_project.ui.address import CASE, MAX_LINK, read_case, write_link
from mlops_project.ui.document import announce, press_on_enter
from mlops_project.ui.format import escape
from mlops_project.ui.predict.answers import ANSWER, Answer, Asked, Sure, ask
from mlops_project.ui.predict.change import show_change
from mlops_project.ui.predict.copying import write_curl, write_python, write_request
from mlops_project.ui.predict.feedback import show_feedback
from mlops_project.ui.predict.form import FEW, MAX_WORD, Case, find_features, find_outside, show_inputs
from mlops_project.ui.predict.history import note_answer, show_history
from mlops_project.ui.predict.reasons import show_what_if, show_why
from mlops_project.ui.reference import take_row
from mlops_project.ui.view import View, open_view

DRAWS, OPENED = "draws", "opened link"
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
            show_why(view, asked)
            show_what_if(view, asked)
            show_change(view, case, asked)
    show_history(view, case)


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
        with st.popover(t("code"), icon=":material/code:"):
            _show_code(view, case)


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


def _show_code(view: View, case: Case) -> None:
    t, problems = view.t, case.find_problems(view.t)
    if problems:
        st.info(t("unread.count", count=len(problems)))
        return
    st.caption(t("code.curl"))
    st.code(write_curl(view.model, view.server, case.row), language=None, wrap_lines=True)
    st.caption(t("code.http"))
    st.code(write_request(view.model, view.server, case.row), language=None, wrap_lines=True)
    if view.model.bundle is not None:
        st.caption(t("code.python"))
        st.code(write_python(view.model.bundle, case.row, view.config.proof.trusted_types), language=None, wrap_lines=True)


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
        asked = st.session_state[ANSWER] = ask(view.model, view.server, case.row)
        note_answer(view.model, asked)


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
    _show_doubts(view, asked, answer.sure)
    show_feedback(view, answer)
    return cast("Asked", asked)


def _show_sure(view: View, sure: Sure) -> str:
    """Say how sure the model is; return it without marks, for screen readers."""
    t = view.t
    words = {"coverage": t.percent(sure.coverage, 0)}
    if sure.lower is not None and sure.upper is not None:
        text = t("sure.interval", low=t.number(sure.lower), high=t.number(sure.upper), **words)
    elif len(sure.classes) == 1:
        text = t("sure.one", name=escape(shorten(sure.classes[0])), **words)
    else:
        names = ", ".join(escape(shorten(name)) for name in sure.classes[:MAX_NAMES])
        text = t("sure.set", count=len(sure.classes), names=names + (" …" if len(sure.classes) > MAX_NAMES else ""), **words)
    st.markdown(text)
    return f"{text} {t('abstain')}".replace("**", "") if sure.abstain else text.replace("**", "")


def _show_doubts(view: View, asked: Asked, sure: Sure | None) -> None:
    """Say which values training did not show, and whether a person should decide."""
    t, contract = view.t, view.model.contract
    outside = find_outside(asked.row, contract, t)
    if outside:
        st.warning("\n".join([t("outside"), "", *(f"- {line}" for line in outside)]), icon=":material/warning:")
    if sure is not None and sure.abstain:
        full = contract.is_classification and len(sure.classes) == len(contract.classes)
        st.warning(f"**{t('abstain')}** {t('abstain.full' if full else 'abstain.far')}", icon=":material/person_raised_hand:")


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
    if answer.sure is not None:
        said += f". {_show_sure(view, answer.sure)}"
    announce(said, answer.seconds)
    words = {"version": escape(answer.version), "ms": t.number(1000 * answer.seconds, 3), "id": answer.id}
    st.caption(t("answered.unlogged" if answer.origin == "server" and not answer.id else f"answered.{answer.origin}", **words))


if __name__ == "__main__":
    show()
