"""A model to ask from Python: frames of pandas, polars or Arrow in, answers of the same kind out."""

import math
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops_project.bundle import REFERENCE_FILE, Bundle
from mlops_project.contract import Contract
from mlops_project.counterfactual import Bounds, Counterfactual, decode_row, find_counterfactual
from mlops_project.errors import BundleError, ContractError, suggest
from mlops_project.explanation import BUDGET_SECONDS, MAX_BACKGROUND, Explainer
from mlops_project.interface.settings import Source, open_config
from mlops_project.proof import load_runtime
from mlops_project.runtime import Predictions
from mlops_project.score import REGISTRY, fetch_model
from mlops_project.scoring.files import CHUNK_ROWS
from mlops_project.scoring.local import RULES, list_columns
from mlops_project.sections import ProofConfig
from mlops_project.sections.card import read_card
from mlops_project.tables.frames import build_column, build_frame, build_labels, name_columns, to_pandas
from mlops_project.tree_reasons import Inputs
from mlops_project.uncertainty import Uncertainty
from mlops_project.wire.background import shape_rows
from mlops_project.wire.rows import Encoded, RowReader
from mlops_project.wire.thresholds import find_problem


class Model:
    """A loaded model; ``load`` gives one. Safe to call from several threads at once.

    Frames are those of pandas, polars or pyarrow, or any with the Arrow or the dataframe interchange protocol. Columns are
    found by name, in any order; others are ignored. An array has exactly the model's columns, in the contract's order, and is
    answered with arrays; of a model with one column, a Series or a list will do. Values are read by the rules that training
    read its table with, as the model server reads them.

    Parameters
    ----------
    bundle
        The exported model.
    version
        Registered version, or the first digits of the digest.
    limits
        That the model is loaded within.

    Attributes
    ----------
    bundle, version
        As given.
    """

    def __init__(self, bundle: Bundle, version: str, limits: ProofConfig) -> None:
        self.bundle, self.version = bundle, version
        self._runtime = load_runtime(bundle, limits)
        self._reader = RowReader(bundle.contract, RULES)
        self._explainer: Explainer | None = None

    @property
    def name(self) -> str:
        """Name in the registry."""
        return self.bundle.metadata.name

    @property
    def contract(self) -> Contract:
        """The model's inputs and outputs."""
        return self.bundle.contract

    @property
    def metrics(self) -> dict[str, float]:
        """Metric → value on the held-out rows; ``bundle.metadata`` has their intervals."""
        return self.bundle.metadata.metrics

    @property
    def card(self) -> dict[str, str]:
        """What the model's owner says of it: intended use, what is out of scope, owner, contact, licence, as far as said."""
        return read_card(self.bundle.metadata.config).said

    def predict(self, frame: Any, *, threshold: float | None = None) -> Any:
        """Return the label of each row, as it stands in the training table, or the number.

        Parameters
        ----------
        threshold
            From which probability on the positive class of two is answered; 0.5 for the more probable class, None for what the
            model was trained with.

        Returns
        -------
        column
            A Series of pandas, with the frame's index, or of polars; for other frames an array of pyarrow.

        Raises
        ------
        RowsError
            If rows do not fit the contract; lists every problem by column and row.
        ContractError
            If the model has no answer for a row.
        """
        answers, contract = self.answer(frame, threshold=threshold), self.contract
        if answers.indices is None:
            return build_column(np.asarray(answers.values), frame, contract.target)
        return build_labels(contract.classes, answers.indices, frame, contract.target)

    def predict_proba(self, frame: Any) -> Any:
        """Return the probability of each class, one column per class under its name, in a frame of the caller's kind.

        Raises
        ------
        RowsError
            If rows do not fit the contract; lists every problem by column and row.
        ContractError
            If the model predicts no classes, or has no answer for a row.
        """
        if not self.contract.is_classification:
            raise ContractError(f"{self.contract.target!r} is a number and has no probabilities; use predict")
        probabilities = np.asarray(self.answer(frame).probabilities)
        return build_frame({name: probabilities[:, place] for place, name in enumerate(self.contract.class_names)}, frame)

    def predict_set(self, frame: Any, *, weighted: bool = False) -> Any:
        """Return which classes may be the true one: for rows like the held-out ones, it is among them as often as promised.

        Parameters
        ----------
        weighted
            Whether the rows are of another mix than the held-out ones, which are weighted for them then; see
            ``modeling.shift``.

        Returns
        -------
        frame
            Of the caller's kind: one boolean column per class under its name. The class that ``predict`` returns is always
            True. ``bundle.metadata.uncertainty.coverage`` is the promise.

        Raises
        ------
        RowsError, ContractError
            As for ``predict``; if the model predicts no classes, or does not say how sure it is.
        DataError
            If the rows are too few to be weighted for, or too unlike the held-out ones.
        """
        known = self._get_uncertainty()
        if known.sets is None:
            raise ContractError(f"{self.contract.target!r} is a number; use predict_interval")
        known, answers = self._reweigh(known, frame) if weighted else known, self.answer(frame)
        members = known.find_sets(np.asarray(answers.probabilities), np.asarray(answers.indices))
        return build_frame({name: members[:, place] for place, name in enumerate(self.contract.class_names)}, frame)

    def predict_interval(self, frame: Any, *, weighted: bool = False) -> Any:
        """Return between what the true number lies: for rows like the held-out ones, as often as promised.

        Parameters
        ----------
        weighted
            As for ``predict_set``.

        Returns
        -------
        frame
            Of the caller's kind, with the columns ``lower`` and ``upper``, in the target's unit.

        Raises
        ------
        RowsError, ContractError
            As for ``predict``; if the model predicts classes, or does not say how sure it is.
        DataError
            As for ``predict_set``.
        """
        known = self._get_uncertainty()
        if known.intervals is None:
            raise ContractError(f"{self.contract.target!r} is a class; use predict_set")
        known = self._reweigh(known, frame) if weighted else known
        lower, upper = known.find_intervals(np.asarray(self.answer(frame).values))
        return build_frame({"lower": lower, "upper": upper}, frame)

    def abstains(self, frame: Any) -> Any:
        """Return which rows should not be trusted: a number lies farther outside than training's, or all classes are possible.

        Returns
        -------
        column
            Booleans, of the kind that ``predict`` returns.

        Raises
        ------
        RowsError, ContractError
            As for ``predict``; if the model does not say how sure it is.
        """
        known, encoded = self._get_uncertainty(), self._encode(frame)
        answers, far = self._runtime.run(*encoded), known.is_far(encoded.numbers)
        if answers.probabilities is not None and answers.indices is not None:
            far = far | known.find_sets(answers.probabilities, answers.indices).all(axis=1)
        return build_column(far, frame, "abstain")

    def _get_uncertainty(self) -> Uncertainty:
        known = self.bundle.metadata.uncertainty
        if known is None:
            raise ContractError(
                f"{self.name} does not say how sure it is: it was trained without uncertainty.coverage, by an earlier version, "
                "or with too few held-out rows; train it again"
            )
        return known

    def _reweigh(self, known: Uncertainty, frame: Any) -> Uncertainty:
        from mlops_project.modeling.evaluation import encode_target
        from mlops_project.modeling.shift import reweigh, weigh_rows

        kept = self._read_reference()
        held_out = self._encode(kept.drop(columns=self.contract.target))
        seed = int(self.bundle.metadata.config.get("random_state", 0))
        weights = weigh_rows(shape_rows(held_out), shape_rows(self._encode(frame)), self.contract, seed)
        truth = encode_target(kept[self.contract.target], self.contract)
        return reweigh(known, self._runtime.run(*held_out), truth, weights)

    def explain(self, frame: Any, *, class_name: str | None = None, budget_seconds: float = BUDGET_SECONDS) -> Any:
        """Return how much each column moves each row's answer away from the mean answer: Shapley values.

        They are exact where the answers are a sum of trees (forests; boosted trees for numbers), else sampled.

        Parameters
        ----------
        class_name
            Whose probability is explained; default the positive class of two, of several the one that is predicted.
        budget_seconds
            For each row, where they are sampled.

        Returns
        -------
        frame
            Of the caller's kind: a column per feature, and ``(base)``, the mean answer to held-out rows. They add up to the
            probability, or to the number.

        Raises
        ------
        RowsError, ContractError
            If rows do not fit the contract, or there is no such class.
        BundleError
            If the bundle keeps no reference rows to compare with.
        """
        contract, explainer = self.contract, self._open_explainer()
        if class_name is not None and class_name not in contract.class_names:
            raise ContractError(f"no class is called {class_name!r}{suggest(class_name, contract.class_names)}")
        encoded = self._encode(frame)
        answers = self._runtime.run(*encoded)
        named = None if class_name is None else contract.class_names.index(class_name)
        found = []
        for row in range(len(encoded.numbers)):
            own = 1 if contract.task == "binary" else 0 if answers.indices is None else int(answers.indices[row])
            inputs = encoded.numbers[row : row + 1], encoded.texts[row : row + 1]
            output = own if named is None else named
            one = explainer.explain(inputs, output, budget_seconds)
            found.append([*one.contributions, one.base])
        values = np.array(found)
        return build_frame({name: values[:, place] for place, name in enumerate((*contract.names, "(base)"))}, frame)

    def counterfactual(
        self,
        frame: Any,
        *,
        class_name: str | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        fixed: Sequence[str] = (),
    ) -> "list[Counterfactual | None]":
        """Return for each row the least change of a few columns, within training's range, that turns the answer.

        Parameters
        ----------
        class_name
            That is to be answered; default the most probable of those that are not.
        at_least, at_most
            What is to be answered, one or both, where the model answers numbers.
        fixed
            Columns that stay as they are.

        Returns
        -------
        list
            ``changes`` by column, and ``index`` of the class and its ``probability``, or the ``value``; None where nothing was
            found.

        Raises
        ------
        RowsError, ContractError
            If rows do not fit the contract, there is no such class or column, or what is asked for is no answer of the model.
        """
        contract = self.contract
        bounds = Bounds(-math.inf if at_least is None else at_least, math.inf if at_most is None else at_most)
        if contract.is_classification == (bounds != Bounds()):
            asked = "at_least and at_most are for numbers" if contract.is_classification else "say at_least, at_most or both"
            raise ContractError(f"{contract.target!r} is a {'class' if contract.is_classification else 'number'}; {asked}")
        if class_name is not None and class_name not in contract.class_names:
            raise ContractError(f"no class is called {class_name!r}{suggest(class_name, contract.class_names)}")
        for name in fixed:
            contract.feature(name)
        wanted = None if class_name is None else contract.class_names.index(class_name)
        encoded = self._encode(frame)
        rows = (
            decode_row((encoded.numbers[place : place + 1], encoded.texts[place : place + 1]), contract)
            for place in range(len(encoded.numbers))
        )
        goal = wanted if contract.is_classification else bounds
        return [find_counterfactual(self._runtime, row, goal, fixed) for row in rows]

    def _open_explainer(self) -> Explainer:
        if self._explainer is None:
            self._explainer = Explainer(self._runtime, self._read_background())
        return self._explainer

    def _read_background(self) -> Inputs:
        rows = self._read_reference().head(MAX_BACKGROUND)
        return shape_rows(self._encode(rows.drop(columns=self.contract.target)))

    def _read_reference(self) -> pd.DataFrame:
        if REFERENCE_FILE not in self.bundle.metadata.files:
            raise BundleError(f"{self.name} keeps no reference rows to compare with; export.reference_rows keeps some")
        return pd.read_parquet(self.bundle.path / REFERENCE_FILE)

    def answer(self, frame: Any, *, threshold: float | None = None) -> Predictions:
        """Return the model's answers as arrays: indices and probabilities of classes, or values.

        Parameters
        ----------
        threshold
            As for ``predict``.

        Raises
        ------
        RowsError, ContractError
            As for ``predict``; or if there is no positive class.
        """
        problem = None if threshold is None else find_problem(threshold, self.contract)
        if problem is not None:
            raise ContractError(problem)
        return self._runtime.run(*self._encode(frame), threshold)

    def _encode(self, frame: Any) -> Encoded:
        rows = to_pandas(name_columns(frame, self.contract.names))
        return self._reader.read_blocks(_cut(rows), lambda block: list_columns(block, self._reader))

    def __repr__(self) -> str:
        takes, gives = f"{len(self.contract.features)} columns", f"{self.contract.target} ({self.contract.task})"
        return f"<Model {self.name} version {self.version}: {takes} → {gives}>"

    def _repr_html_(self) -> str:
        """Return what the model is and how good, for notebooks."""
        from mlops_project.modeling.evaluation import write_metrics

        metadata = self.bundle.metadata
        title = f"{self.name} version {self.version}: {metadata.estimator}, predicts {self.contract.target}"
        note = f"on {metadata.test_rows:,} held-out rows"
        return write_metrics(title, metadata.metrics, metadata.metric_intervals, metadata.baselines, note)


