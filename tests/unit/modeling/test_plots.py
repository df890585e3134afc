import numpy as np
import pytest
from PIL import Image

from mlops_project.config import Config, EvaluationConfig
from mlops_project.contract import Contract, Feature
from mlops_project.modeling import drawing
from mlops_project.modeling import plots as module
from mlops_project.modeling.evaluation import evaluate
from mlops_project.modeling.importance import Importance
from mlops_project.modeling.plots import CLASSIFICATION, REGRESSION, draw_plots
from mlops_project.runtime import Predictions

HOSTILE = (
    "price_$_usd",
    "$x$",
    "<script>alert(1)</script>",
    "preço médio",
    "年齢",
    "x" * 300,
    "a\nb\x00\u202e",
    "☃ 😀",
    "",
    "%s {0} \\frac",
)
QUICK = Config(evaluation=EvaluationConfig(bootstrap_rounds=0))


def build_contract(task, names=("a", "b", "c"), classes=("no", "yes")):
    classes = () if task == "regression" else tuple(classes)
    return Contract(tuple(Feature(name, "float") for name in names), "target", task, classes, classes)


def evaluate_classes(contract, n_rows=80, share=None):
    rng = np.random.default_rng(0)
    size = len(contract.classes)
    truth = rng.choice(size, n_rows, p=share)
    scores = rng.normal(size=(n_rows, size)) + 2 * np.eye(size)[truth]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return evaluate(Predictions(probabilities.argmax(axis=1), probabilities), truth, contract, QUICK)


def evaluate_values(contract, truth, predicted):
    return evaluate(Predictions(values=np.asarray(predicted, float)), np.asarray(truth, float), contract, QUICK)


def rank(names, metric="roc_auc", correlated=()):
    means = np.linspace(0.1, -0.01, len(names))
    return Importance(metric, tuple(names), means, np.full(len(names), 0.01), frozenset(correlated), 5, 80)


