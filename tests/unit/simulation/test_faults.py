"""Each fault does what it says to the rows it is meant for, where it is meant to, and to nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_project.errors import ConfigError, ContractError
from mlops_project.simulation.faults import KINDS, describe_kinds, parse_fault, resolve_faults

N = 20_000


def run(text, source, positions=None, seed=1):
    """Return rows before and after a fault, and where in the run they are."""
    (fault,) = resolve_faults([parse_fault(text)], source)
    positions = np.arange(N) / N if positions is None else positions
    before = source.draw(len(positions), np.random.default_rng(0))
    return before, fault.apply(before, positions, np.random.default_rng(seed), source), positions


def changed_columns(before, after) -> set[str]:
    return {name for name in before.columns if not same(before.columns[name], after.columns[name])}


def same(one, other) -> bool:
    if one.dtype == object:
        return one.tolist() == other.tolist()
    return np.array_equal(one, other, equal_nan=True)


EXAMPLES = [
    "labels:prior=0.9",
    "covariate:size=2",
    "covariate:feature=count,size=0.3,shape=seasonal",
    "concept:at=0.5",
    "category:feature=town",
    "category:feature=town,swap=true",
    "unit:feature=count",
    "nulls:feature=gap",
    "nulls:feature=note",
    "nulls:feature=day",
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_same_seed_gives_the_same_rows_and_the_input_is_left_alone(source, text):
    table = {name: column.copy() for name, column in source.rows.columns.items()}
    before, after, _ = run(text, source)
    copies = {name: column.copy() for name, column in before.columns.items()}
    _, again, _ = run(text, source)
    assert all(same(after.columns[name], again.columns[name]) for name in after.columns)
    assert same(after.truth, again.truth)
    assert all(same(before.columns[name], copies[name]) for name in copies)
    assert all(same(source.rows.columns[name], table[name]) for name in table)


@pytest.mark.parametrize("text", EXAMPLES)
def test_outside_from_and_until_nothing_changes(source, text):
    before, after, positions = run(f"{text},from=0.3,until=0.6", source)
    outside = (positions < 0.3) | (positions >= 0.6)
    assert (~outside).sum() == 0.3 * N
    for name in before.columns:
        assert same(before.columns[name][outside], after.columns[name][outside])
    assert same(before.truth[outside], after.truth[outside])
    inside = before.take(~outside), after.take(~outside)
    assert changed_columns(*inside) or not same(inside[0].truth, inside[1].truth)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("sudden", [0, 0, 1, 1, 1, 1, 0]),
        ("gradual", [0, 0, 0, 0.25, 0.5, 0.75, 0]),
        ("seasonal", [0, 0, 0, 1, 0, -1, 0]),
        ("bursts", [0, 0, 1, 1, 0, 0, 0]),
    ],
)
def test_strength_follows_the_shape(shape, expected):
    fault = parse_fault(f"covariate:shape={shape},from=0.2,until=0.6,cycles=1")
    positions = np.array([0.0, 0.19, 0.2, 0.3, 0.4, 0.5, 0.6])
    np.testing.assert_allclose(fault.strength(positions), expected, atol=1e-12)


def test_bursts_and_seasons_repeat():
    positions = np.arange(1000) / 1000
    on = parse_fault("nulls:cycles=4").strength(positions)
    assert set(on) == {0.0, 1.0}
    assert (np.diff(on) != 0).sum() == 7
    assert on.mean() == pytest.approx(0.5)
    season = parse_fault("covariate:shape=seasonal,cycles=3").strength(positions)
    assert (np.diff(np.sign(season)) < 0).sum() >= 3
    assert season.mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("size", [0.1, 0.5, -2.0])
def test_covariate_shift_moves_one_feature_by_so_many_deviations(source, size):
    before, after, _ = run(f"covariate:feature=size,size={size}", source)
    np.testing.assert_allclose(
        after.columns["size"] - before.columns["size"], size * np.std(source.rows.columns["size"]), rtol=1e-9
    )
    assert changed_columns(before, after) == {"size"}
    assert same(before.truth, after.truth)


def test_covariate_shift_befalls_only_its_share_and_leaves_gaps(source):
    before, after, _ = run("covariate:feature=gap,size=1,share=0.2", source)
    gaps = np.isnan(before.columns["gap"])
    assert same(np.isnan(after.columns["gap"]), gaps)
    moved = (after.columns["gap"] != before.columns["gap"])[~gaps]
    assert moved.mean() == pytest.approx(0.2, abs=0.01)


def test_gradual_shift_grows_and_seasonal_shift_goes_both_ways(source):
    before, after, positions = run("covariate:feature=size,size=2,shape=gradual", source)
    deviation = np.std(source.rows.columns["size"])
    np.testing.assert_allclose((after.columns["size"] - before.columns["size"]) / deviation, 2 * positions, atol=1e-9)
    before, after, _ = run("covariate:feature=size,size=2,shape=seasonal,cycles=1", source)
    shift = (after.columns["size"] - before.columns["size"]) / deviation
    assert (shift.max(), shift.min()) == (pytest.approx(2), pytest.approx(-2))


@pytest.mark.parametrize("text", ["covariate:feature=count,size=0.37", "unit:feature=count,factor=2.54"])
def test_whole_numbers_stay_whole(source, text):
    before, after, _ = run(text, source)
    assert (after.columns["count"] % 1 == 0).all()
    assert not same(before.columns["count"], after.columns["count"])


@pytest.mark.parametrize(("name", "index"), [("yes", 1), ("No", 0)])
@pytest.mark.parametrize("prior", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_label_shift_reaches_the_prior(source, name, index, prior):
    _, after, _ = run(f"labels:class={name},prior={prior}", source)
    assert (after.truth == index).mean() == pytest.approx(prior, abs=0.012)


def test_label_shift_keeps_each_class_as_it_was_and_changes_whole_rows(source):
    _, after, _ = run("labels:prior=0.9", source)
    for index in (0, 1):
        old, new = (rows.columns["size"][rows.truth == index] for rows in (source.rows, after))
        assert new.mean() == pytest.approx(old.mean(), abs=0.5)
    known = set(zip(source.rows.columns["size"], source.rows.columns["noise"], source.rows.truth, strict=True))
    assert set(zip(after.columns["size"], after.columns["noise"], after.truth, strict=True)) <= known


def test_label_shift_grows_with_its_strength(source):
    _, after, positions = run("labels:prior=1,shape=gradual", source)
    late, early = after.truth[positions > 0.9].mean(), after.truth[positions < 0.1].mean()
    assert early == pytest.approx(source.rows.truth.mean(), abs=0.06)
    assert late > 0.93


def test_label_shift_of_a_regression_is_of_values_above_the_median(prices):
    _, after, _ = run("labels:prior=0.9", prices)
    assert (after.truth > np.median(prices.rows.truth)).mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(("side", "at"), [("above", 0.7), ("below", 0.25)])
def test_concept_drift_flips_the_truth_in_its_segment_alone(source, side, at):
    before, after, _ = run(f"concept:feature=size,at={at},side={side}", source)
    edge = np.quantile(source.rows.columns["size"], at)
    inside = before.columns["size"] >= edge if side == "above" else before.columns["size"] <= edge
    assert inside.mean() == pytest.approx(1 - at if side == "above" else at, abs=0.02)
    assert (after.truth[inside] == 1 - before.truth[inside]).all()
    assert same(after.truth[~inside], before.truth[~inside])
    assert changed_columns(before, after) == set()


def test_concept_drift_of_a_share_flips_so_many_of_the_segment(source):
    before, after, _ = run("concept:feature=size,at=0,share=0.3", source)
    assert (before.truth != after.truth).mean() == pytest.approx(0.3, abs=0.012)


def test_rows_without_the_feature_are_in_no_segment(source):
    before, after, _ = run("concept:feature=gap,at=0", source)
    assert same(before.truth != after.truth, ~np.isnan(before.columns["gap"]))


def test_concept_drift_of_a_regression_moves_the_values(prices):
    before, after, _ = run("concept:feature=size,at=0.5,size=2", prices)
    inside = before.columns["size"] >= np.median(prices.rows.columns["size"])
    np.testing.assert_allclose((after.truth - before.truth)[inside], 2 * np.std(prices.rows.truth))
    assert same(after.truth[~inside], before.truth[~inside])


def test_concept_drift_of_several_classes_goes_round(source, table, contract):
    import msgspec

    from mlops_project.simulation.rows import Rows, Source

    three = msgspec.structs.replace(contract, task="multiclass", classes=(1, 2, 3), class_names=("a", "b", "c"))
    truth = np.arange(len(table)) % 3
    before, after, _ = run("concept:feature=noise,at=0", Source(Rows(table.columns, truth), three))
    assert same(after.truth, (before.truth + 1) % 3)


def test_unknown_category_is_written_into_its_share(source):
    before, after, _ = run("category:feature=town,value=Atlantis,share=0.2", source)
    struck = after.columns["town"] == "Atlantis"
    assert struck.mean() == pytest.approx(0.2, abs=0.01)
    assert same(before.columns["town"][~struck], after.columns["town"][~struck])
    assert changed_columns(before, after) == {"town"}


def test_two_most_frequent_categories_change_places(source):
    before, after, _ = run("category:feature=town,swap=true", source)
    other = {"Köln": "Rio", "Rio": "Köln", "Recife": "Recife"}
    assert after.columns["town"].tolist() == [other[town] for town in before.columns["town"]]


def test_unit_change_multiplies(source):
    before, after, _ = run("unit:feature=size,factor=25.4", source)
    np.testing.assert_allclose(after.columns["size"], 25.4 * before.columns["size"])
    assert changed_columns(before, after) == {"size"}


@pytest.mark.parametrize(("name", "missing"), [("gap", np.isnan), ("flag", np.isnan), ("day", np.isnat)])
def test_values_are_missing_in_bursts(source, name, missing):
    before, after, positions = run(f"nulls:feature={name},cycles=1,share=0.8", source)
    new = missing(after.columns[name]) & ~missing(before.columns[name])
    assert new[positions < 0.5].sum() / (~missing(before.columns[name]))[positions < 0.5].sum() == pytest.approx(0.8, abs=0.02)
    assert not new[positions >= 0.5].any()


def test_texts_are_missing_as_none(source):
    _, after, _ = run("nulls:feature=town,shape=sudden", source)
    assert set(after.columns["town"]) == {None}


@pytest.mark.parametrize(
    ("text", "feature"),
    [("covariate", "size"), ("concept", "size"), ("unit", "size"), ("category", "town"), ("nulls", "gap")],
)
def test_default_feature_is_the_one_that_goes_most_with_the_target(source, text, feature):
    (fault,) = resolve_faults([parse_fault(text)], source)
    assert fault.feature == feature


def test_default_class_is_the_last(source):
    assert resolve_faults([parse_fault("labels")], source)[0].class_ == "yes"


def test_faults_are_applied_from_the_world_to_the_wire_whatever_the_order_given(source):
    given_order = [parse_fault(text) for text in ("nulls", "unit", "category", "concept", "covariate", "labels")]
    assert [fault.kind for fault in resolve_faults(given_order, source)] == list(KINDS)


def test_value_with_spaces_commas_and_equals_signs_is_read(source):
    fault = parse_fault('category:value="a, b=c",feature=town , share=0.5')
    assert (fault.value, fault.feature, fault.share) == ("a, b=c", "town", 0.5)
    assert parse_fault("covariate:feature='mean radius'").feature == "mean radius"
    assert parse_fault("covariate:feature=mean radius,size=2").feature == "mean radius"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("covariat", "no fault 'covariat'; did you mean 'covariate'?; faults: labels, covariate"),
        ("", "no fault ''"),
        ("covariate:sise=1", "no option 'sise'; did you mean 'size'?; options: from, until"),
        ("covariate:size=big", "size=big is wrong, expected a number"),
        ("covariate:size=nan", "size=nan is wrong, expected a number"),
        ("covariate:size=inf", "size=inf is wrong"),
        ("covariate:share=2", "share=2 is wrong, expected a number > 0, ≤ 1"),
        (
            "covariate:shape=suden",
            "shape=suden is wrong, expected one of sudden, gradual, seasonal, bursts; did you mean 'sudden'?",
        ),
        ("covariate:size", "'size' is wrong, expected option=value,option=value"),
        ("covariate:size=1;share=1", "size=1;share=1 is wrong"),
        ("covariate:from=0.5,until=0.5", "from=0.5 is not before until=0.5"),
        ("covariate:from=-1", "from=-1 is wrong, expected a number ≥ 0, < 1"),
        ("category:swap=maybe", "swap=maybe is wrong, expected true or false"),
        ("covariate:size=big,share=2", "share=2 is wrong"),
        ("concept:side=left", "expected one of above, below"),
    ],
)
def test_wrong_fault_is_explained(text, message):
    with pytest.raises(ConfigError, match="--fault") as caught:
        parse_fault(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("covariate:feature=sise", ContractError, "no feature 'sise'; did you mean 'size'?"),
        ("covariate:feature=town", ConfigError, "feature 'town' is category; expected float or integer"),
        ("unit:feature=day", ConfigError, "feature 'day' is datetime"),
        ("category:feature=size", ConfigError, "expected category or string"),
        ("labels:class=maybe", ConfigError, "no class 'maybe'; classes: no, yes, No, Yes"),
    ],
)
def test_fault_that_does_not_fit_the_model_is_explained(source, text, error, message):
    with pytest.raises(error) as caught:
        resolve_faults([parse_fault(text)], source)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("labels:class=yes", "a regression has no classes"), ("category", "no feature of type category")]
)
def test_fault_that_does_not_fit_a_regression_is_explained(prices, text, message):
    with pytest.raises(ConfigError, match=message):
        resolve_faults([parse_fault(text)], prices)


def test_class_that_the_table_does_not_hold_cannot_grow(table, contract):
    from mlops_project.simulation.rows import Rows, Source

    only = Source(Rows(table.columns, np.zeros(len(table), np.int64)), contract)
    with pytest.raises(ConfigError, match="no rows to choose from for class 'Yes'"):
        resolve_faults([parse_fault("labels")], only)


@given(text=st.text(max_size=40), kind=st.sampled_from(list(KINDS)))
def test_whatever_is_written_is_read_or_explained(text, kind):
    try:
        fault = parse_fault(f"{kind}:{text}")
    except ConfigError:
        return
    assert fault.until > fault.from_


def test_every_kind_is_described_with_an_example_that_is_read():
    described = dict(describe_kinds())
    assert set(KINDS) <= described.keys()
    for kind in KINDS.values():
        assert parse_fault(kind.example).kind == kind.kind
