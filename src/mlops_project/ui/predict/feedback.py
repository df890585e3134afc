"""What was it really: the true answer of a prediction that was logged, sent to the model server."""

import streamlit as st

from mlops_project.client.http import ServerError
from mlops_project.client.model_server import ModelServer
from mlops_project.contract import Contract
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate
from mlops_project.ui.predict.answers import Answer
from mlops_project.ui.typed import InputError, read_number
from mlops_project.ui.view import View

FEEDBACK = "feedback sent"


def show_feedback(view: View, answer: Answer) -> None:
    """Draw what asks for the true answer; nothing if the prediction was not logged."""
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
