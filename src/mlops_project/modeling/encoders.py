"""Small scikit-learn transformers for what scikit-learn has none for. They can be cloned, pickled and stored by skops."""

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GroupKFold, KFold, PredefinedSplit, StratifiedKFold
from sklearn.preprocessing import TargetEncoder
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from mlops_project.contract import DATETIME_PARTS
from mlops_project.runtime import MISSING_TEXT, Floats, datetime_parts

FOLDS = 5  # of cross-fitting
OUTLIER_LABELS = (-1, 1)  # what scikit-learn's outlier detectors answer: an outlier, and none


class DatetimeParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Datetime columns → float64 ``(n_rows, n_columns * len(DATETIME_PARTS))``; a missing date is NaN in every part."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> "DatetimeParts":
        """Learn nothing but the number of columns."""
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> Floats:
        """Compute the parts; a column that is not datetime64 is read as ISO 8601 text in UTC."""
        check_is_fitted(self, "n_features_in_")
        columns = [pd.to_datetime(X.iloc[:, index], utc=True, format="ISO8601") for index in range(X.shape[1])]
        return np.hstack([datetime_parts(column.dt.tz_localize(None).to_numpy("datetime64[us]")) for column in columns])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``column.part`` names."""
        return np.array([f"{name}.{part}" for name in input_features for part in DATETIME_PARTS], dtype=object)


class FillText(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Text columns → str objects of the same shape; None, NaN and NA become the empty string."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> "FillText":
        """Learn nothing but the number of columns."""
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.object_]:
        """Fill missing values and make every other one a str."""
        check_is_fitted(self, "n_features_in_")
        filled = np.empty(X.shape, dtype=object)
        for index in range(X.shape[1]):  # a str per different value, not one per row: a tenth of the memory and of the time
            codes, values = pd.factorize(X.iloc[:, index])
            filled[:, index] = np.array([*map(str, values), MISSING_TEXT], dtype=object)[codes]  # -1 marks a missing value
        return filled

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names unchanged."""
        return input_features


class _OfNamedColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Reads the columns of a frame by the names that they had when it was fitted."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn the columns' names."""
        self.feature_names_in_ = np.array([str(name) for name in X.columns], dtype=object)
        self.n_features_in_ = X.shape[1]
        return self


class OneColumn(_OfNamedColumns):
    """A frame of one text column → its texts ``(n_rows,)``, for pipelines fitted on a column; a gap is an empty text."""

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.object_]:
        """Return the texts."""
        check_is_fitted(self, "feature_names_in_")
        texts: npt.NDArray[np.object_] = FillText().fit_transform(X[[*self.feature_names_in_]])[:, 0]
        return texts


class AsArray(_OfNamedColumns):
    """A frame → an array, for pipelines that were fitted on arrays and whose functions ask them by places."""

    def transform(self, X: pd.DataFrame) -> npt.NDArray[Any]:
        """Return the values, ``(n_rows, n_columns)``."""
        check_is_fitted(self, "feature_names_in_")
        values: npt.NDArray[Any] = X[[*self.feature_names_in_]].to_numpy()
        return values


class CategoryTypes(_OfNamedColumns):
    """A frame → the same frame with pandas' type ``category`` in some columns, as boosters were fitted; others become missing.

    Parameters
    ----------
    categories
        Column → its categories in order, texts or numbers.
    """

    def __init__(self, categories: dict[str, list[Any]]) -> None:
        self.categories = categories

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with the types."""
        check_is_fitted(self, "feature_names_in_")
        typed = X[[*self.feature_names_in_]].copy()
        for name, values in self.categories.items():
            categories: pd.Index[Any] = pd.Index(values)
            codes = categories.get_indexer(pd.Index(X[name]))  # -1: missing, or none of them
            typed[name] = pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories))
        return typed

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names unchanged."""
        return input_features


