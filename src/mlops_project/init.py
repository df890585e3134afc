"""``mlops init`` writes a commented configuration for a table; ``mlops config check`` explains what is wrong with one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from mlops_project.command import WorkflowCommand, echo, print_next
from mlops_project.errors import ConfigError, DataError, explain_os
from mlops_project.storage.files import replacing
from mlops_project.utils import load_config

if TYPE_CHECKING:
    from mlops_project.findings import Finding
    from mlops_project.tables.inspect import Inspection

CLOSER_LOOKS = 3
MAX_VALUES = 20_000_000  # of a table; a closer look reads it once more
HEAD_ROWS = 1000  # of a table, that `config check` looks at
EXAMPLES = {  # tables of scikit-learn
    "breast_cancer": "two classes: 569 tumours, malignant or benign; 30 numbers",
    "wine": "three classes: 178 wines of three growers; 13 numbers",
    "iris": "three classes: 150 flowers; 4 numbers",
    "digits": "ten classes: 1,797 written digits; 64 numbers",
    "diabetes": "a number: how 442 patients fare a year later; 10 numbers",
}


class _Rows(click.ParamType[Any]):
    """Rows of a file: a number, ``2,3``, or where they may be, true and false."""

    name = "rows"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            read = yaml.safe_load(f"[{value.strip('[]')}]")
        except yaml.YAMLError:
            read = []
        whole = [number for number in read if type(number) is int]
        if len(read) == 1 and (whole or (isinstance(read[0], bool) and param is not None and param.name == "header")):
            return (read[0],) if "[" in value else read[0]
        if not read or len(whole) < len(read):
            self.fail(f"{value!r} is no row: expected a number, or several such as 2,3", param, ctx)
        return tuple(whole)


class _Sheet(click.ParamType[str | int]):
    """A sheet by its number, or by its name."""

    name = "sheet"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        return int(value) if str(value).isdigit() else str(value)


@click.command(
    cls=WorkflowCommand,
    examples=(
        "mlops init customers.csv --target churned -o churn.yaml",
        "mlops init sklearn:wine --target target -o wine.yaml   # a table that is here already",
        "mlops init export.csv --target price --skip-rows 3 --separator ';' --decimal ,",
    ),
)
@click.argument("source", required=False)
@click.option("--target", help="Column to predict.")
@click.option(
    "--task", type=click.Choice(["binary", "multiclass", "regression"]), help="What to predict, if the guess is wrong."
)
@click.option("--query", help="SQL query, when SOURCE is a SQLAlchemy URL.")
@click.option("--header", type=_Rows(), help="Row with the columns' names, from 1; `false` if there is none.")
@click.option("--names", help="Names of all columns, separated by commas, where the file has none or others.")
@click.option("--skip-rows", type=_Rows(), help="How many rows at the start are no data; `[2]` for row 2 alone.")
@click.option("--skip-footer", type=click.IntRange(0), help="How many rows at the end are no data, such as totals.")
@click.option("--separator", help="Sign between fields; `space` for blanks, `fixed` for columns of fixed width.")
@click.option("--decimal", type=click.Choice([".", ","]), help="Decimal sign.")
@click.option("--thousands", type=click.Choice([",", ".", " ", "'"]), help="Sign between thousands.")
@click.option("--encoding", help="Encoding of a text file, such as cp1252.")
@click.option("--sheet", type=_Sheet(), help="Sheet of a spreadsheet, by name or number.")
@click.option("--member", help="File of a zip archive.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("model.yaml"), show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(source: str | None, target: str | None, query: str | None, output: Path, force: bool, **options: Any) -> None:
    """Look at the table SOURCE (a file, folder, glob or URL) and write a commented configuration for it.

    Without SOURCE, tables to begin with are named. What is odd in a file's layout (titles, no header, totals, …) is found
    out and said; an option says otherwise.
    """
    from mlops_project.tables.draft import draft_config, write_config
    from mlops_project.tables.inspect import adopt_findings
    from mlops_project.tables.summary import summarise_inspection

    if source is None:
        _offer_examples()
        return
    if output.exists() and not force:
        raise ConfigError(f"{output}: exists already; choose another name with -o, or replace it with --force")
    settings, folder = _read_settings(options), output.resolve().parent
    text, found = draft_config(source, target, query=query, folder=folder, settings=settings)
    _write(output, text)
    for _ in range(CLOSER_LOOKS if found.n_rows * found.n_columns <= MAX_VALUES else 0):  # a leak may hide another
        if not adopt_findings(found, _look_closely(output, found)):
            break
        _write(output, write_config(found, source, query=query, folder=folder, settings=settings))
    echo(*summarise_inspection(found))
    echo("", f"wrote {output}; every choice stands in it with its reason")
    print_next([(f"mlops train {output}", "train the model, judge it on held-out rows, and export it")])


def _offer_examples() -> None:
    """Name tables to begin with: those of scikit-learn are there already."""
    echo("which table? Yours:", "", "  mlops init table.csv --target COLUMN -o model.yaml", "", "or one to try it with:", "")
    for name, purpose in EXAMPLES.items():
        echo(f"  mlops init sklearn:{name} --target target -o {name}.yaml", f"      {purpose}")
    echo("", "real tables, with odd files, dates and late labels, are in the repository's", "folder examples/")


def _write(output: Path, text: str) -> None:
    try:
        with replacing(output, f".{output.name}.{os.getpid()}") as stream:
            stream.write(text.encode())
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {explain_os(error)}") from error


def _look_closely(output: Path, found: "Inspection") -> "tuple[Finding, ...]":
    """Judge the table as training will; what would stop it otherwise is noted."""
    from mlops_project.data_prep import judge_table, load_table

    config = load_config(output)
    try:
        return judge_table(load_table(config), config, refuse=False).findings
    except DataError as error:
        found.notes.append(f"training would stop: {error}")
        return ()


def _read_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of the command as settings of ``data``."""
    settings = {name: value for name, value in options.items() if value is not None}
    if "names" in settings:
        settings["names"] = tuple(name.strip() for name in settings["names"].split(","))
    if "separator" in settings:
        settings["separator"] = settings["separator"].replace("\\t", "\t")
    return settings


@click.group(name="config")
def config_command() -> None:
    """Check a configuration and explain every problem."""


@config_command.command(
    cls=WorkflowCommand, examples=("mlops config check churn.yaml", "mlops config check --show churn.yaml   # every setting")
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--show", is_flag=True, help="Print the whole configuration, defaults included; the table is not looked at.")
@click.option("--no-data", is_flag=True, help="Check the file alone, not whether the table has the columns that it names.")
def check(file: Path | None, show: bool, no_data: bool) -> None:
    """Check FILE (default: the built-in configuration) and explain every problem at once.

    Of the table only the first rows are read: whether it can be read, and has the columns that FILE names.
    """
    config = load_config(file)
    if show:
        echo(*config.to_yaml().splitlines())
        return
    if not no_data:
        from mlops_project.data_prep import check_columns

        echo(check_columns(config, HEAD_ROWS))
    echo(f"{config.file}: ok")


if __name__ == "__main__":
    command()
