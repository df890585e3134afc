"""``mlops adopt``: a model that was stored elsewhere, and a labelled table → a bundle."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_project.command import WorkflowCommand, echo, print_json, print_next
from mlops_project.config import WITHOUT_FILE, Config, build_config, find_root
from mlops_project.errors import DataError
from mlops_project.outcome import Training, as_plain, print_outcome
from mlops_project.score import REGISTRY

if TYPE_CHECKING:
    from mlops_project.tables.handed_over import Side

SAME_ROWS = (
    "if the model has learned from rows of this table, it is not as good as the metrics say; rows that it has not seen give "
    "figures to rely on"
)


@click.command(
    cls=WorkflowCommand,
    name="adopt",
    examples=(
        "mlops adopt model.skops customers.csv --target churned --name churn",
        "mlops adopt models:/old-churn/3 customers.csv --target churned",
    ),
)
@click.argument("source", metavar="MODEL")
@click.argument("table", metavar="TABLE")
@click.option("--target", required=True, metavar="COLUMN", help="The labels' column of TABLE.")
@click.option("--name", metavar="NAME", help="Of the model in the registry; default that of MODEL.")
@click.option("-o", "--output", metavar="FOLDER", help="Where the bundle goes; default paths.exported_model_dir.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "python"]),
    default="auto",
    show_default=True,
    help="An exact graph, the pipeline itself in Python, or the first that is possible.",
)
@click.option("--trust-code", is_flag=True, help="Load pickles, which run whatever their maker wrote into them, as you.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(
    source: str,
    table: str,
    target: str,
    name: str | None,
    output: str | None,
    engine: str,
    trust_code: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a bundle of MODEL, judged on the labelled rows of TABLE.

    MODEL is models:/name/3 in the registry, a folder that mlflow.sklearn wrote, a .skops file, or (with --trust-code) a pickle.
    TABLE is a file or an address as for data.source.
    """
    config = configure(source, table, target, name=name, output=output, engine=engine, overrides=overrides)
    result = adopt(source, config, trust_code=trust_code)
    if as_json:
        print_json(as_plain(result))
        return
    print_outcome(result, config)
    served = result.bundle.metadata
    echo(f"answered by: {'an exact graph' if served.python is None else 'the pipeline itself, in Python'}")
    print_next(
        [
            (f"mlops log {result.bundle.path}", "register it"),
            (f"mlops serve --model {result.bundle.path}{_name_types(result)}", "answer requests"),
        ]
    )


def _name_types(result: Training) -> str:
    types = () if result.bundle.metadata.python is None else result.bundle.metadata.python.types
    from mlops_project.python_engine.trusted import find_strangers

    strangers = find_strangers(types, ())
    return f" --set 'proof.trusted_types=[{', '.join(strangers)}]'" if strangers else ""


def configure(
    source: str,
    table: str,
    target: str,
    *,
    name: str | None = None,
    output: str | None = None,
    engine: str = "auto",
    overrides: tuple[str, ...] = (),
) -> Config:
    """Return the configuration of an adoption; parameters as the command's.

    Raises
    ------
    ConfigError
        If a setting is wrong.
    """
    values: dict[str, Any] = {
        "data": {"source": table, "target": target, "copies": "anywhere"},
        "model": {"name": name or _find_name(source), "estimator": "own"},
        "export": {"engine": engine},
    }
    if output is not None:
        values["paths"] = {"exported_model_dir": str(Path(output).expanduser().absolute())}
    return build_config(values, Path.cwd() / WITHOUT_FILE, root=find_root(Path.cwd()), overrides=overrides)


def _find_name(source: str) -> str:
    if source.startswith(REGISTRY):
        return source.removeprefix(REGISTRY).partition("@")[0].rpartition("/")[0] or source.removeprefix(REGISTRY).split("@")[0]
    return Path(source).stem


def adopt(source: str, config: Config, *, trust_code: bool = False) -> Training:
    """Make a bundle of a stored model, in ``config.model_dir``.

    Parameters
    ----------
    source
        As the command's MODEL.
    config
        Of ``configure``.
    trust_code
        Whether a pickle may be loaded.

    Raises
    ------
    MLOpsError
        If it may not be loaded, or does not fit the table, or cannot be served.
    """
    from mlops_project.handover.bundle import hand_over
    from mlops_project.handover.foreign import load_foreign

    with tempfile.TemporaryDirectory(prefix="mlops-adopt-") as folder:
        place = _fetch(source, config, Path(folder))
        pipeline = load_foreign(place, config.proof.trusted_types, trust_code=trust_code)
    train, test, address = _read_sides(config)
    bundle, evaluation, notes = hand_over(pipeline, train, test, config, source=address, notes=(SAME_ROWS,))
    return Training(bundle, evaluation, notes, not_logged=f"log it with: mlops log {bundle.path}")


def _fetch(source: str, config: Config, folder: Path) -> Path:
    if not source.startswith(REGISTRY):
        return Path(source).expanduser()
    from mlops_project.tracking.foreign import download_model

    return download_model(config, source, folder)


def _read_sides(config: Config) -> "tuple[Side, Side, str]":
    """Return the table's rows, typed as training types them, in two parts at random, and where they came from."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    from mlops_project.tables.handed_over import read_side
    from mlops_project.tables.sources import build_options, read_table
    from mlops_project.tables.targets import find_target
    from mlops_project.tables.types import convert_column

    raw = read_table(config)
    name = find_target(raw, config.data.target)
    rows = raw.frame[raw.frame[name].notna()].reset_index(drop=True)
    if len(rows) < 2:
        raise DataError(f"{raw.source}: {len(rows)} rows have a {name!r}; more are needed to judge the model on")
    options, data = build_options(config.data, raw), config.data
    typed = {
        str(column): convert_column(values, data.types.get(str(column)), data.max_categories, options).values
        for column, values in rows.items()
        if column not in data.drop
    }
    frame = pd.DataFrame(typed)
    known, others = train_test_split(frame, test_size=config.test_size, random_state=config.random_state)
    sides = (read_side(part.drop(columns=name), part[name], None, None, "table") for part in (known, others))
    return (*sides, raw.source)  # type: ignore[return-value]  # there are two


if __name__ == "__main__":
    command()
