"""The contract as people read it: a table of the inputs, a file to fill in, and whether a row fits."""

import pandas as pd

from mlops_project.contract import Contract, Feature
from mlops_project.scoring.formulas import neutralise_frame
from mlops_project.ui.language import Translate, format_bound
from mlops_project.ui.reference import Row

SHOWN_VALUES = 6


def describe_inputs(contract: Contract, t: Translate) -> pd.DataFrame:
    """Return a row per feature: name, type, whether it may be missing, what training saw."""
    return pd.DataFrame(
        [
            {
                t("column"): feature.name,
                t("type"): feature.type,
                t("may.be.missing"): feature.nullable,
                t("seen"): _describe(feature, t),
            }
            for feature in contract.features
        ]
    )


def _describe(feature: Feature, t: Translate) -> str:
    if feature.is_text:
        shown = ", ".join(feature.categories[:SHOWN_VALUES]) + (", …" if len(feature.categories) > SHOWN_VALUES else "")
        return t("seen.values", count=len(feature.categories), values=shown)
    if feature.type == "boolean":
        return f"{t('no')}, {t('yes')}"
    if feature.minimum is None or not feature.quantiles:
        return "-"
    middle = feature.quantiles[len(feature.quantiles) // 2]
    ends = {"low": feature.minimum, "high": feature.maximum, "middle": middle}
    return t("seen.range", **{name: format_bound(value, feature, t) for name, value in ends.items()})


def make_template(contract: Contract, t: Translate) -> str:
    """Return a CSV file with the inputs' names and one example row, as spreadsheets in the visitor's language read it."""
    separator, decimal = (",", ".") if t.code == "en" else (";", ",")
    return neutralise_frame(pd.DataFrame([contract.example_row()])).to_csv(index=False, sep=separator, decimal=decimal)


def fits(row: Row, contract: Contract) -> bool:
    """Whether a row has just this contract's inputs, each of its type."""
    return row.keys() == set(contract.names) and all(is_kept(row, feature) for feature in contract.features)


def is_kept(row: Row, feature: Feature) -> bool:
    """Whether a row's value for a feature can be a value of this feature."""
    if feature.name not in row:
        return False
    value = row[feature.name]
    if value is None:
        return takes_none(feature)
    if feature.type == "category":
        return value in feature.categories
    kinds: dict[str, type] = {"float": float, "integer": int, "boolean": bool}
    return type(value) is kinds.get(feature.type, str)


def takes_none(feature: Feature) -> bool:
    """Whether a feature's value may be missing."""
    return feature.nullable or feature.default is None
