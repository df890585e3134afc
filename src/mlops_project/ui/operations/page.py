"""Operations: what is served now, how the aliases moved, and moving them."""

import pandas as pd
import streamlit as st

from mlops_project.client.http import ServerError
from mlops_project.errors import ConfigError, MLOpsError, TrackingError
from mlops_project.serving.settings import MIN_KEY_LENGTH
from mlops_project.ui.catalogue import SERVER_VARIABLE, find_server
from mlops_project.ui.clock import list_moment
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate
from mlops_project.ui.operations.traffic import Traffic, summarise
from mlops_project.ui.registry import KEYS_VARIABLE, Registered, forget_registry, has_admin_key, is_admin, read_registry
from mlops_project.ui.view import View, choose_language, open_view, write_command

REFRESH_SECONDS = 5.0
PENDING, OUTCOME = "pending change", "outcome of the change"
MAX_MOVES = 100


def show() -> None:
    """Draw the page."""
    view = open_view()
    t = view.t
    st.title(t("page.operations"))
    st.markdown(t("operations.lead"))
    st.header(t("served.now"), anchor=False)
    _show_served()
    try:
        registered = read_registry(view.config, view.model.name)
    except TrackingError as error:
        st.warning(t("registry.down", reason=escape(error)), icon=":material/cloud_off:")
        return
    st.header(t("audit"), anchor=False)
    _show_moves(registered, t)
    st.header(t("change"), anchor=False)
    _show_change(view, registered)


@st.fragment(run_every=REFRESH_SECONDS)
def _show_served() -> None:
    t, server = choose_language(), find_server()
    if server is None:
        st.info(t("served.none", up=write_command("up"), variable=SERVER_VARIABLE), icon=":material/dns:")
        return
    try:
        models, traffic = server.list_models(), summarise(server.read_metrics())
    except ServerError as error:
        st.error(t("failed", reason=escape(error)), icon=":material/cloud_off:")
        return
    rows = [
        {
            t("model"): item.name,
            t("number"): item.version,
            t("role"): ", ".join(t(alias) for alias in item.aliases if alias in ("champion", "challenger")),
            t("estimator"): item.estimator,
            **list_moment(t("since"), traffic.loaded.get((item.name, next(iter(item.aliases), "")), ""), t),
        }
        for item in models
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    _show_traffic(traffic, t)
    st.caption(t("refreshed", seconds=f"{REFRESH_SECONDS:g}"))


def _show_traffic(traffic: Traffic, t: Translate) -> None:
    latency = "-" if traffic.latency_seconds is None else f"≤ {t.number(1000 * traffic.latency_seconds, 3)} ms"
    failed = t.percent(traffic.failed / traffic.requests, 2) if traffic.requests else "-"
    with st.container(horizontal=True):
        st.metric(t("requests"), t.number(traffic.requests), help=t("requests.help"), border=True)
        st.metric(t("predictions"), t.number(traffic.rows), border=True)
        st.metric(t("latency"), latency, help=t("latency.help"), border=True)
        st.metric(t("errors"), failed, help=t("errors.help"), border=True)
        st.metric(t("refusals"), t.number(traffic.refused), border=True)
    if traffic.reload_failed:
        st.warning(t("reload.failed"), icon=":material/sync_problem:")
    if traffic.lost:
        st.warning(f"{t('log.lost')}: {t.number(traffic.lost)}", icon=":material/edit_off:")


def _show_moves(registered: Registered, t: Translate) -> None:
    for stray in registered.strays:
        st.warning(escape(stray), icon=":material/warning:")
    if not registered.moves:
        st.caption(t("audit.empty"))
        return
    rows = [
        {
            **list_moment(t("when"), move.at, t),
            t("alias"): t(move.alias) if move.alias in ("champion", "challenger") else move.alias,
            t("move"): f"{'-' if move.source is None else move.source} → {move.target}",
            t("action"): move.action,
            t("who"): move.user,
            t("reason"): move.reason,
        }
        for move in registered.moves[:MAX_MOVES]
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def _show_change(view: View, registered: Registered) -> None:
    t = view.t
    try:
        has_key = has_admin_key(view.config)
    except ConfigError as error:
        st.error(t("change.keys", reason=escape(error)), icon=":material/key_off:")
        return
    if not has_key:
        st.info(t("change.nokey", variable=KEYS_VARIABLE, length=MIN_KEY_LENGTH), icon=":material/lock:")
        return
    if view.model.name != view.config.model.name:  # whose gates and table would judge it
        st.info(t("change.other"), icon=":material/lock:")
        return
    outcome = st.session_state.pop(OUTCOME, None)
    if outcome is not None:
        (st.success if outcome[0] else st.warning)(outcome[1])
    key = st.text_input(t("key"), type="password", key="admin key", autocomplete="off")
    if not key:
        return
    if not is_admin(view.config, key):
        st.error(t("key.wrong"), icon=":material/lock:")
        return
    pending = st.session_state.get(PENDING)
    if pending is None:
        _choose_change(view, registered)
    else:
        _confirm(view, registered, pending)


def _choose_change(view: View, registered: Registered) -> None:
    t, champion = view.t, registered.find("champion")
    action = st.radio(t("what"), ["promote", "rollback"], format_func=t, horizontal=True, key="action")
    numbers = [item.number for item in registered.versions if champion is None or item.number != champion.number]
    if action == "rollback":
        before = {move.target for move in registered.moves if move.alias == "champion"}
        numbers = [number for number in numbers if number in before]
    if not numbers:
        st.caption(t("no.target"))
        return
    target = st.selectbox(t("which"), numbers, key=f"target/{action}")
    force = action == "promote" and st.checkbox(t("force"), help=t("force.help"), key="force")
    reason = st.text_input(t("why.change"), key="reason", max_chars=500)
    if st.button(t("continue"), disabled=force and not reason.strip()):
        st.session_state[PENDING] = {"action": action, "target": target, "force": force, "reason": reason.strip()}
        st.rerun()


def _confirm(view: View, registered: Registered, pending: dict[str, object]) -> None:
    t, champion = view.t, registered.find("champion")
    current = "-" if champion is None else champion.number
    st.warning(t(f"confirm.{pending['action']}", target=str(pending["target"]), current=str(current)), icon=":material/help:")
    with st.container(horizontal=True):
        if st.button(t("confirm"), type="primary"):
            st.session_state.pop(PENDING, None)
            st.session_state[OUTCOME] = _apply(view, pending)
            forget_registry()
            st.rerun()
        if st.button(t("cancel")):
            st.session_state.pop(PENDING, None)
            st.rerun()


def _apply(view: View, pending: dict[str, object]) -> tuple[bool, str]:
    """Move the alias through the same functions as the commands; returns whether it moved, and what to say."""
    from mlops_project.promote import promote, rollback

    t, target, reason = view.t, str(pending["target"]), str(pending["reason"])
    try:
        if pending["action"] == "rollback":
            move = rollback(view.config, to=int(target), reason=reason)
            return True, t("done.rolledback", number=str(move.target))
        version, decision = promote(view.config, target, force=bool(pending["force"]), reason=reason)
    except MLOpsError as error:
        return False, t("failed", reason=escape(error))
    said = t(
        "done.promoted" if decision.promote else "done.refused", number=str(version.number), reason=escape(decision.reason)
    )
    return decision.promote, said


if __name__ == "__main__":
    show()