class WordWeights(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Columns of free text → each row's most frequent words, weighed by how rare they are (tf-idf), float64, column by column.

    Parameters
    ----------
    most
        Words per column.
    """

    def __init__(self, most: int = 500) -> None:
        self.most = most

    def fit(self, X: pd.DataFrame, y: Any = None) -> "WordWeights":
        """Learn the words of each column and how many rows have them; a missing text has none."""
        texts = FillText().fit_transform(X)
        self.vectorizers_ = [TfidfVectorizer(max_features=self.most).fit(column) for column in texts.T]
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> Floats:
        """Weigh the words, ``(n_rows, n_words)``."""
        check_is_fitted(self, "vectorizers_")
        columns = zip(self.vectorizers_, FillText().fit_transform(X).T, strict=True)
        return np.hstack([vectorizer.transform(column).toarray() for vectorizer, column in columns])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``column: word`` names."""
        named = zip(input_features, self.vectorizers_, strict=True)
        return np.array([f"{name}: {word}" for name, step in named for word in step.get_feature_names_out()], dtype=object)


class TargetMeans(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Text columns → the target's mean among the rows of each category, float64; of several classes, the share of each.

    The rows that it is fitted on get means of other rows (cross-fitting): with its own answer among them, a category of few
    rows would look as if it foretold the target. Means of few rows are drawn towards the mean of all, which is also what a
    value gets that is not known.

    Parameters
    ----------
    categories
        Known values of each column, object arrays; the empty string among them if a missing value is to have its own mean.
    target_type
        ``binary``, ``multiclass`` or ``continuous``.
    smooth
        How many rows the mean of all rows counts for; ``auto``: by the variance within the category and between all rows.
    random_state
        Of the folds.
    apart
        Row label → group or time; rows of one group, or of one stretch of time, get means of other groups or stretches. Let go
        of once it is fitted; None: folds are drawn at random.
    ordered
        Whether ``apart`` is a time.
    """

    def __init__(
        self,
        categories: Any,
        target_type: str,
        smooth: Any = "auto",
        random_state: int = 0,
        apart: Any = None,
        ordered: bool = False,
    ) -> None:
        self.categories = categories
        self.target_type = target_type
        self.smooth = smooth
        self.random_state = random_state
        self.apart = apart
        self.ordered = ordered

    def fit(self, X: pd.DataFrame, y: Any) -> "TargetMeans":
        """Learn the means of all rows; use ``fit_transform`` to encode the rows that a model is to learn from."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: pd.DataFrame, y: Any) -> Floats:
        """Learn the means of all rows and return each row's from the other folds, ``(n_rows, n_columns * n_classes)``."""
        answers = np.asarray(y)
        if self.target_type != "continuous":
            answers = np.unique(answers, return_inverse=True)[1]
        folds = self._split(X.index, answers)
        encoder = TargetEncoder(categories=[*self.categories], target_type=self.target_type, smooth=self.smooth, cv=folds)
        encoded: Floats = encoder.fit_transform(FillText().fit_transform(X), answers)
        self.encoder_ = encoder.set_params(cv=FOLDS)  # a stored encoder holds neither the folds' rows
        self.apart = None  # nor anybody's group
        self.n_features_in_ = X.shape[1]
        return encoded

    def transform(self, X: pd.DataFrame) -> Floats:
        """Return the means of all rows that it was fitted on, ``(n_rows, n_columns * n_classes)``."""
        check_is_fitted(self, "encoder_")
        encoded: Floats = self.encoder_.transform(FillText().fit_transform(X))
        return encoded

    def _split(self, rows: pd.Index, answers: npt.NDArray[Any]) -> list[tuple[Any, Any]]:
        """Return each fold's other rows and its own; every row is in one fold."""
        stratified = self.target_type != "continuous"
        splitter: Any = (StratifiedKFold if stratified else KFold)(FOLDS, shuffle=True, random_state=self.random_state)
        if self.apart is not None and self.ordered:
            place = self.apart.reindex(rows).rank(method="min", na_option="bottom").to_numpy() - 1  # labelled later: newest
            stretches = (place * FOLDS // len(rows)).astype(np.int64)
            if stretches.any():
                splitter = PredefinedSplit(stretches)
        elif self.apart is not None:
            groups = pd.factorize(self.apart.reindex(rows))[0]
            alone = groups < 0
            groups[alone] = groups.max() + 1 + np.arange(alone.sum())
            if groups.any():
                splitter = GroupKFold(min(FOLDS, groups.max() + 1), shuffle=True, random_state=self.random_state)
                return list(splitter.split(answers, answers, groups))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class in fewer rows than folds: its share is 0 in one of them
            return list(splitter.split(answers, answers))


class OriginalLabels(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Give a classifier that only takes the labels 0 … K-1 (XGBoost) the labels of the table.

    Parameters
    ----------
    estimator
        The classifier to wrap.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "OriginalLabels":
        """Fit the classifier on label positions."""
        self.classes_, positions = np.unique(np.asarray(y), return_inverse=True)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator_ = clone(self.estimator).fit(X, positions, **weights)
        self.n_features_in_ = self.estimator_.n_features_in_
        return self

    def predict(self, X: Any) -> Any:
        """Predict labels of the table, ``(n_rows,)``."""
        check_is_fitted(self)
        return self.classes_[np.ravel(self.estimator_.predict(X))]  # CatBoost answers in a column

    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities ``(n_rows, n_classes)`` in the order of ``classes_``."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


class OutlierScores(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """An isolation forest as a classifier of -1 (outlier) and 1: its score, from 0 to 1, stands where a probability would.

    Parameters
    ----------
    estimator
        ``IsolationForest``.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @classmethod
    def around(cls, fitted: Any) -> "OutlierScores":
        """Wrap one that is fitted."""
        made = cls(fitted)
        made._take(fitted)
        return made

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "OutlierScores":
        """Fit it; the labels are not learned from."""
        self._take(clone(self.estimator).fit(X, sample_weight=sample_weight))
        return self

    def _take(self, fitted: Any) -> None:
        self.estimator_, self.classes_, self.n_features_in_ = fitted, np.array(OUTLIER_LABELS), fitted.n_features_in_
        if hasattr(fitted, "feature_names_in_"):
            self.feature_names_in_ = fitted.feature_names_in_

    def predict(self, X: Any) -> Any:
        """Return -1 for outliers and 1 for others, ``(n_rows,)``."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def predict_proba(self, X: Any) -> Floats:
        """Return the score of Liu, Ting and Zhou (2008), ``-score_samples``, and what it lacks to 1, ``(n_rows, 2)``."""
        check_is_fitted(self)
        scores = -self.estimator_.score_samples(X)
        return np.column_stack([scores, 1.0 - scores])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags
