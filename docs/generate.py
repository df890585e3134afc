"""Write the documentation pages that the code knows better: ``make docs``; ``make docs-check`` fails if they are stale."""

import ast
import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import click
import msgspec
from capacity_page import write_capacity

from mlops_project.cli import COMMANDS, main
from mlops_project.config import ENV_PREFIX, Config
from mlops_project.modeling.export.families import __all__ as _families  # noqa: F401  # fills the registry
from mlops_project.modeling.export.refused import REFUSED
from mlops_project.modeling.export.registry import ESTIMATORS, TRANSFORMERS
from mlops_project.monitor import LOSS
from mlops_project.monitoring.service.metrics import METRICS as MONITOR_METRICS
from mlops_project.prometheus import Metric
from mlops_project.promote import EXIT_REFUSED
from mlops_project.sections import Section
from mlops_project.serving.metrics import METRICS
from mlops_project.tracking.server_metrics import METRICS as TRACKING_METRICS

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PACKAGE = ROOT / "src" / "mlops_project"
EXIT_CODES = {
    0: "done; `monitor --once`, `drift`: and nothing changed that matters; `train`: whether or not the gate promoted the model",
    1: "a fault: MLflow or a server does not answer, a model cannot be exported exactly, a service of the stack ended",
    2: "you can mend it: the configuration, the table, a model's folder, an argument",
    EXIT_REFUSED: "`promote`: the gate refused, or a second person has to approve; `retrain`: not promoted, or too few labels; "
    "`drift`, `monitor --once`: drift",
    LOSS: "`monitor --once`: the model lost performance",
}
COMPOSED = {
    "mlops_project.AsArray",
    "sklearn.Pipeline",
    "mlops_project.OriginalLabels",
    "mlops_project.OutlierScores",
    "mlops_project.FillText",
    "mlops_project.DatetimeParts",
    "mlops_project.CategoryTypes",
}
NOTE = "<!-- Written by docs/generate.py; change the code, then run `make docs`. -->\n"


def write_configuration() -> str:
    """Return the page of every setting."""
    lines = [
        NOTE,
        "# Configuration",
        "",
        "A model is described by one YAML file; `src/mlops_project/configs.yaml` is the built-in one. A setting comes from:",
        "the defaults below, the file, environment variables, options. The last one wins.",
        "",
        f"- variables: `{ENV_PREFIX}MODEL__ESTIMATOR=ridge`, levels joined by two underscores",
        "- options: `--set model.estimator=ridge`, more than once if need be",
        "",
        "Unknown keys are errors. `mlops config check FILE` explains every problem of a file at once, and",
        "`mlops config check --show FILE` prints all settings.",
        "",
        "`MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` keep their names and win over the file.",
        "",
    ]
    lines += _table("Top level", "", Config)
    lines += _write_sections(Config, "")
    return "\n".join(lines)


def _write_sections(section: type[Section], place: str) -> Iterator[str]:
    """Yield the tables of the sections in a section; those that are made of the same settings share one."""
    shared: dict[type[Section], list[str]] = {}
    for field in msgspec.structs.fields(section):
        inner = _find_inner(field.type)
        if inner is not None:
            shared.setdefault(inner, []).append(f"`{place}{field.name}.NAME`")
        if _is_section(field.type):
            shared.setdefault(field.type, []).append(f"`{place}{field.name}`")
    for kind, names in shared.items():
        doc = (kind.__doc__ or "").strip().splitlines()[0]
        if any(not _is_section(field.type) for field in msgspec.structs.fields(kind)):
            yield from _table(", ".join(names), doc, kind)
        yield from _write_sections(kind, f"{names[0].strip('`')}.")


