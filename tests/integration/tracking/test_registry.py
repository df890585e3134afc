import shutil

import pytest

from mlops_project.errors import BundleError, TrackingError
from mlops_project.tracking import registry
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store

pytestmark = pytest.mark.xdist_group("mlflow")


def test_versions_are_listed_newest_first_with_aliases_and_metrics(make):
    first, config = make("good")
    log_bundle(first, config)
    second, _ = make("poor")
    log_bundle(second, config)
    with open_store(config) as store:
        newest, oldest = registry.list_versions(store, "cancer")
    assert (newest.number, oldest.number) == (2, 1)
    assert (newest.aliases, oldest.aliases) == (("challenger",), ())
    assert oldest.metrics == first.metadata.metrics
    assert oldest.digest == first.digest
    assert oldest.created_at.startswith("20")


def test_version_is_found_by_number_alias_and_latest_and_missing_ones_are_named(make):
    bundle, config = make("good")
    log_bundle(bundle, config)
    with open_store(config) as store:
        assert {registry.find_version(store, "cancer", which).number for which in ("1", "challenger", "latest")} == {1}
        with pytest.raises(TrackingError, match="model 'cancer' has no version or alias 'champion'; versions: 1"):
            registry.find_version(store, "cancer", "champion")
        with pytest.raises(TrackingError, match=r"no model 'cancr' is registered \(registered: cancer\)"):
            registry.find_version(store, "cancr", "1")


def test_moves_are_recorded_with_everything_and_in_order(make, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    bundle, config = make("good")
    log_bundle(bundle, config)
    with open_store(config) as store:
        version = registry.find_version(store, "cancer", "1")
        registry.move_alias(store, version, "champion", "force", 'because "we" said so: ünïcode')
        register, force = registry.read_moves(store, "cancer")
        assert registry.find_strays(store, "cancer", [register, force]) == []
        assert registry.find_champion(store, "cancer").number == 1
    assert (register.alias, register.action, register.source, register.target) == ("challenger", "register", None, 1)
    assert (force.alias, force.user, force.reason) == ("champion", "ana", 'because "we" said so: ünïcode')
    assert force.metrics == bundle.metadata.metrics
    assert force.at > register.at


def test_alias_moved_by_other_means_is_reported(make):
    bundle, config = make("good")
    log_bundle(bundle, config)
    with open_store(config) as store:
        store.client.set_registered_model_alias("cancer", "champion", "1")
        (stray,) = registry.find_strays(store, "cancer", registry.read_moves(store, "cancer"))
    assert stray == "cancer: alias champion is on version 1, the last record says no version"


def test_move_that_was_recorded_and_not_made_is_reported(make, monkeypatch):
    bundle, config = make("good")
    log_bundle(bundle, config)
    from mlflow import MlflowClient

    def die(*arguments, **options):
        raise ConnectionError("pulled the plug")

    with open_store(config) as store:
        version = registry.find_version(store, "cancer", "1")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(TrackingError, match="pulled the plug"), open_store(config) as store:
            registry.move_alias(store, version, "champion", "promote", "good")
    with open_store(config) as store:
        (stray,) = registry.find_strays(store, "cancer", registry.read_moves(store, "cancer"))
    assert stray == "cancer: alias champion is on no version, the last record says version 1"


def test_downloaded_bundle_is_the_registered_one_and_a_changed_one_is_refused(make, project, trained):
    bundle, config = make("good")
    log_bundle(bundle, config)
    with open_store(config) as store:
        version = registry.find_version(store, "cancer", "1")
        assert registry.download_bundle(store, version, project / "one").digest == bundle.digest
        (stored,) = (file.parent for file in (project / "mlruns" / "artifacts").rglob("model.onnx"))
        (stored / "model.onnx").write_bytes(b"changed")
        with pytest.raises(BundleError, match=r"model\.onnx: sha256"):
            registry.download_bundle(store, version, project / "two")
        shutil.rmtree(stored)
        shutil.copytree(trained("poor"), stored)
        with pytest.raises(BundleError, match="the registry holds another bundle than was registered"):
            registry.download_bundle(store, version, project / "three")