def read_text(figure):
    """Return every text of a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def assert_drawn(file):
    """The file is an image, and no label touches its edge."""
    pixels = np.asarray(Image.open(file).convert("L"))
    assert min(pixels.shape) > 150
    assert pixels.std() > 5
    edges = np.concatenate([pixels[:2].ravel(), pixels[-2:].ravel(), pixels[:, :2].ravel(), pixels[:, -2:].ravel()])
    assert (edges == 255).all(), file.name


@pytest.mark.parametrize(
    ("task", "drawers", "classes"),
    [("binary", CLASSIFICATION, 2), ("multiclass", CLASSIFICATION, 3), ("multiclass", CLASSIFICATION, 26)],
)
def test_every_plot_of_a_classification_is_drawn_whole(tmp_path, task, drawers, classes):
    contract = build_contract(task, classes=[f"a rather long class name number {number} of many" for number in range(classes)])
    files = draw_plots(evaluate_classes(contract, 300), rank(contract.names), contract, tmp_path)
    assert [file.stem for file in files] == [*drawers, "importance"]
    for file in files:
        assert_drawn(file)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e7])
def test_every_plot_of_a_regression_is_drawn_whole_in_any_unit(tmp_path, scale):
    contract = build_contract("regression")
    rng = np.random.default_rng(0)
    truth = rng.normal(size=90) * scale
    files = draw_plots(evaluate_values(contract, truth, truth + rng.normal(size=90) * scale), None, contract, tmp_path)
    assert [file.stem for file in files] == list(REGRESSION)
    for file in files:
        assert_drawn(file)


def test_hostile_names_are_drawn_without_warnings(tmp_path):
    contract = build_contract("multiclass", HOSTILE, HOSTILE)
    for file in draw_plots(evaluate_classes(contract, 300), rank(HOSTILE, "log_loss", HOSTILE[:1]), contract, tmp_path):
        assert_drawn(file)


def test_names_that_look_alike_or_cannot_be_written_get_their_number():
    labels = drawing.label_names(
        ["same start " + "x" * 40 + " same end", "same start " + "y" * 40 + " same end", "\U0010ffff", "plain"]
    )
    assert labels == ["same start x…xx same end", "same start y…yy same end", "□ #3", "plain"]
    long = drawing.label_names([f"one common prefix {'-' * 30}{number}{'-' * 30} and suffix" for number in range(2)])
    assert [label[-3:] for label in long] == [" #1", " #2"]
    assert all(len(label) <= 27 for label in long)


def test_names_cannot_turn_the_direction_of_a_label():
    assert drawing.label_names(["a\u202eb", "plain"]) == ["a□b #1", "plain"]


def test_dollars_and_underscores_are_written_as_they_are():
    contract = build_contract("binary", classes=("$a_1$", "$b_2$"))
    assert "$b_2$: AUC" in " ".join(read_text(module._draw_roc(evaluate_classes(contract).scored, contract)))


def test_same_evaluation_gives_the_same_bytes(tmp_path):
    contract = build_contract("binary")
    evaluation = evaluate_classes(contract)
    one, two = (draw_plots(evaluation, rank(contract.names), contract, tmp_path / name) for name in ("one", "two"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_palette_of_a_file_changes_no_colour_visibly_and_makes_it_small(tmp_path):
    contract = build_contract("multiclass", classes=[f"class {number}" for number in range(10)])
    figure = module._draw_confusion(evaluate_classes(contract, 1000).scored, contract)
    file = drawing.save(figure, tmp_path / "palette.png")
    figure.savefig(tmp_path / "whole.png")
    palette, whole = (np.asarray(Image.open(tmp_path / name).convert("RGB"), int) for name in ("palette.png", "whole.png"))
    assert np.abs(palette - whole).max() <= 4
    assert file.stat().st_size < 0.6 * (tmp_path / "whole.png").stat().st_size


def test_style_of_the_caller_is_left_alone(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    draw_plots(evaluate_classes(build_contract("binary")), None, build_contract("binary"), tmp_path)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", list(CLASSIFICATION))
def test_plots_say_how_many_rows_they_rest_on_and_what_positive_means(name):
    contract = build_contract("binary", classes=("legit", "fraud"))
    evaluation = evaluate_classes(contract, 1200, share=[0.9, 0.1])
    text = " ".join(read_text(CLASSIFICATION[name](evaluation.scored, contract)))
    assert "1,200 held-out" in text.replace("\n", " ")
    assert f"{int(evaluation.scored.truth.sum())} of them fraud" in text.replace("\n", " ")


def test_curves_show_the_areas_that_the_evaluation_reports():
    contract = build_contract("binary")
    evaluation = evaluate_classes(contract)
    roc = " ".join(read_text(module._draw_roc(evaluation.scored, contract)))
    precision_recall = " ".join(read_text(module._draw_precision_recall(evaluation.scored, contract)))
    assert f"yes: AUC {evaluation.metrics['roc_auc']:.4f}" in roc
    assert f"yes: area {evaluation.metrics['pr_auc']:.4f}" in precision_recall


def test_many_classes_show_the_most_frequent_ones_and_say_so():
    contract = build_contract("multiclass", classes=[f"class {number}" for number in range(9)])
    share = np.array([1, 1, 5, 5, 5, 5, 5, 5, 5]) / 37
    text = " ".join(read_text(module._draw_roc(evaluate_classes(contract, 500, share).scored, contract))).replace("\n", " ")
    assert "the 7 most frequent of 9 classes" in text
    assert "class 2: AUC" in text
    assert "class 0: AUC" not in text


def test_confusion_matrix_counts_actual_classes_in_rows():
    contract = build_contract("binary")
    probabilities = np.array([[0.9, 0.1]] * 7 + [[0.2, 0.8]] * 3)
    evaluation = evaluate(Predictions(probabilities.argmax(1), probabilities), np.array([0] * 5 + [1] * 5), contract, QUICK)
    axes = module._draw_confusion(evaluation.scored, contract).axes[0]
    cells = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts if "%" in text.get_text()}
    assert cells == {(0, 0): "5\n100%", (1, 0): "0\n0%", (0, 1): "2\n40%", (1, 1): "3\n60%"}


def test_calibration_shows_wilsons_interval():
    low, high = module._bound_shares(np.array([0.0, 0.5, 1.0]), np.array([10, 10, 10]))
    np.testing.assert_allclose(low, [0.0, 0.2366, 0.7225], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.7634, 1.0], atol=1e-4)


@pytest.mark.parametrize(("classes", "truth"), [(3, [0, 1] * 10), (3, [2] * 20), (2, [1] * 20), (2, [0, 1] * 10)])
def test_class_that_is_never_predicted_or_held_out_does_not_stop_the_plots(tmp_path, classes, truth):
    contract = build_contract("binary" if classes == 2 else "multiclass", classes=("a", "b", "c")[:classes])
    probabilities = np.array([[0.6, 0.3, 0.1], [0.6, 0.4]][3 - classes] * 20).reshape(20, classes)
    evaluation = evaluate(Predictions(probabilities.argmax(1), probabilities), np.array(truth), contract, QUICK)
    for file in draw_plots(evaluation, None, contract, tmp_path):
        assert_drawn(file)


@pytest.mark.parametrize("predicted", [np.full(30, 4.0), np.arange(30.0)], ids=["constant", "perfect"])
def test_predictions_without_spread_or_error_are_drawn(tmp_path, predicted):
    contract = build_contract("regression")
    for file in draw_plots(evaluate_values(contract, np.arange(30.0), predicted), None, contract, tmp_path):
        assert_drawn(file)


def test_many_points_become_densities_that_count_every_row(tmp_path):
    contract = build_contract("regression")
    truth = np.random.default_rng(0).lognormal(size=100_000)
    evaluation = evaluate_values(contract, truth, truth * 1.1)
    figure = module._draw_residuals(evaluation.scored, contract)
    assert figure.axes[0].collections[0].get_array().sum() == 100_000
    for file in draw_plots(evaluation, None, contract, tmp_path):
        assert file.stat().st_size < 150_000
        assert_drawn(file)


def test_histogram_of_errors_says_what_it_leaves_out():
    contract = build_contract("regression")
    errors = np.append(np.linspace(-1, 1, 998), [1e6, -1e6])
    evaluation = evaluate_values(contract, np.zeros(1000), errors)
    figure = module._draw_residual_histogram(evaluation.scored, contract)
    assert any("the 10 farthest out not shown" in text.replace("\n", " ") for text in read_text(figure))
    assert max(abs(edge) for edge in figure.axes[0].get_xlim()) < 2


def test_importance_of_a_wide_table_shows_the_first_columns_and_marks_twins():
    contract = build_contract("binary", [f"column {number}" for number in range(300)])
    figure = module._draw_importance(rank(contract.names, correlated=["column 1"]), contract)
    text = " ".join(read_text(figure)).replace("\n", " ")
    assert "the first 20 of 300 columns" in text
    assert "column 1 †" in text
    assert "column 0 †" not in text
    assert "column 20" not in text
    assert "understated" in text