def _find_inner(kind: Any) -> type[Section] | None:
    """Return the section that each value of a mapping is; None for other settings."""
    mapping = kind.__origin__ if get_origin(kind) is Annotated else kind
    inner = get_args(mapping)[-1] if get_origin(mapping) is dict else None
    return inner if _is_section(inner) else None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _table(title: str, doc: str, section: type[Section]) -> Iterator[str]:
    yield from (f"## {title}", "")
    if doc:
        yield from (doc, "")
    yield from ("| setting | type | default | meaning |", "| --- | --- | --- | --- |")
    for field in msgspec.structs.fields(section):
        if _is_section(field.type):
            continue
        kind, meaning = _describe(field.type)
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        yield f"| `{field.name}` | {kind} | {_show(default)} | {meaning} |".replace("||", r"\|\|")
    yield ""


def _describe(kind: Any) -> tuple[str, str]:
    if get_origin(kind) is not Annotated:
        raise SystemExit(f"a setting of type {kind} has no description in config.py")
    inner, meta = get_args(kind)[:2]
    bounds = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f"{sign} {getattr(meta, name)}" for name, sign in bounds.items() if getattr(meta, name) is not None]
    return ", ".join([_name(inner), *limits]), meta.description.replace("|", r"\|")


def _name(kind: Any) -> str:
    if hasattr(kind, "__metadata__"):  # Annotated
        kind = kind.__origin__
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is None:
        return {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}.get(kind.__name__, "any")
    if origin is dict:
        return "mapping"
    if origin is tuple:
        return "list"
    return " or ".join(_name(argument) for argument in arguments if argument is not type(None))


def _show(value: Any) -> str:
    if value is None or value in ((), {}, []):
        return "none" if value is None else "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def write_commands() -> str:
    """Return the page of every command's help."""
    lines = [
        NOTE,
        "# Commands",
        "",
        "Each is `mlops NAME`; `train`, `up`, `init`, `promote`, `models`, `serve`, `sync` and `log` are",
        "`python -m mlops_project.NAME` too.",
        "Errors are one message on stderr; `--debug` adds the traceback.",
        "",
        "| exit code | when |",
        "| --- | --- |",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
        *_help(main, "mlops"),
    ]
    context = click.Context(main, info_name="mlops")
    for name in COMMANDS:
        command = main.get_command(context, name)
        if isinstance(command, click.Group):
            for inner, part in command.commands.items():
                lines += [f"## mlops {name} {inner}", "", *_help(part, f"mlops {name} {inner}")]
        elif command is not None:
            lines += [f"## mlops {name}", "", *_help(command, f"mlops {name}")]
    return "\n".join(lines)


def _help(command: click.Command, name: str) -> list[str]:
    context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
    return ["```text", command.get_help(context), "```", ""]


def write_metrics() -> str:
    """Return the page of every metric of the model server, the tracking server and the monitor."""
    lines = [
        NOTE,
        "# Metrics",
        "",
        "`GET /metrics` of each, in Prometheus' text format; the servers' are summed over the workers. Labels are routes,",
        "loaded models, their features and classes; nothing that a request says becomes one.",
        "",
        *("## Metrics of the model server", ""),
        *_metric_rows(METRICS),
        *("## Metrics of the tracking server", ""),
        "What `mlflow server --app-name mlops` adds; see [the tracking server](tracking-server.md).",
        "",
        *_metric_rows(TRACKING_METRICS),
        *("## Metrics of the monitor", ""),
        "`mlops monitor`; see [drift and retraining](drift-and-retraining.md). What was not measured in the last window has no",
        'series: without labels there is no `mlops_monitor_metric` with `source="live"`.',
        "",
        *_metric_rows(MONITOR_METRICS),
    ]
    return "\n".join(lines)


def _metric_rows(metrics: Iterable[Metric]) -> Iterator[str]:
    yield from ("| metric | kind | labels | meaning |", "| --- | --- | --- | --- |")
    for metric in metrics:
        shown = "gauge" if metric.kind == "latest" else metric.kind
        yield f"| `{metric.name}` | {shown} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
    yield ""


