"""The names of ``model.estimator``: which class each stands for, and the parameters that it is made with."""

import inspect
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.utils import get_tags

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, suggest
from mlops_project.modeling.encoders import OriginalLabels

# Parameters that the boosters' scikit-learn classes pass on to the library but do not list themselves.
# fmt: off
NATIVE_PARAMS: dict[str, tuple[str, ...]] = {
    "lightgbm": (
        "alpha", "bagging_fraction", "bagging_freq", "boost_from_average", "cat_l2", "cat_smooth", "categorical_feature",
        "deterministic", "drop_rate", "extra_trees", "fair_c", "feature_fraction", "feature_fraction_bynode", "force_col_wise",
        "force_row_wise", "interaction_constraints", "is_unbalance", "lambda_l1", "lambda_l2", "linear_tree", "max_bin",
        "max_cat_threshold", "max_cat_to_onehot", "max_delta_step", "max_drop", "min_data_in_bin", "min_data_in_leaf",
        "min_data_per_group", "min_gain_to_split", "min_sum_hessian_in_leaf", "monotone_constraints", "other_rate",
        "path_smooth", "poisson_max_delta_step", "reg_sqrt", "scale_pos_weight", "sigmoid", "skip_drop", "top_rate",
        "tweedie_variance_power", "uniform_drop", "use_missing", "verbose", "xgboost_dart_mode", "zero_as_missing",
    ),
    "xgboost": (
        "huber_slope", "normalize_type", "one_drop", "quantile_alpha", "rate_drop", "sample_type", "skip_drop",
        "tweedie_variance_power",
    ),
}
# fmt: on


class Kind(NamedTuple):
    """What a name stands for.

    Attributes
    ----------
    module
        Where the classes are.
    classifier, regressor
        For classes, and for numbers, or functions that make one; empty if there is none.
    params
        That it is made with, beside ``random_state``: quiet, repeatable, with enough steps to converge.
    scale
        How its numbers are scaled unless ``model.preprocessing`` says otherwise; ``codes``: every column becomes codes.
    """

    module: str
    classifier: str
    regressor: str
    params: dict[str, Any] = {}  # noqa: RUF012 - nobody writes into it
    scale: str = "standard"


