"""What columns go through before the estimator reads them: blocks of columns that are treated alike, in one step."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError, DataError, suggest
from mlops_project.modeling.encoders import DatetimeParts, FillText, TargetMeans, WordWeights
from mlops_project.runtime import MISSING_TEXT
from mlops_project.sections import PreparationConfig, PreprocessingConfig
from mlops_project.tables.texts import MAX_ONE_HOT

WORDS = "words"  # the block of free texts
GROUPS = ("numbers", "dates", "texts", "means")  # of blocks, in the order of their columns; means: texts as the target's means
BINS, QUANTILES = 10, 100
BINNING: dict[str, Any] = {"strategy": "quantile", "quantile_method": "averaged_inverted_cdf"}
SCALERS: dict[str, Any] = {
    "standard": StandardScaler,
    "minmax": MinMaxScaler,
    "maxabs": MaxAbsScaler,
    "robust": RobustScaler,
    "power": PowerTransformer,
}


def is_plain(config: Config) -> bool:
    """Whether nothing is said of any column."""
    return config.model.preprocessing == PreprocessingConfig()


def build_features(contract: Contract, config: Config, *, impute: bool, scale: str) -> ColumnTransformer:
    """Return the unfitted step that turns every column into numbers.

    Parameters
    ----------
    impute
        Whether the estimator takes no missing values.
    scale
        How numbers are scaled where nothing is said of them.

    Raises
    ------
    ConfigError
        If settings do not fit their columns; lists every one.
    DataError
        If a column of texts has no known value.
    """
    settings = resolve_settings(contract, config, impute=impute, scale=scale)
    found: dict[tuple[str, PreparationConfig], list[Feature]] = {}
    for feature in contract.features:
        if feature.name in settings:
            found.setdefault((_find_group(feature, settings[feature.name]), settings[feature.name]), []).append(feature)
    blocks: list[tuple[str, Any, list[str]]] = []
    for group in GROUPS:
        alike = [(prepared, features) for (own, prepared), features in found.items() if own == group]
        for number, (prepared, features) in enumerate(alike, 1):
            block = _build_block(group, prepared, tuple(features), contract, config)
            blocks.append((group if number == 1 else f"{group}_{number}", block, [feature.name for feature in features]))
    prose = [feature.name for feature in contract.texts if feature.name in config.data.text]
    if prose:
        blocks.append((WORDS, WordWeights(config.model.words), prose))
    return ColumnTransformer(blocks, sparse_threshold=0)


def resolve_settings(contract: Contract, config: Config, *, impute: bool, scale: str) -> dict[str, PreparationConfig]:
    """Return what each column goes through, without ``auto``; columns that are read by their words are left out.

    Raises
    ------
    ConfigError
        If settings do not fit their columns; lists every one.
    """
    given, settings = config.model.preprocessing, {}
    problems = [
        f"model.preprocessing.columns.{name}: the model has no such column{suggest(name, contract.names)}"
        for name in given.columns
        if name not in contract.names
    ]
    for feature in contract.features:
        if feature.name in config.data.text:
            if feature.name in given.columns:
                problems.append(f"model.preprocessing.columns.{feature.name}: data.text reads it by its words; leave it out")
            continue
        group = given.texts if feature.is_text else given.dates if feature.type == "datetime" else given.numbers
        wanted = _merge(given.columns.get(feature.name, PreparationConfig()), group)
        unfit = _find_unfit(feature, wanted, impute=impute)
        problems += [f"model.preprocessing: column {feature.name!r}: {said}" for said in unfit]
        whole = (
            _complete_text(wanted, feature, config)
            if feature.is_text
            else _complete_number(wanted, feature, scale, impute=impute)
        )
        settings[feature.name] = whole
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def _merge(own: PreparationConfig, group: PreparationConfig) -> PreparationConfig:
    """Return a column's settings, with its group's where it has none."""
    fills = own if own.impute != "auto" or own.fill is not None else group
    return PreparationConfig(
        impute=fills.impute,
        fill=fills.fill,
        indicator=group.indicator if own.indicator is None else own.indicator,
        scale=group.scale if own.scale == "auto" else own.scale,
        encode=group.encode if own.encode == "auto" else own.encode,
    )


def _find_unfit(feature: Feature, wanted: PreparationConfig, *, impute: bool) -> Iterator[str]:
    """Yield what cannot be done with a column."""
    kind = "text" if feature.is_text else "date" if feature.type == "datetime" else "number"
    if kind == "text":
        if wanted.scale != "auto":
            yield "texts have no scale; leave scale out"
        if wanted.indicator:
            yield "being missing is a value of a text already; leave indicator out"
        if wanted.impute in ("mean", "median"):
            yield f"texts have no {wanted.impute}; impute: most_frequent, or fill"
    if wanted.fill is not None and isinstance(wanted.fill, str) != (kind == "text"):
        yield f"fill: {wanted.fill!r} is no {kind}"
    allowed = {"text": ("onehot", "ordinal", "target"), "number": ("onehot", "bins"), "date": ()}[kind]
    if wanted.encode not in ("auto", *allowed):
        yield f"encode: {wanted.encode} is not for a {kind}" + (
            f"; use {' or '.join(allowed)}" if allowed else "; leave it out"
        )
    if wanted.encode == "target" and (wanted.fill is not None or wanted.impute == "most_frequent"):
        yield "encode: target gives missing texts a mean of their own; leave impute and fill out"
    if wanted.impute == "none" and wanted.fill is None and impute and feature.nullable and kind != "text":
        yield "impute: none, and the estimator takes no missing values; impute them, or use hist_gradient_boosting"


def _complete_text(wanted: PreparationConfig, feature: Feature, config: Config) -> PreparationConfig:
    encode = choose_encoding(feature, config) if wanted.encode == "auto" else wanted.encode
    filled = "none" if wanted.impute == "auto" else wanted.impute
    return PreparationConfig(impute=filled, fill=wanted.fill, indicator=False, scale="none", encode=encode)  # type: ignore[arg-type]


def _complete_number(wanted: PreparationConfig, feature: Feature, scale: str, *, impute: bool) -> PreparationConfig:
    encode = "onehot" if wanted.encode == "bins" and feature.type == "boolean" else wanted.encode  # it has two values
    has_columns = encode != "auto"
    missing = (impute and not has_columns) or (encode == "bins" and feature.nullable) or bool(wanted.indicator)
    filled = ("median" if missing else "none") if wanted.impute == "auto" else wanted.impute
    if filled == "none" and wanted.indicator:
        filled = "median"
    scaled = "none" if has_columns else scale if wanted.scale == "auto" else wanted.scale
    return PreparationConfig(
        impute=filled,
        fill=wanted.fill,
        indicator=bool(wanted.indicator),
        scale=scaled,  # type: ignore[arg-type]  # of a table of literals
        encode=encode,
    )


def _find_group(feature: Feature, prepared: PreparationConfig) -> str:
    if feature.is_text:
        return "means" if prepared.encode == "target" else "texts"
    return "dates" if feature.type == "datetime" else "numbers"


def list_steps(prepared: PreparationConfig, features: tuple[Feature, ...], config: Config) -> list[tuple[str, Any]]:
    """Return the steps that numbers go through."""
    steps: list[tuple[str, Any]] = []
    takes_imputer = any(feature.nullable or feature.type != "boolean" for feature in features)  # the library refuses booleans
    if takes_imputer and (prepared.fill is not None or prepared.impute != "none"):
        strategy = prepared.impute if prepared.fill is None else "constant"
        options = {} if prepared.fill is None else {"fill_value": float(prepared.fill)}
        indicated = {"add_indicator": True} if prepared.indicator else {}
        steps.append(("imputer", SimpleImputer(strategy=strategy, keep_empty_features=True, **options, **indicated)))
    if prepared.encode == "onehot":
        steps.append(("encoder", OneHotEncoder(handle_unknown="ignore", sparse_output=False)))
    elif prepared.encode == "bins":
        steps.append(("bins", KBinsDiscretizer(BINS, encode="onehot-dense", subsample=None, **BINNING)))
    elif prepared.scale != "none":
        steps.append(("scaler", _build_scaler(prepared.scale, config)))
    return steps


def _build_scaler(name: str, config: Config) -> Any:
    if name in SCALERS:
        return SCALERS[name]()
    output = "normal" if name == "normal" else "uniform"
    return QuantileTransformer(n_quantiles=QUANTILES, output_distribution=output, random_state=config.random_state)


def _build_block(
    group: str, prepared: PreparationConfig, features: tuple[Feature, ...], contract: Contract, config: Config
) -> Any:
    """Return what columns of one group with the same settings go through."""
    if group == "texts":
        return build_texts(prepared, features)
    if group == "means":
        target_type = "continuous" if contract.task == "regression" else contract.task
        encoder = TargetMeans(_list_values(features), target_type, random_state=config.random_state)
        return Pipeline([("encoder", encoder), ("scaler", StandardScaler())])
    steps = list_steps(prepared, features, config)
    if group == "dates":
        return Pipeline([("parts", DatetimeParts()), *steps])
    return Pipeline(steps) if steps else "passthrough"


def build_texts(prepared: PreparationConfig, features: tuple[Feature, ...]) -> Pipeline:
    """Return the steps that texts go through, the last of which is ``encoder``: ``ordinal``, else a column per value."""
    steps: list[tuple[str, Any]] = [("fill", FillText())]
    filled = prepared.fill is not None or prepared.impute != "none"
    if filled:
        options = (
            {"strategy": "most_frequent"} if prepared.fill is None else {"strategy": "constant", "fill_value": prepared.fill}
        )
        steps.append(("imputer", SimpleImputer(missing_values=MISSING_TEXT, **options)))
    more = () if prepared.fill is None else (str(prepared.fill),)
    if prepared.encode == "ordinal":
        values = _list_values(features, filled=filled, more=more)
        encoder: Any = OrdinalEncoder(categories=values, handle_unknown="use_encoded_value", unknown_value=-1)
    else:
        values = _list_values(features, MAX_ONE_HOT, filled=filled, more=more)
        # zeros and ones in a byte each: they become float64 once, beside the numbers, and not twice before
        encoder = OneHotEncoder(categories=values, handle_unknown="ignore", sparse_output=False, dtype=np.uint8)
    return Pipeline([*steps, ("encoder", encoder)])


def choose_encoding(feature: Feature, config: Config) -> str:
    """Return how a text column becomes numbers where nothing is said of it: ``onehot``, ``ordinal`` or ``target``."""
    if config.model.encoding != "auto":
        return config.model.encoding
    return "target" if len(feature.categories) > config.data.max_categories else "onehot"


def _list_values(
    texts: tuple[Feature, ...], most: int | None = None, *, filled: bool = False, more: tuple[str, ...] = ()
) -> "list[npt.NDArray[np.object_]]":
    """Return each column's known values; of an open set (``string``) at most so many, the most frequent.

    Parameters
    ----------
    filled
        Whether a missing value is none of them, being filled before.
    more
        What it is filled with.
    """
    known = []
    for feature in texts:
        categories = feature.categories[:most] if feature.type == "string" else feature.categories
        gap = [MISSING_TEXT] if feature.nullable and not filled else []
        known.append(np.array([*categories, *gap, *(text for text in more if text not in categories)], dtype=object))
        if not len(known[-1]):
            raise DataError(f"column {feature.name!r} has no known value to encode; add it to data.drop")
    return known