def write_architecture() -> str:
    """Return the page of the rooms: written by hand, but for the picture and the table of what may import what."""
    start, end = "<!-- rooms: written by docs/generate.py from the import contracts -->\n", "<!-- end of rooms -->"
    before, _, rest = (DOCS / "architecture.md").read_text(encoding="utf-8").partition(start)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    floors = [layer.replace(":", "|").replace(" ", "").split("|") for layer in layers]
    picture = [f'  floor{number}["{" · ".join(floor)}"]' for number, floor in enumerate(floors)]
    arrows = " --> ".join(f"floor{number}" for number in range(len(floors)))
    table = [f"| `{room}` | {_read_summary(room)} |" for floor in floors for room in floor]
    lines = [
        "",
        "```mermaid",
        "flowchart TB",
        *picture,
        f"  {arrows}",
        "```",
        "",
        "| room | what it is |",
        "| --- | --- |",
        *table,
    ]
    return "\n".join([before + start, *lines, "", end + rest.partition(end)[2]])


def _read_summary(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    folder = PACKAGE / room
    file = folder / "__init__.py" if folder.is_dir() else PACKAGE / f"{room}.py"
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0].replace("``", "`").replace("|", r"\|")


def write_estimators() -> str:
    """Write which steps of a pipeline are exported exactly, how near they come, what they cost, and what is refused."""
    measured = json.loads((DOCS / "estimators.json").read_text(encoding="utf-8"))
    lines = [
        NOTE,
        "# What is exported exactly",
        "",
        "`mlops.export` takes a fitted scikit-learn pipeline made of the steps below, in any nesting, with its rows",
        "([five lines](python.md#a-pipeline-of-your-own)); `model.estimator` and `model.pipeline` train one",
        "([from a table](models.md)). It becomes a graph that ONNX Runtime evaluates without scikit-learn.",
        "",
        "## If a step is refused",
        "",
        "What is not listed is refused by the name and place of the step, such as `pipeline.features.numbers.NMF`, with",
        "what to use instead. Three ways on:",
        "",
        "- use what the message names, and fit again;",
        '- `export__engine="python"`: the pipeline itself answers, in a process of its own, at milliseconds a row; `"auto"`',
        "  takes the graph if there is an exact one ([what it costs](python.md#a-pipeline-without-an-exact-graph));",
        "- a step before the others, such as one that computes columns or counts letters: do its work where the table is made.",
        "",
        "## What exact means",
        "",
        "The export is compared with the pipeline row by row, on the rows that were handed over and on made-up ones: at",
        "thresholds and beside them, with gaps, with texts that nobody has seen. Labels must be equal, probabilities and",
        "values within 1e-6; else there is no bundle. *To the bit* says that no digit differs; elsewhere ONNX Runtime's matrix",
        "products and exponentials differ from NumPy's by last digits, as NumPy's do between one row and a table.",
        "",
        "A row is a *tie* where scikit-learn's own answer hangs on last digits or on its search: two probabilities are equal",
        "to 1e-12, a number lies within 1e-9 (of the column's size) of a threshold behind a matrix product, or two neighbours",
        "with different answers are as near as each other. Either answer is right there; the report counts them. If more than",
        "5 % of the training rows have such neighbours, nearest neighbours are refused. Isotonic calibration may have steps",
        "between scores that differ in their last digits, such as naive Bayes' probabilities next to 1: rows there are ties,",
        "and many of them are refused.",
        "",
        "## What to know of some steps",
        "",
        "A classifier needs `predict_proba`: put `LinearSVC`, `RidgeClassifier`, `OneVsOneClassifier` and the like into",
        "`CalibratedClassifierCV`, and say `voting='soft'`.",
        "",
        "Words (`CountVectorizer`, `TfidfVectorizer`) are found by the runtime with Python's own lower case and word",
        "characters, as scikit-learn finds them, and counted in the graph; so are sequences of characters (`analyzer='char'`,",
        "`'char_wb'`). Any Unicode text is exact, and the model has an input `words` beside `texts`. An empty text is a",
        "missing one here as everywhere: if the table had such rows, they",
        "count as a text without words; if it had none, they get no answer, as from the pipeline. Name the column, not a list",
        "of it: `ColumnTransformer([('text', TfidfVectorizer(), 'review')])`. `mlops.export` also takes a pipeline that begins",
        "with a vectoriser and was fitted on one column of texts.",
        "",
        "`FunctionTransformer` takes NumPy's functions and functions of one's own. These are called once with a stand-in for",
        "the table, which writes down what they compute with columns, numbers, `where`, `clip` and comparisons, in arrays and",
        "frames (`lambda x: x[:, [0]] / x[:, [1]]`). Texts may be compared (`==`, `isin`, `map` with numbers), dates taken",
        "apart (`.dt.year`, `month`, `day`, `day_of_year`, `day_of_week`, `hour`, …), columns chosen and put together",
        "(`assign`, `pandas.DataFrame({…})`, `numpy.c_`). What else a function does (statistics of the rows, parts of texts)",
        "is refused by its name.",
        "",
        "Boosters that were fitted on frames with columns of pandas' type `category` are exported by `mlops.export` as they",
        "are: requests bring texts or numbers, and what is no category of the type is missing, as in pandas.",
        "",
        "`IsolationForest` becomes a model of the classes -1 (outlier) and 1 with scikit-learn's own label; where a",
        "probability would stand is its score of Liu, Ting and Zhou, `-score_samples`. `mlops.export` asks for such labels,",
        "which say how good it is. `HashingVectorizer` is exact up to `n_features=2**18` (2 MB for each row on its way).",
        "",
        "CatBoost's own categories are exact for text columns whose texts the contract lists (`data.max_categories`), alone",
        "and combined; numbers as categories are refused, make them texts. `SVC(probability=True)` answers libsvm's",
        "probabilities and its label, which is not always the most probable class. `KNNImputer` is refused where more than",
        "5 % of the gaps have two donors as near as each other with different values.",
        "",
        "## Transformers",
        "",
        "| step | agreement |",
        "| --- | --- |",
        *(f"| `{name}` | {TRANSFORMERS[name].agreement} |" for name in sorted(TRANSFORMERS) if name not in COMPOSED),
        "",
        "## Estimators",
        "",
        "Measured where figures stand: " + measured["how"],
        "",
        "| estimator | agreement | model | one row | a row of 1,000 | memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in sorted(ESTIMATORS):
        if name not in COMPOSED:
            cost = measured["costs"].get(name)
            figures = "| | |"
            if cost:
                memory = f"{cost[3]:,.0f} MB" if len(cost) > 3 else ""
                figures = f"{cost[0]:,.0f} kB | {cost[1]:,.0f} µs | {cost[2]:,.1f} µs | {memory}"
            lines.append(f"| `{name}` | {ESTIMATORS[name].agreement} | {figures} |")
    refused = (f"| `{name}` | {reason} |" for name, reason in sorted(REFUSED.items()))
    return "\n".join([*lines, "", "## Refused", "", "| step | why, and what to use |", "| --- | --- |", *refused])


PAGES: dict[str, Callable[[], str]] = {
    "architecture.md": write_architecture,
    "configuration.md": write_configuration,
    "commands.md": write_commands,
    "metrics.md": write_metrics,
    "estimators.md": write_estimators,
    "capacity.md": lambda: write_capacity(DOCS / "capacity.json", NOTE),
}


def generate(*, check: bool) -> int:
    """Write every page, or return 1 if one differs from what would be written."""
    stale = []
    for name, write in PAGES.items():
        file, text = DOCS / name, write().rstrip() + "\n"
        if not check:
            file.write_text(text, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.stderr.write(f"docs: {', '.join(stale)} differ from the code; run make docs\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(generate(check="--check" in sys.argv))
