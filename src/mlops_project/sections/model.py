"""The section about what is trained: the estimator, what its columns go through before it, and its parameters."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlops_project.contract import Label
from mlops_project.names import EXPECTED_MODEL_NAME, MAX_MODEL_NAME, MODEL_NAME
from mlops_project.sections.section import Section

# `modeling/estimators.py` says which classes they are, and with which parameters.
Estimator = Literal[
    "auto",
    "random_forest",
    "extra_trees",
    "decision_tree",
    "bagging",
    "adaboost",
    "gradient_boosting",
    "hist_gradient_boosting",
    "xgboost",
    "lightgbm",
    "catboost",
    "voting",
    "stacking",
    "logistic_regression",
    "ridge_classifier",
    "perceptron",
    "sgd",
    "lda",
    "qda",
    "linear_regression",
    "ridge",
    "ridge_cv",
    "lasso",
    "elastic_net",
    "bayesian_ridge",
    "huber",
    "poisson",
    "gamma",
    "tweedie",
    "svm",
    "svc",
    "svr",
    "nu_svc",
    "nu_svr",
    "linear_svc",
    "linear_svr",
    "knn",
    "naive_bayes",
    "bernoulli_nb",
    "multinomial_nb",
    "complement_nb",
    "categorical_nb",
    "mlp",
    "own",
]


class PreparationConfig(Section, frozen=True, dict=True):
    """What columns go through before the estimator reads them."""

    impute: Annotated[
        Literal["auto", "none", "mean", "median", "most_frequent"],
        Meta(
            description="What stands in for a missing value. `auto`: of numbers and dates the median, where the estimator does "
            "not take missing values; of texts nothing, being missing is a category of its own."
        ),
    ] = "auto"
    fill: Annotated[float | str | None, Meta(description="This value in place of a missing one: a number, or a text.")] = None
    indicator: Annotated[
        bool | None, Meta(description="Whether one more column says where a number was missing; it is imputed then.")
    ] = None
    scale: Annotated[
        Literal["auto", "none", "standard", "minmax", "maxabs", "robust", "power", "quantile", "normal"],
        Meta(
            description="How numbers are scaled. `standard` (which is `auto`): mean 0, deviation 1. `robust`: median 0, by the "
            "middle half of the rows. `power`: made more symmetric first (Yeo-Johnson). `quantile`: the share of rows below, 0 "
            "to 1; `normal`: that share as a normal score."
        ),
    ] = "auto"
    encode: Annotated[
        Literal["auto", "onehot", "ordinal", "target", "bins"],
        Meta(
            description="Texts: as for `model.encoding`. Numbers: `onehot`, a column for each value, for codes that count "
            "nothing; `bins`, a column for each tenth of the rows."
        ),
    ] = "auto"


class PreprocessingConfig(Section, frozen=True, dict=True):
    """What columns go through before the estimator reads them, by group and by column; a column's own settings win."""

    numbers: PreparationConfig = msgspec.field(default_factory=PreparationConfig)
    dates: PreparationConfig = msgspec.field(default_factory=PreparationConfig)
    texts: PreparationConfig = msgspec.field(default_factory=PreparationConfig)
    columns: Annotated[
        dict[str, PreparationConfig],
        Meta(description="Column → settings of its own: `{income: {scale: power}, zone: {encode: onehot}}`."),
    ] = msgspec.field(default_factory=dict)


class ModelConfig(Section, frozen=True, dict=True):
    """What is trained."""

    name: Annotated[
        str,
        Meta(
            pattern=MODEL_NAME,
            max_length=MAX_MODEL_NAME,
            description="Name in the model registry.",
            extra={"expected": EXPECTED_MODEL_NAME},
        ),
    ] = "breast-cancer"
    estimator: Annotated[
        Estimator,
        Meta(
            description="Which estimator. `auto` compares linear models, gradient boosting and forests by cross-validation "
            "of the training rows, and keeps the simplest of the best. `own` is a pipeline that was handed to `mlops.export`."
        ),
    ] = "random_forest"
    preprocessing: PreprocessingConfig = msgspec.field(default_factory=PreprocessingConfig)
    class_weight: Annotated[
        dict[Label, float] | Literal["balanced"] | None,
        Meta(
            description="How much each class counts in training: `balanced`, all the same, or weights such as "
            "`{bad: 5, good: 1}`. More of a rare class are found then, and probabilities are no longer shares of rows until "
            "`calibration` makes them so.",
            extra={"expected": "`balanced`, or a weight for each class: `{bad: 5, good: 1}`"},
        ),
    ] = None
    pipeline: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")] | None,
        Meta(
            description="In place of `estimator`: `package.module:function`, which returns an unfitted pipeline; the module "
            "may lie beside the configuration file. A parameter, if it has one, gets the contract. A class will do, too "
            "(`sklearn.linear_model:HuberRegressor`); what is no `Pipeline` gets this product's preprocessing before it.",
            extra={"expected": "`package.module:function`"},
        ),
    ] = None
    budget_seconds: Annotated[
        float,
        Meta(gt=0, description="How long `estimator: auto` compares; models that it has not come to by then are left out."),
    ] = 120.0
    params: Annotated[
        dict[str, Any],
        Meta(description="The estimator's own parameters. `n_jobs` counts in training only."),
    ] = msgspec.field(default_factory=dict)
    calibration: Annotated[
        Literal["none", "sigmoid", "isotonic"], Meta(description="Calibrate the probabilities (5-fold).")
    ] = "none"
    words: Annotated[int, Meta(ge=1, le=20_000, description="How many words a column of `data.text` is read by.")] = 500
    encoding: Annotated[
        Literal["auto", "onehot", "ordinal", "target"],
        Meta(
            description="How text columns become numbers. `onehot`: a column per category, of a `string` column the 100 most "
            "frequent. `ordinal`: the category's number. `target`: the target's mean among the rows of that category (for "
            "several classes the share of each), learned from other rows than those it is trained on. `auto`: `onehot` up to "
            "`data.max_categories`, `target` beyond."
        ),
    ] = "auto"
