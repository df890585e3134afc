"""Score: a table of any length → its rows with what the model says of them. ``mlops score``."""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from mlops_project.bundle import Bundle, load_bundle
from mlops_project.command import WorkflowCommand, echo, print_json
from mlops_project.config import Config
from mlops_project.errors import ApprovalError, ConfigError
from mlops_project.formats import plain
from mlops_project.signatures.policy import TrustPolicy
from mlops_project.utils import load_config

if TYPE_CHECKING:
    from mlops_project.scoring.batch import Finished, Options, Progress

CONFIG_ENDINGS = (".yaml", ".yml")
REGISTRY = "models:/"
LINE_SECONDS = 10.0  # between two lines of progress, where stderr is no terminal


@contextlib.contextmanager
def open_model(place: str | None, config: Config) -> Iterator[tuple[Bundle, str]]:
    """Give a proven bundle, and the version that the output names.

    Parameters
    ----------
    place
        A bundle's folder, or ``models:/name@alias`` or ``models:/name/version`` in the registry; None for the exported model of
        the configuration.

    Raises
    ------
    BundleError, TrackingError, ConfigError
        If there is none, or it does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-score-") as folder:
        yield fetch_model(place, config, Path(folder))


def fetch_model(
    place: str | None, config: Config, folder: Path, trust: TrustPolicy | None = None, *, proven: bool = True
) -> tuple[Bundle, str]:
    """Return a proven bundle, and its version; one of the registry is downloaded to ``folder``.

    Parameters
    ----------
    place
        See ``open_model``.
    trust
        Whose models are taken; default ``config.trust``'s.
    proven
        Whether it has to answer its example row first.

    Raises
    ------
    BundleError, TrackingError, ConfigError
        If there is none, or it does not answer.
    """
    policy = config.trust_policy if trust is None else trust
    bundle, version = _find_bundle(place, config, folder, policy)
    if proven:
        from mlops_project.proof import prove

        prove(bundle, config.proof)
    return bundle, version


def _find_bundle(place: str | None, config: Config, folder: Path, trust: TrustPolicy) -> tuple[Bundle, str]:
    if place is None or not place.startswith(REGISTRY):
        bundle = load_bundle(config.model_dir if place is None else Path(place).expanduser(), trust=trust)
        return bundle, bundle.version
    from mlops_project.tracking.download import download_bundle
    from mlops_project.tracking.registry import CHAMPION, explain_unapproved, find_version
    from mlops_project.tracking.store import open_store

    name, which = _split_address(place)
    with open_store(config) as store:
        version = find_version(store, name, which)
        if which == CHAMPION and (missing := explain_unapproved(store, version)):
            raise ApprovalError(f"{place}: version {version.number} cannot be used as champion: {missing}")
        bundle = download_bundle(store, version, folder, trust)
    return bundle, str(version.number)


def _split_address(address: str) -> tuple[str, str]:
    rest = address.removeprefix(REGISTRY)
    name, sign, which = rest.rpartition("@") if "@" in rest else rest.rpartition("/")
    if not (name and sign and which):
        raise ConfigError(f"{address}: expected models:/name@champion, models:/name/3 or models:/name/latest")
    return name, which


def _find_places(places: tuple[str, ...], output: str | None) -> tuple[str, str, Path | None]:
    """Return input, output and configuration file from the arguments: the output is the second one, unless ``-o`` names it."""
    source, *others = places
    if output is None:
        if not others or others[0].lower().endswith(CONFIG_ENDINGS):
            raise ConfigError(f"where to? `mlops score {source} scored.csv`, a name in .parquet, or a folder")
        output, *others = others
    if len(others) > 1:
        raise ConfigError(f"too many arguments: {' '.join(others)}; expected INPUT OUTPUT [CONFIG.yaml]")
    return source, output, Path(others[0]) if others else None


@click.command(
    cls=WorkflowCommand,
    name="score",
    examples=(
        "mlops score customers.csv scored.csv churn.yaml",
        "mlops score 's3://lake/day=*/*.parquet' s3://lake/scored/ --model models:/churn@champion",
        "mlops score postgresql://db/shop out.parquet --query 'select * from customers'",
    ),
)
@click.argument("places", nargs=-1, required=True, metavar="INPUT [OUTPUT] [CONFIG.yaml]")
@click.option("-o", "--output", metavar="PLACE", help="The same as OUTPUT: out.csv, out.csv.gz, out.parquet, or a folder.")
@click.option("--model", metavar="PLACE", help="Bundle, models:/name@champion or models:/name/3; default the configuration's.")
@click.option("--keep", metavar="COLUMNS", help="Columns of the input to keep, such as id,date; default all; '' for none.")
@click.option(
    "--on-bad-rows",
    type=click.Choice(["side-file", "stop"]),
    default="side-file",
    show_default=True,
    help="What to do with rows that do not fit the model.",
)
@click.option("--query", metavar="SQL", help="The rows of a database, whose SQLAlchemy URL is INPUT.")
@click.option("--table", metavar="NAME", help="The table to write in a database, whose SQLAlchemy URL is OUTPUT.")
@click.option("--processes", type=click.IntRange(min=1), metavar="N", help="That score at the same time; default one per core.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where they are.")
@click.option("--address", metavar="HOST:PORT", help="Of a Ray cluster; default RAY_ADDRESS, else one of this machine alone.")
@click.option("--log", "logged", is_flag=True, help="Log the rows for the monitor, and write their prediction ids.")
@click.option("--uncertainty", is_flag=True, help="Add the set or interval of each row, and whether a person should decide.")
@click.option("--explain", is_flag=True, help="Add how much each column moved the answer of each row (Shapley values).")
@click.option("--threshold", type=float, metavar="P", help="From which probability on the positive class of two is answered.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(
    places: tuple[str, ...],
    output: str | None,
    model: str | None,
    keep: str | None,
    on_bad_rows: Literal["side-file", "stop"],
    query: str | None,
    table: str | None,
    processes: int | None,
    engine: Literal["local", "ray"],
    address: str | None,
    logged: bool,
    uncertainty: bool,
    explain: bool,
    threshold: float | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Score INPUT (a table: file, folder, glob; a database), and write its rows with the predictions to OUTPUT.

    A run that was killed goes on where it was when the same command is given again. Rows that do not fit the model are in
    OUTPUT.bad-rows.csv, with row number and reason.
    """
    from mlops_project.scoring.batch import Options

    source, target, file = _find_places(places, output)
    config = load_config(file, overrides=overrides)
    kept = None if keep is None else tuple(name.strip() for name in keep.split(",") if name.strip())
    options = Options(
        kept, on_bad_rows, processes, query=query, table=table, uncertainty=uncertainty, explain=explain, threshold=threshold
    )
    with _show_progress() as progress:
        finished = score(source, target, config, model, options, engine=engine, address=address, logged=logged, show=progress)
    if as_json:
        print_json(_summarise(finished))
    else:
        _print(finished)


