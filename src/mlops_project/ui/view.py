"""What every page starts from: the configuration, the language, the chosen model, and what to say when there is none."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import streamlit as st

from mlops_project.bundle import METADATA_FILE
from mlops_project.client.model_server import ModelServer
from mlops_project.config import Config
from mlops_project.errors import BundleError, ConfigError, TrackingError
from mlops_project.tables.locations import hide_credentials
from mlops_project.ui.address import MODEL, note, recall
from mlops_project.ui.catalogue import MODELS_VARIABLE, Catalogue, Model, find_models, open_model
from mlops_project.ui.format import escape
from mlops_project.ui.language import LANGUAGES, Translate, find_language
from mlops_project.ui.registry import knows_registry, read_registry
from mlops_project.utils import load_config

POLL_SECONDS = 5.0  # how often to look for another model
LANGUAGE, SHOWN = "language", "shown view"


@dataclass(frozen=True)
class View:
    """What a page shows.

    Attributes
    ----------
    config
        The project's configuration.
    t
        Key → text in the visitor's language.
    model
        The chosen model.
    server
        The model server that answers for it; None: the bundle does.
    """

    config: Config
    t: Translate
    model: Model
    server: ModelServer | None


def choose_language() -> Translate:
    """Return the visitor's language: chosen, from the address (``?lang=pt``), or the browser's."""
    if LANGUAGE not in st.session_state:
        st.session_state[LANGUAGE] = find_language(st.query_params.get("lang"), st.context.locale)
    return Translate(st.session_state[LANGUAGE] or "en")


def read_arguments(arguments: Sequence[str]) -> Config:
    """Return the configuration that the command line names: ``streamlit run … -- model.yaml --set section.key=value``.

    Raises
    ------
    ConfigError
        If it is wrong.
    """
    pairs = list(pairwise(["", *arguments]))
    overrides = [item for before, item in pairs if before == "--set"]
    files = [item for before, item in pairs if "--set" not in (before, item)]
    if len(files) > 1:
        raise ConfigError(f"expected one configuration file and --set options, got {' '.join(files)}")
    return load_config(files[0] if files else None, overrides=overrides)


def write_command(verb: str) -> str:
    """Return a command for the configuration that this application was started with."""
    return shlex.join(["mlops", verb, *(hide_credentials(argument) for argument in sys.argv[1:])])


def open_view(*, answers_here: bool = False) -> View:
    """Return what the page shows; stops the page with what to do if there is nothing to show.

    Parameters
    ----------
    answers_here
        Whether the page asks the model on this machine, whoever answers elsewhere.
    """
    t = choose_language()
    try:
        config = read_arguments(sys.argv[1:])
    except ConfigError as error:
        _stop(t("bad.config"), str(error))
    catalogue = find_models(config)
    name = _choose(catalogue, t)
    try:
        model = open_model(catalogue, name)
        _ = model.runtime
    except BundleError as error:
        present = any((path / METADATA_FILE).exists() for path in catalogue.paths.get(name, ()))
        _warn_of_server(catalogue, t, "server.down.none")
        _stop(t("bad.model" if present else "no.model"), str(error), t("bad.model.cure" if present else "no.model.cure"))
    server = catalogue.server if model.served else None
    view = View(config, t, model, server)
    _show_model(view, logged=model.served and not answers_here)
    _warn_of_server(catalogue, t, "server.down.here")
    st.session_state[SHOWN] = view
    return view


def _warn_of_server(catalogue: Catalogue, t: Translate, key: str) -> None:
    if catalogue.problem:
        st.warning(t(key, reason=escape(catalogue.problem)), icon=":material/cloud_off:")


def _choose(catalogue: Catalogue, t: Translate) -> str:
    names = catalogue.names
    if st.session_state.get(MODEL) not in names:
        st.session_state.pop(MODEL, None)
    if len(names) == 1:
        return names[0]
    with st.sidebar:
        chosen = st.selectbox(t("model"), names, names.index(recall(MODEL, names, names[0])), key=MODEL) or names[0]
    note(MODEL, chosen, names[0])
    return chosen


def _stop(title: str, reason: str, cure: str = "") -> None:
    st.title(title)
    st.error("", icon=":material/error:") if not reason else st.error(escape(reason), icon=":material/error:")
    if cure:
        st.markdown(cure)
        st.code(write_command("train"), language="sh")
    _watch(None)
    st.stop()


def _show_model(view: View, *, logged: bool) -> None:
    t, model = view.t, view.model
    with st.sidebar:
        version = t("version", version=model.version) if model.version else t("unnumbered")
        st.markdown(f"**{escape(model.name)}** · {escape(version)}")
        served = t("from.server") if view.config.prediction_log.enabled else t("from.server.unlogged")
        st.caption(served if logged else t("from.bundle"))
        _watch(model.digest)


def show_standing() -> None:
    """Say in the sidebar if another version than the shown one is champion. Last: the registry may take its time."""
    view = st.session_state.pop(SHOWN, None)
    if view is None or not view.model.version or not knows_registry(view.config):
        return
    try:
        registered = read_registry(view.config, view.model.name)
    except TrackingError:
        return  # who needs it says so on its page
    champion = registered.find("champion")
    if not registered.versions or (champion is not None and str(champion.number) == view.model.version):
        return
    words = view.t("standing.none") if champion is None else view.t("standing.other", number=champion.number)
    st.sidebar.warning(words, icon=":material/flag:")


@st.fragment(run_every=POLL_SECONDS)
def _watch(digest: str | None) -> None:
    """Look now and then whether the model has been replaced; the pages follow without a reload."""
    try:
        catalogue = find_models(read_arguments(sys.argv[1:]))
        name = st.session_state.get(MODEL) or catalogue.names[0]
        now = open_model(catalogue, name).digest if name in catalogue.names else None
    except (BundleError, ConfigError):
        now = None
    if now is not None and now != digest:
        st.rerun(scope="app")


def show_language_switch(t: Translate) -> None:
    """Draw the switch in the sidebar."""
    with st.sidebar:
        st.session_state[LANGUAGE] = st.session_state[LANGUAGE] or "en"
        st.segmented_control(
            t("language"), list(LANGUAGES), key=LANGUAGE, format_func=LANGUAGES.__getitem__, label_visibility="collapsed"
        )
        st.query_params["lang"] = st.session_state[LANGUAGE] or "en"


def require_bundle(view: View) -> None:
    """Stop the page with what to do if only the server has the model's files."""
    if view.model.bundle is None:
        st.info(view.t("no.bundle", sync=write_command("sync"), variable=MODELS_VARIABLE), icon=":material/folder_off:")
        st.stop()


FOLDER = Path(__file__).parent  # one folder for each page
