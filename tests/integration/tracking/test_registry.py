import shutil

import pytest

from mlops_project.errors import BundleError, TrackingError
from mlops_project.signatures.policy import ANYBODY
from mlops_project.tracking import registry
from mlops_project.tracking.card import MAX_DESCRIPTION, REST, read_card
from mlops_project.tracking.download import download_bundle
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
        assert download_bundle(store, version, project / "one", ANYBODY).digest == bundle.digest
        (stored,) = (file.parent for file in (project / "mlruns" / "artifacts").rglob("model.onnx"))
        (stored / "model.onnx").write_bytes(b"changed")
        with pytest.raises(BundleError, match=r"model\.onnx: sha256"):
            download_bundle(store, version, project / "two", ANYBODY)
        shutil.rmtree(stored)
        shutil.copytree(trained("poor"), stored)
        with pytest.raises(BundleError, match="the registry holds another bundle than was registered"):
            download_bundle(store, version, project / "three", ANYBODY)


def read_descriptions(store) -> tuple[str, list[str]]:
    versions = sorted(store.client.search_model_versions("name = 'cancer'"), key=lambda item: int(item.version))
    return store.client.get_registered_model("cancer").description, [item.description for item in versions]


def test_description_of_model_and_version_is_the_card_and_the_models_follows_the_champion(make):
    cards = []
    for recipe in ("good", "poor"):
        bundle, config = make(recipe)
        run = log_bundle(bundle, config)
        cards.append(read_card(bundle))  # the table of so many columns may be cut
    assert max(map(len, cards)) <= MAX_DESCRIPTION
    with open_store(config) as store:
        assert read_descriptions(store) == (cards[0], cards)
        assert store.client.get_run(run.run_id).data.tags["mlflow.note.content"] == cards[1]
        for number in (2, 1):
            version = registry.find_version(store, "cancer", str(number))
            registry.move_alias(store, version, "champion", "force", "")
            assert read_descriptions(store)[0] == cards[number - 1]
        store.client.update_registered_model("cancer", "our own words")
        registry.move_alias(store, registry.find_version(store, "cancer", "2"), "champion", "force", "long " * 2000)
        assert read_descriptions(store)[0] == "our own words"
        assert max(map(len, store.client.get_registered_model("cancer").tags.values())) <= 5000  # as MLflow's column


@pytest.mark.parametrize("killed_at", ["set_registered_model_alias", "update_registered_model"])
def test_move_that_was_cut_short_is_finished_with_its_description(make, monkeypatch, killed_at):
    for recipe in ("good", "poor"):
        log_bundle(*make(recipe))
    from mlflow import MlflowClient

    def die(*arguments, **options):
        raise ConnectionError("pulled the plug")

    with open_store(config := make("good")[1]) as store:
        registry.move_alias(store, registry.find_version(store, "cancer", "1"), "champion", "force", "")
        version = registry.find_version(store, "cancer", "2")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, killed_at, die)
        with pytest.raises(TrackingError, match="pulled the plug"), open_store(config) as store:
            registry.move_alias(store, version, "champion", "promote", "good")
    with open_store(config) as store:
        first, cards = read_descriptions(store)
        assert first == cards[0]
        registry.finish_move(store, registry.read_moves(store, "cancer")[-1])
        assert registry.find_champion(store, "cancer").number == 2
        assert read_descriptions(store)[0] == cards[1]


def test_tags_of_a_version_can_be_read(make):
    bundle, config = make("good")
    log_bundle(bundle, config)
    with open_store(config) as store:
        tags = store.client.get_model_version("cancer", "1").tags
    metadata = bundle.metadata
    assert tags["estimator"] == metadata.estimator
    assert tags["metrics"].startswith(", ".join(f"{name} {value:.4g}" for name, value in list(metadata.metrics.items())[:2]))
    assert tags["mlops.findings"] == (", ".join(dict.fromkeys(found.code for found in metadata.findings)) or "none")
    assert tags["rows"] == f"{metadata.train_rows} to learn, {metadata.test_rows} held out"


def test_long_card_loses_its_last_sections_and_names_the_whole(make):
    bundle, _ = make("good")
    card = (bundle.path / "README.md").read_text()
    for limit in (len(card), len(card) - 1, 600, 300):
        short = read_card(bundle, limit)
        assert len(short) <= limit
        assert (short == card) == (limit >= len(card))
        assert short == card or short.endswith(REST)
        assert card.startswith(short.removesuffix(REST))
        assert len(short) > limit / 2 - len(REST)  # a long section is cut at a line, not left out whole
