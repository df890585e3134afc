import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from mlops_project.bundle import MODEL_FILE, PROFILE_FILE, Bundle, publish, stage
from mlops_project.contract import Contract, Feature
from mlops_project.errors import BundleError, ContractError
from mlops_project.reference.profile import Profiler, build_reference, load_reference
from mlops_project.runtime import Predictions

CONTRACT = Contract(
    (
        Feature("size", "float", minimum=-3.0, maximum=3.0),
        Feature("rooms", "integer", minimum=1.0, maximum=6.0),
        Feature("city", "category", categories=("Natal", "Recife")),
        Feature("day", "datetime"),
    ),
    "y",
    "binary",
    (0, 1),
    ("no", "yes"),
)


def make_columns(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    return {
        "size": rng.normal(size=rows),
        "rooms": rng.integers(1, 7, rows),
        "city": rng.choice(np.array(["Natal", "Recife"], object), rows),
        "day": np.datetime64("2026-01-01") + rng.integers(0, 99, rows).astype("timedelta64[D]"),
    }


def make_predictions(rng: np.random.Generator, rows: int) -> Predictions:
    positive = rng.random(rows)
    return Predictions((positive > 0.5).astype(np.int64), np.column_stack([1 - positive, positive]))


@pytest.fixture
def reference(rng):
    return build_reference(make_columns(rng, 400), make_predictions(rng, 400), CONTRACT, seed=0)


def test_profilers_of_parts_add_up_to_one_of_all(rng, reference):
    columns, predictions = make_columns(rng, 1000), make_predictions(rng, 1000)
    whole, parts = Profiler(reference), [Profiler(reference) for _ in range(3)]
    whole.add(columns, predictions)
    for index, start in enumerate([0, 100, 350, 990, 1000]):
        end = [100, 350, 990, 1000, 1000][index]
        parts[index % 3].add({name: values[start:end] for name, values in columns.items()}, predictions.take(start, end))
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].rows == whole.rows == 1000
    for mine, its in zip([*parts[0].features, *parts[0].scores], [*whole.features, *whole.scores], strict=True):
        assert mine.counts.tolist() == its.counts.tolist()
        assert (mine.missing, mine.outside, mine.smallest, mine.largest) == (
            its.missing,
            its.outside,
            its.smallest,
            its.largest,
        )
        np.testing.assert_allclose(mine.sums, its.sums, rtol=1e-12)


def test_profilers_of_different_references_do_not_add_up(rng, reference):
    other = build_reference(make_columns(rng, 400), make_predictions(rng, 400), CONTRACT, seed=0)
    with pytest.raises(ValueError, match="different references"):
        Profiler(reference).merge(Profiler(other))


