"""The section about what a model's probabilities are for: from which one on it says yes."""

from typing import Annotated

import msgspec
from msgspec import Meta

from mlops_project.contract import Label
from mlops_project.decision import OWN_RULE, DecidedMetric
from mlops_project.sections.section import Section

EXPECTED = (
    "a number between 0 and 1, or one of {metric: f1}, {metric: accuracy}, {cost: {false_positive: 1, false_negative: 8}}, "
    "{recall: 0.95}, {precision: 0.9}"
)


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What wrong answers cost, in any unit."""

    false_positive: Annotated[float, Meta(ge=0)]
    false_negative: Annotated[float, Meta(ge=0)]

    def __post_init__(self) -> None:
        """Refuse costs that no threshold could weigh."""
        if not 0 < self.false_positive + self.false_negative < float("inf"):
            raise ValueError("costs that are finite, and not both 0")


class ThresholdRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a threshold is chosen for: one of these."""

    metric: DecidedMetric | None = None
    cost: Costs | None = None
    recall: Annotated[float, Meta(gt=0, le=1)] | None = None
    precision: Annotated[float, Meta(gt=0, le=1)] | None = None

    def __post_init__(self) -> None:
        """Refuse none, and several."""
        if sum(getattr(self, name) is not None for name in self.__struct_fields__) != 1:
            raise ValueError("exactly one of metric, cost, recall, precision")


class DecisionConfig(Section, frozen=True, dict=True):
    """From which probability on a model of two classes says yes."""

    threshold: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | ThresholdRule,
        Meta(
            description="Rows whose probability of the positive class is at least this are answered with it. `0.5`: the more "
            "probable class. `{metric: f1}` (or `accuracy`), `{cost: {false_positive: 1, false_negative: 8}}`, "
            "`{recall: 0.95}`, `{precision: 0.9}`: chosen on training rows by models that had not seen them.",
            extra={"expected": EXPECTED},
        ),
    ] = OWN_RULE
    folds: Annotated[int, Meta(ge=2, le=50, description="Cross-validation folds that a threshold is chosen in.")] = 5
    positive: Annotated[Label | None, Meta(description="The label that counts as positive, as `data.positive_class`.")] = None
