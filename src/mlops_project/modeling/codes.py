"""Columns → codes from 0 on, for an estimator that counts how often each code occurs: ``CategoricalNB``."""

from collections.abc import Iterator
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer

from mlops_project.config import Config
from mlops_project.contract import DATETIME_PARTS, Contract, Feature
from mlops_project.errors import ConfigError
from mlops_project.modeling.encoders import DatetimeParts
from mlops_project.modeling.preparation import BINNING, BINS, build_texts, list_steps, resolve_settings
from mlops_project.sections import PreparationConfig


def build_codes(contract: Contract, config: Config) -> tuple[ColumnTransformer, list[int]]:
    """Return the unfitted step that turns every column into codes, and how many codes each of its columns has.

    A text becomes the place of its category, and one more for any other text. A number becomes the tenth of the rows that it
    lies in, or its own place, where its column holds at most ten whole numbers. A missing number gets the median before.

    Raises
    ------
    ConfigError
        If settings do not fit their columns, or an estimator of codes; lists every one.
    DataError
        If a column of texts has no known value.
    """
    settings = resolve_settings(contract, config, impute=True, scale="none")
    problems = [said for feature in contract.features for said in _find_unfit(feature, settings.get(feature.name), config)]
    if "min_categories" in config.model.params:
        problems.append("model.params.min_categories: the columns' codes decide on it; leave it out")
    if problems:
        raise ConfigError("\n".join(problems))
    blocks: list[tuple[str, Any, list[str]]] = []
    counts: list[int] = []
    for number, feature in enumerate(contract.features, 1):
        block, codes = _build_block(feature, settings[feature.name], config)
        blocks.append((f"codes_{number}", block, [feature.name]))
        counts += codes
    return ColumnTransformer(blocks, sparse_threshold=0), counts


def _find_unfit(feature: Feature, prepared: PreparationConfig | None, config: Config) -> Iterator[str]:
    """Yield what cannot become codes."""
    name = config.model.estimator
    if prepared is None:
        yield f"data.text: {name} counts codes and reads no words of column {feature.name!r}; use multinomial_nb"
        return
    given = config.model.preprocessing
    group = given.texts if feature.is_text else given.dates if feature.type == "datetime" else given.numbers
    own = given.columns.get(feature.name, group)
    wanted = "ordinal" if feature.is_text else "bins"
    if prepared.scale != "none" or prepared.indicator:
        yield f"model.preprocessing: column {feature.name!r}: {name} counts codes; leave scale and indicator out"
    if {own.encode, group.encode} - {"auto", wanted}:
        yield f"model.preprocessing: column {feature.name!r}: {name} counts codes; leave encode out, or encode: {wanted}"


def _build_block(feature: Feature, prepared: PreparationConfig, config: Config) -> tuple[Any, list[int]]:
    """Return what one column goes through, and how many codes each column has that it becomes."""
    if feature.is_text:
        texts = build_texts(PreparationConfig(prepared.impute, prepared.fill, encode="ordinal"), (feature,))
        n_known = len(texts["encoder"].categories[0])
        return texts.set_params(encoder__unknown_value=n_known), [n_known + 1]
    bare = PreparationConfig(prepared.impute, prepared.fill, scale="none")
    steps = list_steps(bare, (feature,), config)
    if feature.type == "datetime":
        binned = KBinsDiscretizer(BINS, encode="ordinal", subsample=None, **BINNING)
        return Pipeline([("parts", DatetimeParts()), *steps, ("bins", binned)]), [BINS] * len(DATETIME_PARTS)
    if feature.type == "boolean":
        return Pipeline(steps) if steps else "passthrough", [2]
    places = _count_places(feature)
    how = BINNING if places is None else {"strategy": "uniform"}
    n_codes = BINS if places is None else places
    return Pipeline([*steps, ("bins", KBinsDiscretizer(n_codes, encode="ordinal", subsample=None, **how))]), [n_codes]


def _count_places(feature: Feature) -> int | None:
    """Return how many whole numbers lie in a column's range, at least two; None if they are many, or others as well."""
    if feature.type != "integer" or feature.minimum is None or feature.maximum is None:
        return None
    places = int(feature.maximum - feature.minimum) + 1
    return max(2, places) if places <= BINS else None
