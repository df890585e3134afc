"""The example's notebook runs, and what notebooks show is there."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[3] / "examples" / "churn.ipynb"


def test_notebook_of_the_example_runs_and_shows_results(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(TRAINING))
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    pages = [
        output["data"].get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output["output_type"] in ("execute_result", "display_data")
    ]
    shown = "".join(pages)
    assert "churn: LogisticRegression, predicts churned, engine onnx" in shown
    assert shown.count("data:image/png;base64,") >= 3
    assert "age" in notebook.cells[-3]["outputs"][0]["data"]["text/html"]  # drift
    streams = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "row 2" in streams
    assert 'progress bar: 2 of 3, <progress value="1" max="3">' in streams


TRAINING = """
from unittest import mock

import IPython.display
from mlops_project.command import show_progress

pages = []
with mock.patch.object(IPython.display, "HTML", lambda page: pages.append(page) or IPython.core.display.HTML(page)):
    with show_progress(3) as step:
        step("reading")
        step("fitting")
print(f"progress bar: {len(pages) - 2} of 3, {pages[2][:30]}")
"""
