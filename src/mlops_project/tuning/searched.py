"""Which estimators are searched, where each starts from, and over which space: read from the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, suggest
from mlops_project.modeling.choice import AUTO, CrossValidation, with_model
from mlops_project.modeling.estimators import list_params
from mlops_project.modeling.pipeline import build_pipeline
from mlops_project.modeling.rounds import NAMES, Rounds, knows_rounds
from mlops_project.tables.first_models import FirstModel, name_first_estimators
from mlops_project.tuning.defaults import find_default
from mlops_project.tuning.spaces import Default, Range, Space, Values, fit_starts, read_space

# What other estimators than `model.estimator` have beside their spaces. A forest only gets better with more trees.
PLAIN: dict[str, Values] = {
    "random_forest": {"n_estimators": 200, "n_jobs": -1},
    "extra_trees": {"n_estimators": 200, "n_jobs": -1},
}
# Early stopping is off below 10,000 rows by default, so in the folds; the model of all rows is to be what was searched.
ALWAYS: dict[str, Values] = {"hist_gradient_boosting": {"early_stopping": False}}


@dataclass(frozen=True)
class Searched:
    """An estimator that is searched.

    Attributes
    ----------
    estimator, params
        What is not searched of it.
    space
        What is.
    starts
        Values of ``sampled`` to try first.
    rounds
        The part of the space that is not sampled, as one fit tells how good each number of rounds is.
    """

    estimator: str
    params: Values
    space: Space
    starts: tuple[Values, ...]
    rounds: Rounds | None = None

    @property
    def sampled(self) -> Space:
        """The part of the space that values are drawn from."""
        return {name: part for name, part in self.space.items() if self.rounds is None or name != self.rounds.name}

    def fill(self, values: Mapping[str, Any]) -> FirstModel:
        """Return the model with values of the space."""
        return FirstModel(self.estimator, self.params | dict(values))  # type: ignore[arg-type] # one of the literal's


def list_searched(config: Config, contract: Contract, rows: CrossValidation, n_rows: int) -> tuple[Searched, ...]:
    """Return what is searched, each estimator once.

    Parameters
    ----------
    rows
        What is cross-validated: the default spaces depend on how many these are, and on the target's spread.
    n_rows
        All training rows.

    Raises
    ------
    ConfigError
        If an estimator does not fit the task, is not installed, or has no such parameter.
    """
    own = config.model.estimator
    if config.model.pipeline is not None and not config.search.estimators:
        raise ConfigError(
            "model.pipeline: its parameters are not searched; put a GridSearchCV into the function, or name search.estimators"
        )
    names = [
        name
        for wanted in config.search.estimators or (own,)
        for name in (name_first_estimators(contract.task, n_rows) if wanted == AUTO else (wanted,))
    ]
    names = list(dict.fromkeys(names))
    known = {name: list_params(name, contract) for name in names if _check(name, config, contract)}
    given = _adopt_params(config, known)
    spaces = _split_spaces(config, known)
    n_fold = int(np.median([len(train) for train, _ in rows.folds]))
    spread = float(np.std(rows.truth)) if not contract.is_classification else 1.0
    found = []
    for name in names:
        plain = ALWAYS.get(name, {}) if name == own else PLAIN.get(name, {}) | ALWAYS.get(name, {})
        params = plain | given.get(name, {})
        default = find_default(name, contract.task, n_fold, spread) or Default({}, ())
        space = read_space(spaces[name], name, known[name], _name_place(name, config)) if name in spaces else default.space
        if not space:
            raise ConfigError(f"search.space: {name} has no parameters of its own to search; name some")
        configured = {key: value for key, value in params.items() if key in space}
        wanted = (default.starts[0] | configured, *default.starts) if default.starts else (configured,)
        one = Searched(name, params, space, (), _find_rounds(name, params, space, config))
        found.append(replace(one, starts=fit_starts(wanted, one.sampled)))
        build_pipeline(contract, with_model(config, found[-1].fill({})))  # raises what is wrong with the other settings
    return tuple(found)


def _find_rounds(name: str, params: Values, space: Space, config: Config) -> Rounds | None:
    rounds = NAMES.get(name, "")
    part, fixed = space.get(rounds), {key: value for key, value in params.items() if key not in space}
    if not isinstance(part, Range) or not part.is_whole or part.low < 1 or len(space) < 2:
        return None
    return Rounds(rounds, int(part.low), int(part.high)) if knows_rounds(name, fixed, space, config) else None


def _name_place(name: str, config: Config) -> str:
    return f"search.space.{name}" if name in config.search.space else "search.space"


def _check(name: str, config: Config, contract: Contract) -> bool:
    """Raise what keeps an estimator from being trained at all; True if nothing does."""
    build_pipeline(contract, with_model(config, FirstModel(name)))  # type: ignore[arg-type] # one of the literal's
    return True


def _adopt_params(config: Config, known: Mapping[str, tuple[str, ...]]) -> dict[str, Values]:
    """Return which of ``model.params`` each estimator gets: they are meant for ``model.estimator``, ``auto`` for all."""
    own, given = config.model.estimator, config.model.params
    about = {own: known[own]} if own in known else dict(known)
    for name in given:
        if own in (*about, AUTO) and not any(name in names for names in about.values()):
            near = suggest(name, sorted({one for names in about.values() for one in names}))
            raise ConfigError(f"model.params.{name}: {' and '.join(about)} has no such parameter{near}; rename or remove it")
    if own not in (*about, AUTO):
        return {}
    return {one: {name: value for name, value in given.items() if name in names} for one, names in about.items()}


def _split_spaces(config: Config, known: Mapping[str, tuple[str, ...]]) -> dict[str, Mapping[str, Any]]:
    """Return the given spaces by estimator; of a single one the configuration may leave its name out."""
    given = config.search.space
    named = [name for name in given if name in known and isinstance(given[name], Mapping) and not {"low"} & given[name].keys()]
    if len(named) == len(given):
        return {name: given[name] for name in named}
    if len(known) == 1:
        return {next(iter(known)): given}
    wrong = next(name for name in given if name not in named)
    raise ConfigError(
        f"search.space.{wrong}: with several estimators, name the one that is meant, such as "
        f"{{{next(iter(known))}: {{{wrong}: …}}}}; searched are {', '.join(known)}"
    )
