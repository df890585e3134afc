"""Batch: a file is checked, scored with progress, summarised and given back."""

from typing import Any, cast

import pandas as pd
import streamlit as st

from mlops_project.contract import Contract
from mlops_project.errors import ContractError, DataError
from mlops_project.names import shorten
from mlops_project.scoring.files import SpreadsheetError, TableFile
from mlops_project.scoring.local import Check, Summary, check_file
from mlops_project.ui import charts
from mlops_project.ui.batch.score import Key, Result, score_upload
from mlops_project.ui.catalogue import Model
from mlops_project.ui.format import escape
from mlops_project.ui.inputs import describe_inputs, make_template
from mlops_project.ui.language import Translate
from mlops_project.ui.view import View, open_view, require_bundle

CHECKED, SCORED = "batch check", "batch result"
PREVIEW_ROWS = 50


def show() -> None:
    """Draw the page."""
    view = open_view(answers_here=True)
    t = view.t
    st.title(t("page.batch"))
    require_bundle(view)
    st.markdown(t("batch.lead"))
    size = st.get_option("server.maxUploadSize")
    upload = st.file_uploader(t("batch.upload", size=size), key="upload")  # of any kind: a wrong one gets a sentence
    contract = view.model.contract
    with st.expander(t("batch.columns"), icon=":material/view_column:", expanded=False):
        st.dataframe(describe_inputs(contract, t), hide_index=True, width="stretch")
        st.download_button(
            t("batch.template"),
            make_template(contract, t),
            "template.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
    if upload is None:
        for name in (CHECKED, SCORED):
            st.session_state.pop(name, None)
        return
    key = Key(upload.file_id, view.model.digest)
    check = _check(view, upload, key)
    if check is not None and _show_check(check, t):
        _score(view, upload, key, check)


def _check(view: View, upload: Any, key: Key) -> Check | None:
    """Check a file once per upload and model; None if it cannot be read."""
    known = st.session_state.get(CHECKED)
    if known is None or known[0] != key:
        known = st.session_state[CHECKED] = (key, _run_check(view, upload))
    if isinstance(known[1], DataError):
        t, spreadsheet = view.t, isinstance(known[1], SpreadsheetError)
        words = t("batch.spreadsheet") if spreadsheet else t("batch.unreadable", reason=escape(known[1]))
        st.error(words, icon=":material/error:")
        return None
    return cast("Check", known[1])


def _run_check(view: View, upload: Any) -> Check | DataError:
    """Return what the check found, or why the file cannot be read."""

    def progress(rows: int) -> None:
        bar.progress(min(1.0, upload.tell() / max(1, upload.size)), view.t("batch.checking", rows=rows))

    bar = st.progress(0.0, view.t("batch.checking", rows=0))
    try:
        return check_file(TableFile(upload, view.model.contract, view.model.layout), view.model.contract, progress)
    except DataError as error:
        return error
    finally:
        bar.empty()


def _show_check(check: Check, t: Translate) -> bool:
    """Say what is wrong; returns whether rows of the file can be scored."""
    if check.problems:
        count = len(check.problems)
        if check.bad < check.rows:
            st.warning(t("batch.some", rows=check.bad, all=check.rows), icon=":material/rule:")
        else:
            st.error(t("batch.problem" if count == 1 else "batch.problems", count=count), icon=":material/error:")
        rows = [
            {
                t("column"): problem.column or t("all.rows"),
                t("problem"): problem.message,
                t("rows"): problem.count or None,
                t("first.rows"): ", ".join(map(str, problem.rows)),
            }
            for problem in check.problems
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
        return check.bad < check.rows
    st.success(t("batch.good", rows=check.rows), icon=":material/check_circle:")
    if check.extra:
        names = ", ".join(escape(shorten(name)) for name in check.extra[:10])
        st.caption(t("batch.extra", names=names + (" …" if len(check.extra) > 10 else "")))
    if check.left_out:
        st.caption(t("batch.left_out", lines=" · ".join(escape(shorten(line.strip())) for line in check.left_out)))
    if check.outside:
        with st.expander(t("batch.outside"), icon=":material/warning:"):
            frame = pd.DataFrame({t("column"): list(check.outside), t("rows"): list(check.outside.values())})
            st.dataframe(frame, hide_index=True, width="stretch")
    return True


def _score(view: View, upload: Any, key: Key, check: Check) -> None:
    t = view.t
    result = st.session_state.get(SCORED)
    if result is not None and result.key != key:
        result = None
    words = {"rows": check.rows - check.bad, "bad": check.bad}
    label = t("batch.score.others", **words) if check.bad else t("batch.score", rows=check.rows)
    if st.button(label, type="primary", icon=":material/play_arrow:"):
        result = _run(view.model, upload, key, check, t)
        st.session_state[SCORED] = result
    if result is not None:
        _show_result(result, view.model.contract, t)


def _run(model: Model, upload: Any, key: Key, check: Check, t: Translate) -> Result | None:
    def progress(rows: int) -> None:
        bar.progress(min(1.0, rows / check.rows), t("batch.scoring", rows=rows, all=check.rows))

    bar = st.progress(0.0, t("batch.scoring", rows=0, all=check.rows))
    try:
        return score_upload(upload, upload.name, key, model, progress, skip_bad=check.bad > 0)
    except (DataError, ContractError) as error:
        st.error(t("refused", reason=escape(error)), icon=":material/error:")
        return None
    finally:
        bar.empty()


def _show_result(result: Result, contract: Contract, t: Translate) -> None:
    summary = result.summary
    speed = summary.rows / max(result.seconds, 1e-9)
    words = {"rows": summary.rows, "seconds": t.number(result.seconds, 3), "speed": round(speed)}
    st.success(t("batch.done", **words), icon=":material/done_all:")
    st.download_button(
        t("batch.download"),
        lambda: result.path.open("rb"),
        result.path.name,
        icon=":material/download:",
        type="primary",
        on_click="ignore",
    )
    bad_path = result.bad_path
    if bad_path is not None:
        st.warning(t("batch.bad", rows=summary.bad), icon=":material/rule:")
        st.download_button(
            t("batch.bad.download"), lambda: bad_path.open("rb"), bad_path.name, icon=":material/download:", on_click="ignore"
        )
    if summary.abstained is not None:
        words = {"rows": summary.abstained, "share": t.percent(summary.abstained / max(summary.rows, 1))}
        st.markdown(t("batch.abstained", **words))
    if result.path.name.endswith(".csv"):
        st.caption(t("batch.formulas"))
    _draw_answers(summary, contract, t)
    shown = min(PREVIEW_ROWS, len(summary.sample))
    st.header(t("batch.preview", rows=shown), anchor=False)
    st.dataframe(summary.sample.head(shown), hide_index=True, width="stretch")


def _draw_answers(summary: Summary, contract: Contract, t: Translate) -> None:
    histogram = summary.edges, summary.histogram.tolist()
    if not contract.is_classification:
        st.header(t("batch.values"), anchor=False)
        st.altair_chart(charts.draw_histogram(*histogram, (contract.target, t("rows")), ",.4~g", t), width="stretch")
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.header(t("batch.classes"), anchor=False)
        titles = t("batch.classes"), t("rows")
        st.altair_chart(charts.draw_bars(contract.class_names, summary.counts.tolist(), titles, t), width="stretch")
    with right:
        st.header(t("batch.sureness"), anchor=False)
        titles = t("batch.sureness"), t("rows")
        st.altair_chart(charts.draw_histogram(*histogram, titles, ".0%", t), width="stretch")


if __name__ == "__main__":
    show()
