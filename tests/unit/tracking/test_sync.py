from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_project.cli import main
from mlops_project.errors import BundleError, TrackingError
from mlops_project.tracking.sync import compute_delay, explain

FAILED = (
    "sqlite:////mlruns/mlflow.db: The following failures occurred while downloading one or more artifacts from file:///a/b: "
)


@pytest.mark.parametrize(
    ("interval", "failures", "expected"),
    [(5, 0, 5), (5, 1, 10), (5, 3, 40), (5, 4, 60), (5, 10_000, 60), (0.1, 3, 0.8), (300, 0, 300), (300, 7, 300)],
)
def test_delay_doubles_with_each_failure_up_to_a_minute_and_is_never_below_the_interval(interval, failures, expected):
    assert compute_delay(interval, failures) == pytest.approx(expected)


@pytest.mark.parametrize("option", [["--model", "../x"], ["--interval", "0"], ["--interval", "-1"]])
def test_wrong_option_ends_with_2_and_leaves_no_file(tmp_path, option):
    result = CliRunner().invoke(main, ["sync", "--once", "--models", str(tmp_path / "served"), *option])
    assert result.exit_code == 2
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device", "/served/iris/x"), "/served/iris/x: No space left on device"),
        (OSError(28, "No space left on device"), "/served/iris: No space left on device"),
        (
            TrackingError(FAILED + "##### File artifacts/roc.png ##### [Errno 28] No space left on device: '/a/b/roc.png'"),
            "/served/iris cannot be written: No space left on device",
        ),
        (
            TrackingError(FAILED + "##### File a file.png ##### refused <object at 0x7f21cc044d0f>"),
            "sqlite:////mlruns/mlflow.db: a file cannot be downloaded: refused <object at 0x…>",
        ),
        (BundleError("/served/iris/.sync-ab12/bundle/model.onnx: bad"), "the download/model.onnx: bad"),
    ],
)
def test_message_of_the_same_failure_is_the_same_each_time(error, expected):
    assert explain(error, Path("/served/iris")) == expected