def score(
    source: str,
    output: str,
    config: Config,
    model: str | None,
    options: "Options",
    *,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    logged: bool = False,
    show: "Callable[[Progress], None]" = lambda _: None,
) -> "Finished":
    """Score a table and write its rows with the predictions.

    Parameters
    ----------
    source, output, model, engine, address, logged
        As the command's.
    options
        The others; what follows from the configuration and the model is put in here.
    show
        Called with how far the run is.

    Raises
    ------
    MLOpsError
        If there is no such model or table, or ``on_bad_rows`` is ``stop`` and a row does not fit the model.
    """
    from mlops_project.engines.choice import find_engine
    from mlops_project.scoring.batch import score_table

    place = find_engine(engine, address)
    with open_model(model, config) as (bundle, version):
        whole = dataclasses.replace(
            options,
            engine=place,
            version=version,
            storage_options=config.data.storage_options,
            staging=config.root / "artifacts" / "scoring",
            log_folder=config.prediction_log_dir if logged else None,
        )
        return score_table(source, output, bundle, whole, show)


@contextlib.contextmanager
def _show_progress() -> "Iterator[Callable[[Progress], None]]":
    """Show rows, rows per second and time left on stderr: one line that changes, or a line from time to time."""
    from rich.console import Console
    from rich.status import Status

    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with Status("reading", console=console) as status:
            yield lambda state: status.update(plain(describe(state)))
        return
    last = time.monotonic()

    def say(state: "Progress") -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            echo(f"- {describe(state)}", err=True)

    yield say


def describe(state: "Progress") -> str:
    """Return how far a run is, in words."""
    rate = state.new_rows / state.seconds if state.seconds > 0 else 0.0
    text = f"{state.rows:,} rows, {rate:,.0f} rows/s"
    if not state.share or not rate:
        return text
    left = state.rows * (1 - state.share) / state.share / rate
    return f"{text}, {state.share:.0%}, about {_format_time(left)} left"


def _format_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _summarise(finished: "Finished") -> dict[str, Any]:
    outcome, output = finished.outcome, finished.output
    return msgspec.structs.asdict(outcome) | {
        "output": output.place,
        "bad_rows_file": output.bad_rows_file if outcome.bad_rows else None,
        "resumed": finished.is_resumed,
        "seconds": round(finished.seconds, 3),
    }


def _print(finished: "Finished") -> None:
    outcome, output = finished.outcome, finished.output
    if finished.is_restarted:
        echo("note: an unfinished run with another input, model or settings was there; its parts were deleted", err=True)
    if finished.read_at:
        echo(f"note: these are the rows that the unfinished run read at {finished.read_at}", err=True)
    if outcome.bad_rows:
        said = "row does not fit the model; it is" if outcome.bad_rows == 1 else "rows do not fit the model; they are"
        echo(f"warning: {outcome.bad_rows:,} {said} in {output.bad_rows_file}", err=True)
    classes = ", ".join(f"{name} {count:,}" for name, count in outcome.counts.items())
    went_on = ", resumed" if finished.is_resumed else ""
    echo(f"{outcome.scored:,} rows scored by {outcome.model} version {outcome.version} in {finished.seconds:.1f} s{went_on}")
    if classes:
        echo(f"  {classes}")
    echo(f"  {output.place}")


if __name__ == "__main__":
    command()