CODES = "codes"
ENOUGH = {"max_iter": 1000}
BOOSTERS = {
    "catboost": Kind("catboost", "CatBoostClassifier", "CatBoostRegressor", {"verbose": False, "allow_writing_files": False}),
    # it times row-wise against column-wise histograms, and their sums differ
    "lightgbm": Kind(
        "lightgbm", "LGBMClassifier", "LGBMRegressor", {"verbose": -1, "deterministic": True, "force_row_wise": True}
    ),
    "xgboost": Kind("xgboost", "XGBClassifier", "XGBRegressor"),
}
ENSEMBLES = {
    "adaboost": Kind("sklearn.ensemble", "AdaBoostClassifier", "AdaBoostRegressor"),
    "bagging": Kind("sklearn.ensemble", "BaggingClassifier", "BaggingRegressor", {"n_estimators": 50}),
    "decision_tree": Kind("sklearn.tree", "DecisionTreeClassifier", "DecisionTreeRegressor"),
    "extra_trees": Kind("sklearn.ensemble", "ExtraTreesClassifier", "ExtraTreesRegressor"),
    "gradient_boosting": Kind("sklearn.ensemble", "GradientBoostingClassifier", "GradientBoostingRegressor"),
    "hist_gradient_boosting": Kind("sklearn.ensemble", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
    "random_forest": Kind("sklearn.ensemble", "RandomForestClassifier", "RandomForestRegressor"),
    "stacking": Kind("mlops_project.modeling.combined", "make_stacking_classifier", "make_stacking_regressor"),
    "voting": Kind("mlops_project.modeling.combined", "make_voting_classifier", "make_voting_regressor"),
}
LINEAR_CLASSIFIERS = {
    "lda": Kind(
        "sklearn.discriminant_analysis", "LinearDiscriminantAnalysis", "", {"solver": "lsqr"}
    ),  # its shrinkage can be searched
    "linear_svc": Kind("sklearn.svm", "LinearSVC", "", {"max_iter": 10_000}),
    "logistic_regression": Kind("sklearn.linear_model", "LogisticRegression", "", ENOUGH),
    "perceptron": Kind("sklearn.linear_model", "Perceptron", ""),
    "qda": Kind("sklearn.discriminant_analysis", "QuadraticDiscriminantAnalysis", "", {"reg_param": 0.01}),
    "ridge_classifier": Kind("sklearn.linear_model", "RidgeClassifier", ""),
}
LINEAR_REGRESSORS = {
    "bayesian_ridge": Kind("sklearn.linear_model", "", "BayesianRidge"),
    "elastic_net": Kind("sklearn.linear_model", "", "ElasticNetCV"),
    "gamma": Kind("sklearn.linear_model", "", "GammaRegressor", ENOUGH),
    "huber": Kind("sklearn.linear_model", "", "HuberRegressor", ENOUGH),
    "lasso": Kind("sklearn.linear_model", "", "LassoCV"),
    "linear_regression": Kind("sklearn.linear_model", "", "LinearRegression"),
    "linear_svr": Kind("sklearn.svm", "", "LinearSVR", {"max_iter": 10_000}),
    "poisson": Kind("sklearn.linear_model", "", "PoissonRegressor", ENOUGH),
    "ridge": Kind("sklearn.linear_model", "", "Ridge"),
    "ridge_cv": Kind("sklearn.linear_model", "", "RidgeCV"),
    "tweedie": Kind("sklearn.linear_model", "", "TweedieRegressor", ENOUGH),
}
OTHERS = {
    "bernoulli_nb": Kind("sklearn.naive_bayes", "BernoulliNB", ""),
    "categorical_nb": Kind("sklearn.naive_bayes", "CategoricalNB", "", scale=CODES),
    "complement_nb": Kind("sklearn.naive_bayes", "ComplementNB", "", scale="minmax"),
    "knn": Kind("sklearn.neighbors", "KNeighborsClassifier", "KNeighborsRegressor"),
    "mlp": Kind("sklearn.neural_network", "MLPClassifier", "MLPRegressor", {"max_iter": 500}),
    "multinomial_nb": Kind("sklearn.naive_bayes", "MultinomialNB", "", scale="minmax"),
    "naive_bayes": Kind("sklearn.naive_bayes", "GaussianNB", ""),
    "nu_svc": Kind("sklearn.svm", "NuSVC", ""),
    "nu_svr": Kind("sklearn.svm", "", "NuSVR"),
    "sgd": Kind("sklearn.linear_model", "SGDClassifier", "SGDRegressor"),
    "svc": Kind("sklearn.svm", "SVC", ""),
    "svm": Kind("sklearn.svm", "SVC", "SVR"),
    "svr": Kind("sklearn.svm", "", "SVR"),
}
KINDS = BOOSTERS | ENSEMBLES | LINEAR_CLASSIFIERS | LINEAR_REGRESSORS | OTHERS
# These take the labels 0 … K-1 only, or answer with texts where labels are booleans.
NEEDS_POSITIONS = ("catboost", "xgboost")


def build_estimator(contract: Contract, config: Config) -> BaseEstimator:
    """Return the unfitted estimator that ``model.estimator`` names; a classifier always has probabilities.

    Raises
    ------
    ConfigError
        If it does not fit the task, is not installed, or does not know a parameter.
    """
    name, method = config.model.estimator, config.model.calibration
    _check_task(name, contract, method)
    estimator = _find_class(name, contract.is_classification)()
    known = list_params(name, contract)
    unknown = [key for key in config.model.params if key not in known]
    if unknown:
        lines = [f"model.params.{key}: {name} has no such parameter{suggest(key, known)}" for key in unknown]
        raise ConfigError("\n".join(lines))
    by_position = contract.is_classification and (
        name in NEEDS_POSITIONS or any(isinstance(label, float) for label in contract.classes)
    )  # scikit-learn takes 0.5 for a quantity
    defaults = {key: config.random_state for key in known if key.split("__")[-1] == "random_state"}
    given = defaults | KINDS[name].params | _sgd_loss(name, contract) | config.model.params
    estimator.set_params(**given | _weigh_classes(name, known, contract, config, by_position=by_position))
    _check_settings(estimator, name)
    if method == "none" and contract.is_classification and not hasattr(estimator, "predict_proba"):
        method = "sigmoid"  # its decisions are no probabilities
    if name in NEEDS_POSITIONS and by_position:
        estimator, by_position = OriginalLabels(estimator), any(isinstance(label, float) for label in contract.classes)
    if method != "none":
        estimator = CalibratedClassifierCV(estimator, method=method, cv=5)
    return OriginalLabels(estimator) if by_position else estimator


def _check_task(name: str, contract: Contract, calibration: str) -> None:
    if name == "own":
        raise ConfigError(
            "model.estimator: own is a pipeline that you fitted; hand it over with mlops.export, see docs/python.md"
        )
    if contract.is_classification and not KINDS[name].classifier:
        raise ConfigError(
            f"model.estimator: {name} predicts numbers, and {contract.target!r} is {contract.task}; use logistic_regression"
        )
    if not contract.is_classification:
        if not KINDS[name].regressor:
            raise ConfigError(f"model.estimator: {name} predicts classes, and {contract.target!r} is a number; use ridge")
        if calibration != "none":
            raise ConfigError("model.calibration: only classes have probabilities to calibrate; use none for regression")


def _check_settings(estimator: BaseEstimator, name: str) -> None:
    """Refuse what the library cannot read at all, such as one of CatBoost's parameters under two of its names."""
    try:
        get_tags(estimator)
    except Exception as error:
        raise ConfigError(f"model.params: {name} refuses them: {' '.join(str(error).split())[:300]}") from error


def _sgd_loss(name: str, contract: Contract) -> dict[str, Any]:
    """Return the loss by which stochastic gradient descent has probabilities of its own."""
    return {"loss": "log_loss"} if name == "sgd" and contract.is_classification else {}


def _weigh_classes(
    name: str, known: tuple[str, ...], contract: Contract, config: Config, *, by_position: bool
) -> dict[str, Any]:
    """Return ``model.class_weight`` as the estimator takes it."""
    wanted = config.model.class_weight
    if wanted is None:
        return {}
    if not contract.is_classification:
        raise ConfigError(f"model.class_weight: {contract.target!r} is a number and has no classes; leave it out")
    if name == "catboost":
        return _weigh_for_catboost(wanted, contract)
    if "class_weight" not in known:
        able = ", ".join(list_weighable())
        raise ConfigError(f"model.class_weight: {name} has no such parameter; use one of {able}")
    if isinstance(wanted, str):
        return {"class_weight": wanted}
    weights = _check_labels(wanted, contract)
    places = {label: place for place, label in enumerate(np.sort(np.array(contract.classes)).tolist())}
    return {"class_weight": {places[label]: weight for label, weight in weights.items()} if by_position else weights}


def _check_labels(wanted: "dict[Any, float]", contract: Contract) -> "dict[Any, float]":
    strangers = [label for label in wanted if contract.find_class(label) is None]
    if strangers:
        known = ", ".join(map(repr, contract.classes))
        raise ConfigError(f"model.class_weight: {strangers[0]!r} is no class; the classes are {known}")
    return {label: wanted.get(label, 1.0) for label in contract.classes}


def _weigh_for_catboost(wanted: Any, contract: Contract) -> dict[str, Any]:
    if isinstance(wanted, str):
        return {"auto_class_weights": "Balanced"}
    weights = _check_labels(wanted, contract)
    return {"class_weights": [weights[label] for label in np.sort(np.array(contract.classes)).tolist()]}


def list_weighable() -> tuple[str, ...]:
    """Return the names whose classifiers take ``model.class_weight``; boosters that are not installed are left out."""
    found = ["catboost"]
    for name, kind in KINDS.items():
        if kind.classifier and name not in BOOSTERS and "class_weight" in _find_class(name, True)().get_params():
            found.append(name)
    return tuple(sorted([*found, "lightgbm"]))


def find_scale(name: str) -> str:
    """Return how an estimator's numbers are scaled where nothing is said of them."""
    return KINDS[name].scale if name in KINDS else "standard"


def list_params(name: str, contract: Contract) -> tuple[str, ...]:
    """Return which parameters an estimator has for the contract's task."""
    kind = _find_class(name, contract.is_classification)
    if name == "catboost":  # it lists only those that were given
        return tuple(list(inspect.signature(kind.__init__).parameters)[1:])
    return (*kind().get_params(), *NATIVE_PARAMS.get(name, ()))


def _find_class(name: str, classification: bool) -> Any:
    """Import the class; only the library that is asked for is loaded."""
    kind = KINDS[name]
    try:
        module = import_module(kind.module)
    except ImportError as error:
        raise ConfigError(f"model.estimator: {name} is not installed; pip install 'mlops_project[boost]'") from error
    return getattr(module, kind.classifier if classification else kind.regressor)
