"""What changed: a table of features or scores, the distribution of the chosen one, and what is wrong with the data."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import streamlit as st

from mlops_project.contract import Contract
from mlops_project.monitoring.repeats import describe_repeats
from mlops_project.monitoring.report.summary import format_minute, format_p, to_sentence
from mlops_project.monitoring.results import Drift, Evaluation, FeatureDrift
from mlops_project.reference.profile import VALUE
from mlops_project.ui.address import note, recall
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate
from mlops_project.ui.monitoring.charts import draw_bins
from mlops_project.ui.monitoring.evaluations import list_features, list_scores
from mlops_project.ui.reasons import explain

FEATURE, TABLE, SUBJECT = "monitored feature", "monitored features", "monitored subject"
BY_HAND = "monitored by hand"  # for which subjects the visitor chose; else the most important change is shown
MAX_FAULTS, MAX_FIRST = 10, 3
MAX_ROWS, TABLE_HEIGHT = 10, 387  # pixels: ten rows and their heading


@st.fragment
def show_changes(newest: Evaluation, first: Mapping[str, str], contract: Contract, t: Translate) -> None:
    """Draw the section; a choice in it draws only this section again.

    Parameters
    ----------
    first
        From ``monitoring.find_first_changes``.
    contract
        Names classes and units.
    """
    st.header(t("what.changed"), anchor=False)
    drift = newest.drift
    if not drift.features:
        st.info(
            f"{t('what.none')} {escape(to_sentence(explain(drift.reasons, drift.reason, t)))}", icon=":material/visibility_off:"
        )
        return
    if first:
        earliest = [f"**{escape(name)}** ({format_minute(start)})" for name, start in list(first.items())[:MAX_FIRST]]
        st.markdown(t("first", names=", ".join(earliest)))
    words = {"features": t("what.features"), "scores": t("what.scores")}
    subject = _choose_subject(words, t("what.changed")) if drift.scores else "features"
    st.caption(t("what.lead"))
    if subject == "features":
        items, frame = drift.features, list_features(drift.features, first, t)
    else:
        items = name_scores(drift.scores, contract)
        frame = list_scores(items, t)
    units = {feature.name: feature.unit for feature in contract.features} if subject == "features" else {}
    _show_choice(frame, items, subject, newest.end, units, t)
    _show_aspects(drift, t)
    _show_faults(drift.features, t)


def _show_choice(
    frame: Any, items: Sequence[FeatureDrift], subject: str, window: str, units: Mapping[str, str | None], t: Translate
) -> None:
    """Draw the table of features or scores, and the one that is chosen in it or in the list below.

    Parameters
    ----------
    frame
        The table, a row per item.
    window
        What the table's own choice is kept for.
    """
    names = [item.name for item in items]
    table, choice = f"{TABLE}/{subject}/{window}", f"{FEATURE}/{subject}"
    if choice not in st.session_state and recall("feature", names, "") in names:
        st.session_state[choice] = recall("feature", names, names[0])
        _note_choice(subject)
    if st.session_state.get(choice) not in names or subject not in st.session_state.get(BY_HAND, ()):
        st.session_state[choice] = names[0]
    st.dataframe(
        frame,
        key=table,
        hide_index=True,
        width="stretch",
        height=TABLE_HEIGHT if len(items) > MAX_ROWS else "auto",
        placeholder="",
        column_config=_describe_columns(t),
        on_select=partial(_choose, table, choice, names, subject),
        selection_mode="single-row",
    )
    left, right = st.columns([1, 2], gap="large")
    with left:
        st.selectbox(t("distribution"), names, key=choice, on_change=_note_choice, args=(subject,))
        item = next(item for item in items if item.name == st.session_state[choice])
        if subject in st.session_state.get(BY_HAND, ()):
            note("feature", item.name, "")
        _show_comparison(item, t)
    with right:
        st.altair_chart(draw_bins(item.bins, item.name, units.get(item.name) or "", t), width="stretch")


def name_scores(scores: Sequence[FeatureDrift], contract: Contract) -> tuple[FeatureDrift, ...]:
    """Return scores under the names that people know: the class's, for a regression the target's."""
    names = dict(zip(map(str, contract.classes), contract.class_names, strict=False)) or {VALUE: contract.target}
    return tuple(msgspec.structs.replace(score, name=names.get(score.name, score.name)) for score in scores)


def _choose_subject(words: dict[str, str], label: str) -> str:
    chosen = st.segmented_control(
        label,
        list(words),
        default=recall("subject", words, "features"),
        required=True,
        key=SUBJECT,
        format_func=words.__getitem__,
        label_visibility="collapsed",
    )
    note("subject", chosen or "features", "features")
    return chosen or "features"


def _choose(table: str, choice: str, names: list[str], subject: str) -> None:
    rows = st.session_state[table]["selection"]["rows"]
    if rows:
        st.session_state[choice] = names[rows[0]]
        _note_choice(subject)


def _note_choice(subject: str) -> None:
    st.session_state[BY_HAND] = {*st.session_state.get(BY_HAND, ()), subject}


def _describe_columns(t: Translate) -> dict[str, Any]:
    number, share = st.column_config.NumberColumn, partial(st.column_config.NumberColumn, format="percent")
    return {
        t("first.changed"): st.column_config.TextColumn(help=t("first.changed.help")),
        t("distance"): number(format="%.3f", help=t("distance.help")),
        t("tolerated"): number(format="%.3f", help=t("tolerated.help")),
        t("weight"): share(help=t("weight.help")),
        **{t(key): share() for key in ("missing.share", "out.of.range", "unseen")},
    }


def _show_comparison(item: FeatureDrift, t: Translate) -> None:
    numbers = {"distance": item.jensen_shannon, "limit": item.threshold, "psi": item.psi}
    figures = {name: t.localise(f"{number:.3f}") for name, number in numbers.items()}
    st.caption(t("bins.lead", test=escape(item.test), p=escape(t.localise(format_p(item.p_adjusted))), **figures))


def _show_aspects(drift: Drift, t: Translate) -> None:
    """Name what single values do not show: pairs, segments, texts, dates, and copies of rows."""
    changes = [found.change for found in drift.aspects if found.drifted and found.change]
    copies = describe_repeats(drift.repeats)
    if not changes and not copies:
        return
    st.subheader(t("aspects"), anchor=False)
    lines = [f"- {escape(explain((change,), '', t))}" for change in (*changes[:MAX_FAULTS], *copies)]
    if len(changes) > MAX_FAULTS:
        lines.append(f"- {t('faults.more', count=len(changes) - MAX_FAULTS)}")
    st.markdown("\n".join(lines))


def _show_faults(features: Sequence[FeatureDrift], t: Translate) -> None:
    faulty = [item for item in features if item.quality]
    if not faulty:
        return
    st.subheader(t("faults"), anchor=False)
    said = [(item.name, explain(item.faults, "; ".join(item.quality), t)) for item in faulty[:MAX_FAULTS]]
    lines = [f"- **{escape(name)}**: {escape(faults)}" for name, faults in said]
    if len(faulty) > MAX_FAULTS:
        lines.append(f"- {t('faults.more', count=len(faulty) - MAX_FAULTS)}")
    st.markdown("\n".join(lines))
