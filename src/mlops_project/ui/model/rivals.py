"""Champion and challenger on the rows that they have in common, as ``mlops compare`` tells it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from mlops_project.config import Config
from mlops_project.errors import MLOpsError
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate
from mlops_project.ui.view import View

if TYPE_CHECKING:
    from mlops_project.modeling.differences import Differences

CACHED = 4
ASKED = "compared versions"


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Config: lambda config: str(config.file)})
def compare_versions(config: Config, name: str, versions: tuple[int, int]) -> "Differences | str":
    """Return what differs between two registered versions; why they cannot be compared, in words."""
    from mlops_project.side_by_side import compare_bundles
    from mlops_project.tracking import registry
    from mlops_project.tracking.download import download_bundle
    from mlops_project.tracking.store import open_store

    try:
        with tempfile.TemporaryDirectory(prefix="mlops-compare-") as folder:
            bundles = []
            with open_store(config) as store:
                for number in versions:
                    own = Path(folder, str(number))
                    own.mkdir()
                    version = registry.find_version(store, name, str(number))
                    bundles.append(download_bundle(store, version, own, config.trust_policy))
            first, second = map(str, versions)
            return compare_bundles(bundles[0], bundles[1], (first, second), config)
    except MLOpsError as error:
        return str(error)


def show_comparison(view: View, name: str, versions: tuple[int, int]) -> None:
    """Draw the button, and what came of it."""
    t = view.t
    if st.button(t("compare"), icon=":material/compare_arrows:", key="compare"):
        st.session_state[ASKED] = name, versions
    if st.session_state.get(ASKED) != (name, versions):
        return
    with st.spinner(t("compare")):
        found = compare_versions(view.config, name, versions)
    if isinstance(found, str):
        st.warning(t("compare.failed", reason=escape(found)), icon=":material/block:")
        return
    st.caption(t("compare.lead", a=str(versions[0]), b=str(versions[1])))
    _show_tables(found, t)


def _show_tables(found: "Differences", t: Translate) -> None:
    from mlops_project.modeling.differences import list_tables

    for note in found.notes:
        st.caption(escape(note))
    for table in list_tables(found):
        st.subheader(t(f"compare.{table.key}"), anchor=False)
        if table.rows:
            st.dataframe(pd.DataFrame(list(table.rows), columns=list(table.columns)), hide_index=True, width="stretch")
        if table.note:
            st.caption(escape(table.note))
