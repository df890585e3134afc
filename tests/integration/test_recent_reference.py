import dataclasses

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import REFERENCE_FILE, load_bundle
from mlops_project.data_prep import ProductionRows
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.reference.profile import load_reference
from mlops_project.retraining.recent_reference import renew_reference
from mlops_project.runtime import Runtime
from mlops_project.train import train
from tests.integration.tracking.production import draw, moved, same, write_project


def label(n_rows: int, world) -> ProductionRows:
    """Return labelled predictions as a retraining has them, with inputs that no table had."""
    frame = draw(n_rows, world, 7)
    frame["c"] += 10
    times = np.datetime64("2026-11-01", "us") + np.arange(n_rows)
    return ProductionRows(frame[["a", "b", "c"]], frame["up"], times)


def renew(bundle, recent: ProductionRows, config):
    runtime = Runtime.load(bundle)
    held_out = HeldOut.predict(runtime, recent.features, encode_target(recent.target, bundle.contract))
    return renew_reference(bundle, held_out, runtime, config)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = write_project(tmp_path_factory.mktemp("world"), "tracking.enabled=false")
    return config, train(config).bundle


@pytest.fixture
def bundle(trained, tmp_path):
    from mlops_project.bundle import install

    return install(trained[1], tmp_path / "model")


def test_reference_is_what_the_newest_labelled_predictions_are_and_how_good_the_model_is_on_them(trained, bundle):
    config, recent = trained[0], label(300, moved)
    renewed = renew(bundle, recent, config)
    old, new = load_reference(trained[1]), load_reference(load_bundle(renewed.path))
    assert (old.rows, new.rows) == (120, 300)
    assert new.features[2].smallest > old.features[2].largest  # column c has moved
    assert new.performance.metrics["accuracy"].value < old.performance.metrics["accuracy"].value - 0.1
    assert new.performance.rows == 300


def test_share_of_doubtful_rows_is_that_of_the_newest_predictions(trained, bundle):
    config, recent = trained[0], label(300, moved)
    old, new = trained[1].metadata.uncertainty, renew(bundle, recent, config).metadata.uncertainty
    answers = Runtime.load(trained[1]).predict(recent.features.to_dict("series"))
    doubtful = old.is_far(recent.features.to_numpy(float)) | old.find_sets(answers.probabilities, answers.indices).all(axis=1)
    assert new.checked.abstained == pytest.approx(doubtful.mean())
    assert new.checked.abstained > old.checked.abstained + 0.2  # the model that is renewed here has not learned of the change
    assert (new.sets, new.checked.coverage) == (old.sets, old.checked.coverage)


def test_everything_but_the_reference_is_the_same_and_the_digest_is_another(trained, bundle):
    files = load_bundle(renew(bundle, label(300, same), trained[0]).path).metadata.files
    assert {name for name in files if files[name] != trained[1].metadata.files[name]} == {"profile.json", REFERENCE_FILE}
    assert files.keys() == trained[1].metadata.files.keys()
    assert renew(bundle, label(300, moved), trained[0]).digest != trained[1].digest


def test_reference_rows_are_of_the_newest_as_many_as_may_be_kept(trained, bundle):
    rows = pd.read_parquet(renew(bundle, label(300, same), trained[0]).path / REFERENCE_FILE)
    assert len(rows) == trained[0].export.reference_rows == 50
    assert list(rows.columns) == ["a", "b", "c", "up"]
    assert rows["c"].min() > 4


def test_too_few_labelled_predictions_leave_the_reference_as_it_is(trained, bundle):
    few = label(trained[0].monitoring.min_labels - 1, moved)
    assert renew(bundle, few, trained[0]) is bundle
    assert load_bundle(bundle.path).digest == trained[1].digest


def test_bundle_without_profile_is_left_alone(trained, bundle):
    import msgspec

    files = {name: digest for name, digest in bundle.metadata.files.items() if name != "profile.json"}
    bare = dataclasses.replace(bundle, metadata=msgspec.structs.replace(bundle.metadata, files=files))
    assert renew(bare, label(300, moved), trained[0]) is bare
