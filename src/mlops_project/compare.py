"""Compare: two models on the held-out rows that they have in common. ``mlops compare A B``."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_project.command import WorkflowCommand, config_options, echo, echo_wrapped, print_json, print_table
from mlops_project.config import Config
from mlops_project.score import REGISTRY, fetch_model

if TYPE_CHECKING:
    from mlops_project.modeling.differences import Differences


def compare_models(a: str, b: str, config: Config) -> "Differences":
    """Compare two models; each is a bundle's folder, a version's number or alias, or ``models:/name/3``.

    Raises
    ------
    BundleError, TrackingError, ConfigError
        If there is no such model, or it has no rows to be judged on.
    """
    from mlops_project.side_by_side import compare_bundles

    with tempfile.TemporaryDirectory(prefix="mlops-compare-") as folder:
        found = []
        for name, place in (("a", a), ("b", b)):
            own = Path(folder, name)
            own.mkdir()
            found.append(fetch_model(_find_place(place, config), config, own))
        (one, first), (two, second) = found
        return compare_bundles(one, two, (first, second), config)


def _find_place(place: str, config: Config) -> str:
    """Return a place as ``fetch_model`` takes it; a number, or an alias that is no folder, is of the configuration's model."""
    if place.startswith(REGISTRY) or Path(place).expanduser().is_dir():
        return place
    return f"{REGISTRY}{config.model.name}/{place}" if place.isdigit() else f"{REGISTRY}{config.model.name}@{place}"


@click.command(
    cls=WorkflowCommand,
    name="compare",
    examples=(
        "mlops compare champion challenger churn.yaml --html compared.html",
        "mlops compare artifacts/churn models:/churn/3 churn.yaml --json",
    ),
)
@click.argument("a")
@click.argument("b")
@config_options
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write a page as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(a: str, b: str, config: Config, page: Path | None, as_json: bool) -> None:
    """Compare two models, A and B, on the held-out rows that they have in common.

    Each is a bundle's folder, models:/name/3 or models:/name@champion, or a version or an alias of CONFIG.yaml's model.
    """
    from mlops_project.modeling.differences import list_tables, write_page

    found = compare_models(a, b, config)
    if page is not None:
        page.write_text(write_page(found), encoding="utf-8")
    if as_json:
        print_json(found)
        return
    echo(f"A: {found.a}", f"B: {found.b}")
    echo_wrapped(*(f"note: {note}" for note in found.notes))
    for table in list_tables(found):
        echo("", table.title)
        if table.rows:
            print_table(table.columns, table.rows, droppable=("interval", "p") if "interval" in table.columns else ())
        echo_wrapped(*([table.note] if table.note else []))
    if page is not None:
        echo(f"page: {page}")


if __name__ == "__main__":
    command()