def _cut(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a frame in pieces; an empty one as it is."""
    yield from (rows.iloc[start : start + CHUNK_ROWS] for start in range(0, max(1, len(rows)), CHUNK_ROWS))


def load(place: str | Path | Bundle | None = None, *, config: Source = None, **settings: Any) -> Model:
    """Load a model.

    Parameters
    ----------
    place
        A bundle or its folder, or ``models:/name@champion``, ``models:/name/3`` or ``models:/name/latest`` in the registry;
        None for the exported model of the configuration.
    config
        For the registry's address; default the built-in configuration and MLflow's variables.
    settings
        As for ``train``: ``proof__trusted_types=["mycompany.*"]`` for a pipeline in Python that holds such steps.

    Raises
    ------
    BundleError, TrackingError, ConfigError
        If there is no such model, or it does not answer.
    """
    chosen = open_config(config, settings)
    if isinstance(place, Bundle) or not str(place or "").startswith(REGISTRY):
        return Model(*fetch_model(_write(place), chosen, Path()), chosen.proof)
    folder = Path(tempfile.mkdtemp(prefix="mlops-model-"))
    try:
        model = Model(*fetch_model(str(place), chosen, folder), chosen.proof)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)  # the model may read its files later
    return model


def _write(place: str | Path | Bundle | None) -> str | None:
    if isinstance(place, Bundle):
        return str(place.path)
    return None if place is None else str(place)
