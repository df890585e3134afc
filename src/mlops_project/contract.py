"""The contract: a model's inputs and outputs, derived once from its training table and used everywhere else.

It yields the MLflow signature, the server's validation, the typed API schema, the user interface's widgets and the
reference bins for drift. This module holds the shape only and imports neither pandas nor scikit-learn, because the model
server reads it; ``data_prep.build_contract`` derives one from a table.
"""

from functools import cached_property
from typing import Literal

import msgspec

from mlops_project.decision import DecisionRule
from mlops_project.errors import ContractError, suggest

FeatureType = Literal["float", "integer", "boolean", "category", "string", "datetime"]
Task = Literal["binary", "multiclass", "regression"]
Label = bool | int | float | str

NUMERIC_TYPES: tuple[FeatureType, ...] = ("float", "integer", "boolean")
TEXT_TYPES: tuple[FeatureType, ...] = ("category", "string")
MERGED_CLASS = "other"  # what rare classes become if they are merged

# A datetime enters the model as these float64 columns, in this order. Seconds since 1970-01-01 UTC, 1-12, Monday = 0, 0-23.
DATETIME_PARTS: tuple[str, ...] = ("epoch_seconds", "month", "weekday", "hour")

# The quantile levels that a numeric feature records.
QUANTILE_LEVELS: tuple[float, ...] = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the values of a column are read, as training read them; every way of asking the model obeys it.

    Blanks around a text do not count, and an empty text is a missing value.

    Attributes
    ----------
    missing
        Marks of a missing value, in lower case: ``-999`` (the number as well), ``unknown``.
    na_words
        Columns of texts: words for a missing value; ``True`` for those of pandas (``NA``, ``None``, …). In all other columns
        these and placeholders such as ``?`` are none of the values, and missing.
    is_written
        Whether numbers, dates or truth values are written as texts here, which may be sent as such.
    decimal, thousands
        Signs in a number; empty where thousands are not marked.
    currency
        Sign before or behind a number.
    percent
        Whether ``50%`` stands for 0.5.
    formats
        How dates are written, as for ``strptime``. In a column of numbers: times of the day, which count in hours.
    """

    missing: tuple[str, ...] = ()
    na_words: bool | tuple[str, ...] = False
    is_written: bool = False
    decimal: str = "."
    thousands: str = ""
    currency: str = ""
    percent: bool = False
    formats: tuple[str, ...] = ()


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One input column.

    Attributes
    ----------
    name
        Column name, as in the training table.
    type
        ``float``, ``integer``, ``boolean``, ``category`` (a closed set of strings), ``string`` (an open one; the model
        knows its most frequent values) or ``datetime``.
    nullable
        Whether the training table had missing values here. An empty string is a missing value.
    minimum, maximum
        Range of the training rows; seconds since 1970 UTC for ``datetime``; None for text.
    quantiles
        Values at ``QUANTILE_LEVELS`` of the training rows, in the unit of ``minimum``; empty for text.
    categories
        ``category``: every value seen in training. ``string``: the values that the model can know, at most 100,000, most
        frequent first.
    default
        Median or most frequent value: what examples and forms start with. ISO 8601 text for ``datetime``.
    unit
        What people read behind the name; empty if nobody said.
    reading
        How values are read; None in models of earlier versions, and where each protocol's own types say all.
    """

    name: str
    type: FeatureType
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    quantiles: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    default: bool | int | float | str | None = None
    unit: str = ""
    reading: Reading | None = None

    @property
    def is_text(self) -> bool:
        """Whether the model reads this column as a string."""
        return self.type in TEXT_TYPES

    @cached_property
    def known(self) -> frozenset[str]:
        """The categories as a set, made once: a column may have 100,000."""
        return frozenset(self.categories)


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A model's inputs and outputs.

    Attributes
    ----------
    features
        Input columns in training order.
    target
        Name of the predicted column.
    task
        ``binary``, ``multiclass`` or ``regression``.
    classes
        Labels as they stand in the table, in the order of the probability columns; empty for regression. A binary task's
        positive class is the second.
    class_names
        What people read for each class; as long as ``classes``.
    merged
        Labels of the table that are ``MERGED_CLASS`` to the model, and in feedback.
    decision
        From which probability on the positive class is answered; not there where the model's own rule decides, so that models
        without one are written as in earlier versions.
    """

    features: tuple[Feature, ...]
    target: str
    task: Task
    classes: tuple[Label, ...] = ()
    class_names: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    decision: DecisionRule | msgspec.UnsetType = msgspec.UNSET

    @property
    def rule(self) -> DecisionRule | None:
        """``decision``, or None."""
        return None if isinstance(self.decision, msgspec.UnsetType) else self.decision

    @cached_property
    def threshold(self) -> float | None:
        """From which probability on the positive class is answered; None for the model's own rule."""
        return None if self.rule is None else self.rule.threshold

    @property
    def costs(self) -> tuple[float, float] | None:
        """What a wrong yes and a wrong no cost; None if nobody said so."""
        return None if self.rule is None else self.rule.costs

    def decide(self, decision: DecisionRule | None) -> "Contract":
        """Return the contract with this decision; None for the model's own rule."""
        return msgspec.structs.replace(self, decision=msgspec.UNSET if decision is None else decision)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Feature names in training order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def numbers(self) -> tuple[Feature, ...]:
        """Features that the model reads as float64, in training order: float, integer, boolean and datetime."""
        return tuple(feature for feature in self.features if not feature.is_text)

    @cached_property
    def texts(self) -> tuple[Feature, ...]:
        """Features that the model reads as strings, in training order."""
        return tuple(feature for feature in self.features if feature.is_text)

    @cached_property
    def number_columns(self) -> tuple[str, ...]:
        """Columns of the ONNX input ``numbers``: one per numeric feature, ``len(DATETIME_PARTS)`` per datetime."""
        columns: list[str] = []
        for feature in self.numbers:
            parts = DATETIME_PARTS if feature.type == "datetime" else ()
            columns.extend([f"{feature.name}.{part}" for part in parts] or [feature.name])
        return tuple(columns)

    @property
    def is_classification(self) -> bool:
        """Whether the model predicts classes with probabilities."""
        return self.task != "regression"

    def find_class(self, label: object) -> int | None:
        """Return the index of a label's class, that of ``MERGED_CLASS`` for a merged one; None if it is none.

        Types count: 1 is neither True nor 1.0.
        """
        if type(label) is str and label in self.merged:
            label = MERGED_CLASS
        return next((i for i, known in enumerate(self.classes) if known == label and type(known) is type(label)), None)

    def feature(self, name: str) -> Feature:
        """Return the feature called ``name``.

        Raises
        ------
        ContractError
            If the model has no such feature.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        raise ContractError(f"the model has no feature {name!r}{suggest(name, self.names)}")

    def example_row(self) -> dict[str, bool | int | float | str | None]:
        """Return one plausible row: every feature's default."""
        return {feature.name: feature.default for feature in self.features}
