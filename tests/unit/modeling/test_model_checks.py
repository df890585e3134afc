"""Findings about a model by its held-out rows: each disease is named by its code, and its healthy twin is left in peace."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError
from mlops_project.findings import Finding, accept
from mlops_project.modeling.gate import refuse_findings
from mlops_project.modeling.metrics import Scored
from mlops_project.modeling.model_checks import check_model
from mlops_project.runtime import Predictions
from mlops_project.sections import ChecksConfig, GatesConfig

FEATURES = (
    Feature("x", "float"),
    Feature("city", "category", categories=("Natal", "Olinda", "Recife")),
    Feature("since", "datetime"),
)
BINARY = Contract(FEATURES, "y", "binary", ("no", "yes"), ("no", "yes"))
THREE = Contract(FEATURES, "y", "multiclass", ("a", "b", "c"), ("a", "b", "c"))
NUMBER = Contract(FEATURES, "y", "regression")
N = 1500


class World:
    """Rows whose log odds are ``2 x``, and a model that knows it."""

    def __init__(self, seed: int, n_rows: int = N) -> None:
        rng = np.random.default_rng(seed)
        self.features = pd.DataFrame(
            {
                "x": rng.normal(size=n_rows),
                "city": rng.choice(["Natal", "Olinda", "Recife"], n_rows, p=[0.2, 0.3, 0.5]),
                "since": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 300, n_rows), "D"),
            }
        )
        self.odds = 2 * self.features["x"].to_numpy()
        self.truth = (rng.random(n_rows) < expit(self.odds)).astype(np.int64)
        self.values = self.odds + rng.normal(size=n_rows)

    def of(self, city: str) -> Any:
        return (self.features["city"] == city).to_numpy()

    def score(self, odds: Any) -> Scored:
        positive = expit(odds)
        return Scored(Predictions((positive >= 0.5).astype(np.int64), np.column_stack([1 - positive, positive])), self.truth, 2)


def check(world: World, scored: Scored, contract: Contract = BINARY, groups: tuple[str, ...] = ()) -> list[Finding]:
    return check_model(scored, world.features, contract, Config(checks=ChecksConfig(groups=groups)))


@pytest.mark.parametrize("seed", range(20))
def test_healthy_model_is_left_in_peace(seed: int) -> None:
    world = World(seed)
    assert check(world, world.score(world.odds), groups=("city",)) == []
    assert check(world, Scored(Predictions(values=world.odds), world.values, 0), NUMBER) == []


def test_part_that_the_model_fails_is_named() -> None:
    world = World(0)
    turned = world.of("Natal")
    world.truth[turned] = 1 - world.truth[turned]
    finding = next(one for one in check(world, world.score(world.odds)) if one.code == "worse-in-part")
    assert (finding.code, finding.columns, finding.severity) == ("worse-in-part", ("city",), "warning")
    assert finding.seen.startswith(f"where 'city' is 'Natal' ({turned.sum()} held-out rows), the model is ")
    values = np.where(world.features["x"] > 1, -3 * world.odds, world.odds)
    finding, *_ = check(world, Scored(Predictions(values=values), world.values, 0), NUMBER)
    assert finding.columns == ("x",)
    assert " or more (" in finding.seen


def test_model_that_is_bad_everywhere_is_not_said_to_be_bad_in_each_part() -> None:
    world = World(5)
    world.truth = 1 - world.truth
    assert "worse-in-part" not in {finding.code for finding in check(world, world.score(world.odds))}


def test_part_of_which_the_model_knows_nothing_is_named_even_where_it_says_so() -> None:
    world = World(6)
    noise = world.of("Natal")
    world.truth[noise] = np.arange(noise.sum()) % 2
    careful = world.score(np.where(noise, 0.0, 2 * world.odds))
    sharp = (world.odds > 0).astype(np.int64)
    world.truth[~noise] = careful.truth[~noise] = sharp[~noise]
    (finding,) = (one for one in check(world, careful) if one.code == "weak-in-part")
    assert finding.columns == ("city",)
    assert finding.seen.startswith(f"where 'city' is 'Natal' ({noise.sum()} held-out rows), the model explains 1%, and ")


def test_part_of_one_class_alone_proves_nothing() -> None:
    world = World(1)
    world.truth[world.of("Natal")] = 0
    world.truth[np.flatnonzero(world.of("Natal"))[:5]] = 1
    rare = world.odds - 4 * world.of("Natal")  # a little too careful in a part with hardly a positive
    assert "worse-in-part" not in {finding.code for finding in check(world, world.score(rare))}


@pytest.mark.parametrize(("change", "off"), [(lambda odds: odds + 1.2, "level"), (lambda odds: 4 * odds, "too sure")])
def test_probabilities_that_mislead_are_named(change: Any, off: str) -> None:
    world = World(2)
    found = {finding.code: finding for finding in check(world, world.score(change(world.odds)))}
    assert "of 'yes' are off by 0." in found["misleading-probabilities"].seen, off
    assert "held-out rows around" in found["misleading-probabilities"].seen


def test_rare_and_absent_classes_are_named() -> None:
    world = World(3, 300)
    truth = np.where(np.arange(300) < 4, 1, 0)
    probabilities = np.tile([0.9, 0.06, 0.04], (300, 1))
    found = check(world, Scored(Predictions(np.zeros(300, np.int64), probabilities), truth, 3), THREE)
    said = {finding.code: finding.seen for finding in found}
    assert said["class-not-held-out"] == "no held-out row is of class 'c'"
    assert said["few-held-out-rows"] == "of some classes only a few rows are held out: 4 of 'b'"
    few = Scored(Predictions(values=np.zeros(12)), np.zeros(12), 0)
    assert [finding.code for finding in check(World(0, 12), few, NUMBER)] == ["few-held-out-rows"]


def test_groups_with_unequal_errors_are_named_where_they_are_to_be_compared() -> None:
    world = World(4, 4000)
    strict = world.score(world.odds - 1.5 * world.of("Natal"))
    codes = [finding.code for finding in check(world, strict)]
    assert "unequal-errors" not in codes
    found = [finding for finding in check(world, strict, groups=("city",)) if finding.code == "unequal-errors"]
    assert {finding.columns for finding in found} == {("city",)}, found
    aside = pd.DataFrame({"town": world.features["city"]})
    beside = check_model(strict, world.features, BINARY, Config(checks=ChecksConfig(groups=("town",))), aside)
    assert ("town",) in {finding.columns for finding in beside}
    assert all("'Natal'" in finding.seen for finding in found)
    assert found[0].seen.startswith("of rows of 'yes', ")
    with pytest.raises(ConfigError, match=r"checks.groups: the model has no column 'citi'; did you mean 'city'"):
        check(world, strict, groups=("citi",))


def test_gate_promotes_no_model_with_a_finding_that_bars_it_unless_it_is_accepted() -> None:
    world = World(0)
    world.truth[world.of("Natal")] = 1 - world.truth[world.of("Natal")]
    found = check(world, world.score(world.odds))
    gates = GatesConfig(checks=("worse-in-part",))
    decision = refuse_findings(found, gates)
    assert decision is not None
    assert (decision.promote, decision.verdict) == (False, "barred")
    assert decision.reason.startswith("gates.checks promotes no model with worse-in-part: where 'city' is 'Natal'")
    assert "misleading" not in decision.reason
    assert refuse_findings(found, GatesConfig()) is None
    assert refuse_findings(accept(found, {"worse-in-part": "known"}), gates) is None
