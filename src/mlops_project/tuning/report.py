"""The page of a search: figures, charts and the trials, in one file that needs no other."""

import base64
import math
from pathlib import Path
from typing import Any

import jinja2

from mlops_project.config import Config
from mlops_project.modeling.evaluation import TITLES, format_number
from mlops_project.modeling.report import CAPTIONS
from mlops_project.modeling.side_work import SideWork
from mlops_project.storage.files import name_unfinished, replacing
from mlops_project.tuning.charts import draw_charts
from mlops_project.tuning.trials import Found, Trial

REPORT_FILE, CHARTS = "report.html", "charts"
MAX_ROWS = 100  # trials that the page lists


def write_report(found: Found, config: Config) -> tuple[Path, list[Path]]:
    """Write the page into the search's folder; return it and the charts' files."""
    side = SideWork()
    charts = draw_charts(found, found.folder / CHARTS, side)
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("mlops_project.tuning"), jinja2.PackageLoader("mlops_project.modeling")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    facts = {
        "name": config.model.name,
        "found": found,
        "title": TITLES[found.metric],
        "best": _row(found.best),
        "start": None if found.start is None else _row(found.start),
        "estimators": summarise_estimators(found),
        "trials": list_rows(found)[:MAX_ROWS],
        "charts": [
            {"data": base64.b64encode(file.read_bytes()).decode(), "caption": CAPTIONS[file.stem], "title": file.stem}
            for file in charts
        ],
        "notes": side.notes,
    }
    page = found.folder / REPORT_FILE
    with replacing(page, name_unfinished(page)) as stream:
        stream.write(environment.get_template("search.html.j2").render(facts).encode())
    return page, charts


def summarise_estimators(found: Found) -> list[dict[str, Any]]:
    """Return each estimator that was searched, the best first, with its best trial and how many it had."""
    rows = []
    for one in found.searched:
        own = [trial for trial in found.trials if trial.estimator == one.estimator and trial.counts]
        best = found.best_of(one.estimator)
        loss = math.inf if best is None or best.loss is None else best.loss
        rows.append((loss, {"estimator": one.estimator, "trials": len(own), "best": None if best is None else _row(best)}))
    rows.sort(key=lambda row: row[0])
    return [row for _, row in rows]


def list_rows(found: Found) -> list[dict[str, Any]]:
    """Return the trials with their figures as texts, the best first."""
    return [_row(trial) for trial in sorted(found.trials, key=_order)]


def _order(trial: Trial) -> tuple[bool, float, int]:
    return trial.loss is None, trial.loss or 0.0, trial.number


def _row(trial: Trial) -> dict[str, Any]:
    interval = "" if trial.interval is None else " to ".join(map(format_number, trial.interval))
    return {
        "number": "as it is" if trial.number < 0 else trial.number,
        "estimator": trial.estimator.replace("_", " "),
        "params": ", ".join(f"{name} {format_param(value)}" for name, value in trial.params.items()),
        "state": trial.state,
        "loss": "" if trial.loss is None else format_number(trial.loss),
        "interval": interval,
        "seconds": f"{trial.seconds:.1f}",
        "reason": trial.reason,
    }


def format_param(value: Any) -> str:
    """Return a parameter's value for people: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