def test_gaps_strangers_and_outliers_are_counted(reference):
    profiler = Profiler(reference)
    profiler.add(
        {
            "size": [None, np.nan, 3.0, 3.1, -99.0],
            "rooms": np.array([True, None, 3, 7, np.nan], object),
            "city": np.array(["Natal", "Belém", "", None, np.nan], object),
            "day": np.array(["2026-01-01", "NaT", "2026-01-02", "NaT", "NaT"], "datetime64[s]"),
            "further": [1, 2, 3, 4, 5],
        }
    )
    size, rooms, city, day = profiler.features
    assert (size.missing, size.outside, size.smallest, size.largest) == (2, 2, -99.0, 3.1)
    assert (rooms.missing, rooms.outside) == (2, 1)
    assert (city.missing, city.counts.tolist()) == (3, [1, 0, 1])
    assert (day.missing, day.counts.tolist()) == (3, [2, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": ["a", "b"]}, "'size': expected one number per row"),
        ({"size": np.zeros((2, 2))}, "'size': expected one number per row"),
        ({"rooms": np.array([1, np.inf])}, "'rooms': a value is infinite"),
        ({"rooms": [object(), object()]}, "'rooms': expected numbers"),
        ({"rooms": np.array([1, 2, 3])}, "'rooms' has 3 rows, 'size' has 2"),
        ({"city": [["a"], ["b"]]}, "'city': expected text"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_none_is_counted(rng, reference, change, message):
    profiler = Profiler(reference)
    with pytest.raises(ContractError, match=message):
        profiler.add(make_columns(rng, 2) | change, make_predictions(rng, 2))
    assert profiler.rows == sum(tally.rows for tally in profiler.features) == 0


def test_absent_column_is_named_with_a_near_one(rng, reference):
    columns = make_columns(rng, 2)
    columns["sizes"] = columns.pop("size")
    with pytest.raises(ContractError, match="1 of 4 columns are missing: size; did you mean 'sizes'"):
        Profiler(reference).add(columns)


def test_weights_are_half_importance_half_equal(rng):
    columns = make_columns(rng, 50)
    weights = {"size": 0.3, "rooms": 0.1, "city": -0.2}
    found = build_reference(columns, None, CONTRACT, weights=weights, seed=0)
    assert [feature.weight for feature in found.features] == pytest.approx([0.5, 0.25, 0.125, 0.125])
    for none in (None, {"size": -1.0}):
        found = build_reference(columns, None, CONTRACT, weights=none, seed=0)
        assert [feature.weight for feature in found.features] == [0.25] * 4


def test_scores_are_the_positive_class_every_class_or_the_value(rng, reference):
    assert [score.name for score in reference.scores] == ["1"]
    columns, scores = make_columns(rng, 40), rng.dirichlet(np.ones(3), 40)
    three = replace(CONTRACT, task="multiclass", classes=("a", "b", "c"), class_names=("a", "b", "c"))
    found = build_reference(columns, Predictions(scores.argmax(axis=1), scores), three, seed=0)
    assert [score.name for score in found.scores] == ["a", "b", "c"]
    value = replace(CONTRACT, task="regression", classes=(), class_names=())
    found = build_reference(columns, Predictions(values=rng.normal(size=40)), value, seed=0)
    assert [score.name for score in found.scores] == ["value"]
    profiler = Profiler(found)
    profiler.add(columns, Predictions(values=np.zeros(40)))
    assert profiler.scores[0].rows == 40


def test_cells_have_names_for_people(rng, reference):
    size, rooms, city, day = reference.features
    assert rooms.labels == ("≤ 1", "2", "3", "4", "5", "≥ 6", "missing")
    assert city.labels == ("Natal", "Recife", "unseen", "missing")
    assert day.labels == ("present", "unseen", "missing")
    assert len(size.labels) == 11
    assert size.labels[0].startswith("≤ -")
    assert size.merge(np.array(size.counts), 5).tolist() == [40] * 10 + [5]
    many = replace(CONTRACT, features=(Feature("code", "category", categories=tuple(f"c{index}" for index in range(30))),))
    code = build_reference({"code": np.array([f"c{index}" for index in range(30)], object)}, None, many, seed=0).features[0]
    assert code.labels[-3:] == ("11 others", "unseen", "missing")
    assert len(code.labels) == len(code.merge(np.array(code.counts), 0)) == 22


def test_column_without_any_value_has_a_profile(rng):
    columns = make_columns(rng, 40) | {"size": np.full(40, np.nan), "city": np.full(40, None, object)}
    size, _, city, _ = build_reference(columns, None, CONTRACT, seed=0).features
    assert (size.missing, size.edges, size.smallest, size.labels) == (40, (), None, ("any", "missing"))
    assert (city.missing, sum(city.counts)) == (40, 0)


def with_profile(bundle: Bundle, content: bytes) -> Bundle:
    with stage(bundle.path) as folder:
        (folder / MODEL_FILE).write_bytes(bundle.model_file.read_bytes())
        (folder / PROFILE_FILE).write_bytes(content)
        return publish(folder, bundle.path, bundle.metadata)


def test_profile_in_a_bundle_reads_back_as_it_was(tiny_bundle, reference):
    assert load_reference(with_profile(tiny_bundle, reference.encode())) == reference


def test_bundle_without_a_profile_has_none(tiny_bundle):
    assert load_reference(tiny_bundle) is None


@pytest.mark.parametrize(
    "content", [b"{", b"{}", b'{"version": 1, "rows": "many", "features": []}', b'{"version":2,"rows":1,"features":[]}']
)
def test_profile_that_cannot_be_understood_says_what_to_do(tiny_bundle, content):
    with pytest.raises(BundleError, match=r"profile\.json: .*train again"):
        load_reference(with_profile(tiny_bundle, content))


def test_pandas_columns_are_read_as_the_runtime_reads_them(rng, reference):
    frame = pd.DataFrame(make_columns(rng, 30))
    frame.loc[3, "city"] = None
    profiler = Profiler(reference)
    profiler.add({name: frame[name].to_numpy() for name in frame.columns})
    assert [tally.missing for tally in profiler.features] == [0, 0, 1, 0]
