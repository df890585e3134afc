"""The confusion matrix, whose cells open their rows."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from mlops_project.names import distinct, shorten
from mlops_project.runtime import Predictions
from mlops_project.ui import charts
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate, format_value
from mlops_project.ui.model.quality import count_confusion
from mlops_project.ui.predict.answers import ANSWER
from mlops_project.ui.predict.form import Case
from mlops_project.ui.reference import take_row
from mlops_project.ui.view import View

MAX_ROWS = 200  # of a cell
PREDICT = Path(__file__).parents[1] / "predict" / "page.py"
Cell = tuple[int, int]  # actual and predicted class


def show_matrix(view: View, predictions: Predictions, truth: npt.NDArray[Any], key: str) -> Cell | None:
    """Draw the matrix; return the cell that was chosen in it or below it.

    Parameters
    ----------
    predictions, truth
        Of the reference rows.
    key
        Of the widgets.
    """
    t, names = view.t, view.model.contract.class_names
    counts = count_confusion(predictions, truth, len(names))
    cells = list_cells(counts)
    chosen = f"cell/{key}/{view.model.digest[:12]}"
    if st.session_state.get(chosen) not in cells:
        st.session_state.pop(chosen, None)

    def take_over() -> None:
        found = read_cell(st.session_state.get(f"matrix/{key}"), names)
        if found in cells:
            st.session_state[chosen] = found

    chart = charts.draw_matrix(names, counts, t, selection=charts.CELL)
    st.altair_chart(chart, width="stretch", key=f"matrix/{key}", on_select=take_over, selection_mode=charts.CELL)
    return st.selectbox(
        t("cell.open"),
        cells,
        None,
        key=chosen,
        format_func=lambda item: _name_cell(item, counts, names, t),
        placeholder=t("cell.choose"),
    )


def list_cells(counts: npt.NDArray[np.int64]) -> list[Cell]:
    """Return the cells that have rows: the wrong ones first, then by how many rows they have."""
    filled = [(int(actual), int(predicted)) for actual, predicted in np.argwhere(counts > 0)]
    return sorted(filled, key=lambda cell: (cell[0] == cell[1], -counts[cell]))


def read_cell(event: Any, names: tuple[str, ...]) -> Cell | None:
    """Return the cell that was clicked on a chart; None if none is."""
    picked = (event or {}).get("selection", {}).get(charts.CELL) or []
    labels = distinct(names)
    try:
        return labels.index(picked[0]["actual"]), labels.index(picked[0]["predicted"])
    except (IndexError, KeyError, ValueError):
        return None


def _name_cell(cell: Cell, counts: npt.NDArray[np.int64], names: tuple[str, ...], t: Translate) -> str:
    return t("cell.name", rows=int(counts[cell]), **_describe(cell, names))


def _describe(cell: Cell, names: tuple[str, ...]) -> dict[str, str]:
    return {kind: shorten(names[index], 30) for kind, index in zip(("actual", "predicted"), cell, strict=True)}


def order_rows(predictions: Predictions, truth: npt.NDArray[Any], cell: Cell) -> npt.NDArray[np.int64]:
    """Return a cell's rows: wrong ones from the surest on, right ones from the least sure on."""
    rows = np.flatnonzero((truth == cell[0]) & (predictions.indices == cell[1]))
    shares = np.asarray(predictions.probabilities)[rows, cell[1]]
    return rows[np.argsort(shares if cell[0] == cell[1] else -shares, kind="stable")].astype(np.int64)


def show_rows(view: View, predictions: Predictions, truth: npt.NDArray[Any], cell: Cell | None, key: str) -> None:
    """Draw a cell's rows, and what opens one of them on the page Predict; nothing without a cell."""
    t, contract, reference = view.t, view.model.contract, view.model.reference
    if reference is None or cell is None:
        return
    rows = order_rows(predictions, truth, cell)[:MAX_ROWS]
    values = [take_row(reference, int(row), contract) for row in rows]
    shares = np.asarray(predictions.probabilities)[rows, cell[1]]
    title = t("probability.of", name=shorten(contract.class_names[cell[1]]))
    table = pd.DataFrame(
        [
            {
                "#": int(row) + 1,
                title: t.percent(float(share)),
                **{item.name: format_value(value[item.name], item, t) for item in contract.features},
            }
            for row, share, value in zip(rows, shares, values, strict=True)
        ]
    )
    st.header(t("cell.rows", **_describe(cell, contract.class_names)), anchor=False)
    st.caption(t("cell.lead.right" if cell[0] == cell[1] else "cell.lead.wrong"))
    event: Any = st.dataframe(
        table, hide_index=True, width="stretch", on_select="rerun", selection_mode="single-row", key=f"rows/{key}/{cell}"
    )
    picked = next(iter(event.selection.rows), 0)
    if st.button(t("cell.predict", row=escape(int(rows[picked]) + 1)), icon=":material/input:", key=f"open/{key}"):
        Case(view.model, st.session_state, t("decimal")).set(values[picked])
        st.session_state.pop(ANSWER, None)
        st.switch_page(PREDICT)
