"""What Streamlit leaves out of the document: its language, words for screen readers, and roles that contradict themselves."""

import json

import streamlit as st

_LANGUAGE = "document.documentElement.lang = {tag};"
# An upload area says that it is decoration, but has a name: as a group it may have one.
_ROLES = """
const mend = () => document.querySelectorAll('section[role="presentation"][aria-label]').forEach(item => item.role = "group");
if (!window.mlopsRoles) {
  window.mlopsRoles = new MutationObserver(mend);
  window.mlopsRoles.observe(document.body, {childList: true, subtree: true});
}
mend();
"""
# Screen readers say what changes in a region that was there before; hence it is made once and outlives Streamlit's redraws.
_ANNOUNCE = """
let region = document.getElementById("announcements");
if (!region) {
  region = Object.assign(document.createElement("div"), {id: "announcements", role: "status"});
  region.setAttribute("aria-live", "polite");
  region.style = "position: fixed; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap";
  document.body.append(region);
}
"""
# Streamlit takes a field's value over first; its own shortcuts leave fields alone.
_ENTER = """
if (!window.mlopsEnter) {
  window.mlopsEnter = true;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing && event.target.closest(".st-key-{fields} .stTextInput"))
      setTimeout(() => document.querySelector(".st-key-{button} button")?.click());
  });
}
"""
_SAY = "region.textContent = ''; setTimeout(() => region.textContent = {text}, 100); // {mark}"


def complete_document(tag: str) -> None:
    """Set the document's language (``en``, ``pt-BR``) and what else every page needs."""
    _run("document", _LANGUAGE.replace("{tag}", json.dumps(tag)) + _ROLES + _ANNOUNCE)


def announce(text: str, mark: float) -> None:
    """Have a screen reader say a text when it has said what it is saying.

    Parameters
    ----------
    mark
        Another one says the same words again; the same one does not.
    """
    words = json.dumps(" ".join(text.split())).replace("<", "\\u003c")  # never the end of the script
    _run("announcement", _ANNOUNCE + _SAY.replace("{mark}", str(mark)).replace("{text}", words))


def press_on_enter(fields: str, button: str) -> None:
    """Have Enter in a text field press a button, as in a form; both are keys of Streamlit's."""
    _run("enter", _ENTER.replace("{fields}", fields).replace("{button}", button))


def _run(key: str, script: str) -> None:
    with st.container(key=f"script-{key}"):
        st.html(f"<script>{{{script}\n}}</script>", unsafe_allow_javascript=True)
