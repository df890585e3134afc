"""What the tests of the pages do: train a model, press a button, open a page, read."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

import mlops_project

APP = Path(mlops_project.__file__).parent / "streamlit_app.py"
PAGES = APP.parent / "ui"
SECONDS = 60
QUICK = "model: {{name: {name}, estimator: {estimator}}}\nevaluation: {{bootstrap_rounds: 20, importance_repeats: 0}}\n"


def train_model(root: Path, text: str, **settings: str) -> None:
    from mlops_project.config import read_config
    from mlops_project.train import train

    file = root / "model.yaml"
    file.write_text(text)
    overrides = [f"{key}={value}" for key, value in {"tracking.enabled": "false", **settings}.items()]
    train(read_config(file, root=root, overrides=overrides, env={}))


def find_button(app: AppTest, label: str):
    return next(button for button in app.button if button.label == label)


def find_numbers(app: AppTest):
    """The inputs of numbers, in their order."""
    return [item for item in app.text_input if item.key.startswith("input")]


def find_number(app: AppTest, label: str):
    return next(item for item in find_numbers(app) if item.label == label)


def read_numbers(app: AppTest) -> tuple[float, ...]:
    return tuple(float(item.value) for item in find_numbers(app))


def press(app: AppTest, label: str) -> AppTest:
    find_button(app, label).click().run()
    assert not app.exception
    return app


def open_page(app: AppTest, name: str) -> AppTest:
    app.switch_page(str(PAGES / name / "page.py")).run()
    assert not app.exception
    return app


def read_words(app: AppTest) -> str:
    """Everything that the page says, one line per element."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "metric")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))
