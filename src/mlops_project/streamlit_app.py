"""The Streamlit application: ``streamlit run src/mlops_project/streamlit_app.py [-- model.yaml --set section.key=value]``."""

import sys
from pathlib import Path

import streamlit as st

HERE = str(Path(__file__).parent)
ICON = Path(__file__).parent / "ui" / "icon.svg"  # a named icon would be fetched from Google
STYLE = Path(__file__).parent / "ui" / "style.css"
PAGES = {
    "predict": ":material/online_prediction:",
    "batch": ":material/table_view:",
    "model": ":material/deployed_code:",
    "monitoring": ":material/monitoring:",
    "operations": ":material/dns:",
}


def main() -> None:
    """Draw the frame and the page that was chosen."""
    while HERE in sys.path:  # streamlit puts it there, and `import tables` would then find ours
        sys.path.remove(HERE)
    from mlops_project.ui import document, view

    st.set_page_config(page_title="mlops", page_icon=ICON, layout="wide")  # before the pages, whose icons would be fetched
    t = view.choose_language()
    st.html(STYLE)
    document.complete_document(t.tag)
    pages = [
        st.Page(view.FOLDER / name / "page.py", title=t(f"page.{name}"), icon=icon, url_path=name, default=name == "predict")
        for name, icon in PAGES.items()
    ]
    page = st.navigation(pages, position="sidebar")
    st.set_page_config(page_title=f"{page.title} · mlops")
    view.show_language_switch(t)
    page.run()
    view.show_standing()


if __name__ == "__main__":
    main()
