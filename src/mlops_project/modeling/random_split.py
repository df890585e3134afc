"""What a random split would have said of a model whose table has copies: an estimate without a second fit."""

import numpy as np
import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import Scored, compute_metric, find_metric
from mlops_project.runtime import Predictions, Runtime
from mlops_project.tables.splits import Split

MAX_ROWS = 5_000  # of the copies among the training rows, which the model answers once more


def compare_with_random_split(
    runtime: Runtime, split: Split, held_out: HeldOut, contract: Contract, config: Config
) -> tuple[str, float, float] | None:
    """Return a metric, its value on the held-out rows, and about what a random split would have given.

    In a random split a row with c - 1 copies is held out without any of them in training with probability test_size**(c - 1).
    Otherwise the model knows it, and answers as it answers the copies that it did learn from. So the estimate is the metric on
    held-out rows and training rows together, each weighted by how often a random split would hold out such a row. It is a
    little high: a training row is known to the model once more than a held-out copy of it would be.

    Returns
    -------
    metric, held_out, random
        None if no copies were kept together.
    """
    if split.copies is None or config.data.copies != "together":
        return None
    twins, sizes = split.copies.twins, np.bincount(split.copies.groups)[split.copies.groups]
    if len(twins) != len(split.train_target) + len(split.test_target):  # labelled predictions have joined
        return None
    learned = split.train_target.index[twins[split.train_target.index]]
    copies = pd.Series(learned).sample(min(len(learned), MAX_ROWS), random_state=config.random_state).to_numpy()
    if not len(copies):
        return None
    unknown = config.test_size ** (sizes - 1.0)
    truth = encode_target(split.train_target.loc[copies], contract)
    known = HeldOut.predict(runtime, split.train_features.loc[copies], truth).score(contract)
    own = held_out.score(contract)
    per_row = len(split.test_target) / len(split.train_target) * len(learned) / len(copies)
    weights = np.concatenate([unknown[split.test_target.index], (1 - unknown[copies]) * per_row])
    task = contract.task
    name = "r2" if task == "regression" else "accuracy"
    value = find_metric(name, task)(_join(own, known), weights[None, :])
    return name, compute_metric(name, own, task), float(value[0])


def _join(one: Scored, other: Scored) -> Scored:
    truth = np.concatenate([one.truth, other.truth])
    if one.predictions.values is not None and other.predictions.values is not None:
        return Scored(Predictions(values=np.concatenate([one.predictions.values, other.predictions.values])), truth, 0)
    indices = np.concatenate([one.indices, other.indices])
    return Scored(Predictions(indices, np.concatenate([one.probabilities, other.probabilities])), truth, one.n_classes)
