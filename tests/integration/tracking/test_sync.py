import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

import msgspec
import pytest

from mlops_project.bundle import Bundle, load_bundle
from mlops_project.config import Config, read_config
from mlops_project.metadata import seal
from mlops_project.promote import promote, rollback
from mlops_project.tracking import registry
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from mlops_project.tracking.sync import Follower
from tests.hostile_models import build_endless, build_greedy
from tests.integration.tracking.stores import reseal

pytestmark = pytest.mark.xdist_group("mlflow")


class World:
    """A project with versions in its registry, and what is served of it; time passes when the test says so."""

    def __init__(self, bundle: Bundle, config: Config) -> None:
        self.bundle = bundle
        self.config = config
        self.now = 0.0
        self.sealed = 0
        self.served = config.served_models_dir / "cancer"
        self.follower = self.follow()

    def follow(self) -> Follower:
        return Follower(
            self.config, "cancer", self.config.served_models_dir, interval_seconds=5, clock=lambda: time.monotonic() + self.now
        )

    def add_version(self) -> int:
        """Register one more version: the same model, sealed at another time."""
        self.sealed += 1
        (self.bundle.path / "tracking.json").unlink()  # `reseal` would list it, as training never does
        self.bundle = reseal(self.bundle, created_at=f"2026-01-01T00:00:{self.sealed:02}+00:00")
        return log_bundle(self.bundle, self.config).model_version

    def promote(self, number: int) -> None:
        promote(self.config, str(number), force=True, reason="test")

    def stored(self, number: int) -> Path:
        """The folder of a version's files in the registry."""
        with open_store(self.config) as store:
            return Path(store.client.get_model_version("cancer", str(number)).source.removeprefix("file://"))

    def client(self, method: str, *arguments: str) -> None:
        with open_store(self.config) as store:
            getattr(store.client, method)("cancer", *arguments)

    def links(self) -> dict[str, int]:
        """Alias → version whose whole bundle the link leads to."""
        found = {}
        for alias in ("champion", "challenger"):
            if (self.served / alias).is_symlink():
                noted = load_bundle(self.served / alias).read_tracking()
                assert noted.model_name == "cancer"
                found[alias] = int(noted.model_version)
        return found

    def versions(self) -> list[int]:
        return sorted(int(path.name.split("-")[0]) for path in (self.served / "versions").iterdir())

    def status(self) -> dict:
        return json.loads((self.served / "sync.json").read_text())


@pytest.fixture
def world(make) -> World:
    """Version 1 is registered and champion."""
    world = World(*make("poor"))
    assert log_bundle(world.bundle, world.config).model_version == 1
    world.promote(1)
    return world


def test_champion_is_published_whole_with_its_version_noted_before_the_link_leads_to_it(world):
    outcome = world.follower.attempt()
    assert outcome.problem is None
    assert outcome.events == ("champion is version 1, was none",)
    link = (world.served / "champion").readlink()
    assert str(link) == f"versions/1-{world.bundle.digest[:12]}"
    published = load_bundle(world.served / "champion")
    assert published.digest == world.bundle.digest
    assert published.path.stat().st_mode & 0o055 == 0o055  # a server that runs as another user reads it
    assert published.read_tracking().model_version == "1"
    status = world.status()
    assert (status["result"], status["champion"], status["challenger"]) == ("ok", 1, None)
    assert status["time"].startswith("20")
    assert {path.name for path in world.served.iterdir()} == {".lock", "champion", "sync.json", "versions"}


def test_second_attempt_changes_nothing_and_asks_for_no_file(world):
    world.follower.attempt()
    before = (world.served / "champion").lstat().st_ino
    shutil.rmtree(world.stored(1))
    outcome = world.follower.attempt()
    assert (outcome.events, outcome.problem) == ((), None)
    assert (world.served / "champion").lstat().st_ino == before
    assert world.follow().attempt().problem is None  # a new process checks what is there, and keeps it


def test_promotion_moves_the_link_and_rollback_moves_it_back_without_a_download(world):
    world.follower.attempt()
    world.promote(world.add_version())
    assert world.follower.attempt().events == ("champion is version 2, was version 1",)
    assert world.links() == {"champion": 2}
    shutil.rmtree(world.stored(1))
    rollback(world.config)
    assert world.follow().attempt().events[0] == "champion is version 1, was version 2"
    assert world.links()["champion"] == 1


def test_old_versions_are_removed_except_the_previous_champion(world):
    world.follower.attempt()
    for number in (2, 3):
        assert world.add_version() == number
        world.promote(number)
        assert world.follow().attempt().problem is None
    assert world.versions() == [2, 3]
    world.add_version()
    world.follow().attempt()
    assert world.links() == {"champion": 3, "challenger": 4}
    assert world.versions() == [2, 3, 4]
    world.add_version()
    world.follow().attempt()
    assert world.versions() == [2, 3, 5]


def test_challenger_has_a_link_until_it_is_champion_or_its_alias_is_gone(world):
    world.follower.attempt()
    number = world.add_version()
    assert world.follower.attempt().events == ("challenger is version 2, was none",)
    assert world.links() == {"champion": 1, "challenger": 2}
    world.promote(number)
    events = world.follower.attempt().events
    assert events == ("champion is version 2, was version 1", "challenger is none, was version 2")
    assert world.links() == {"champion": 2}
    world.add_version()
    world.follower.attempt()
    world.client("delete_registered_model_alias", "challenger")
    assert world.follower.attempt().problem is None
    assert world.links() == {"champion": 2}
    assert world.versions() == [1, 2]


def test_damaged_version_leaves_the_link_and_is_tried_again_after_a_while_only(world):
    world.follower.attempt()
    number = world.add_version()
    model = world.stored(number) / "model.onnx"
    good = model.read_bytes()
    model.write_bytes(good[:-1])
    world.promote(number)
    first = world.follower.attempt().problem
    assert first.startswith("champion version 2 cannot be published: the download/artifacts/model.onnx: sha256 is")
    assert world.links() == {"champion": 1}
    assert (world.status()["result"], world.status()["champion"]) == ("error", 1)
    assert world.status()["message"] == first
    assert world.versions() == [1]
    assert not list(world.served.glob(".sync-*"))
    assert world.follower.due_seconds < 5.1  # the registry is asked as often as before
    model.write_bytes(good)
    assert world.follower.attempt().problem == first  # not downloaded: it is good now
    world.now += 10
    assert world.follower.attempt().problem is None
    assert world.links() == {"champion": 2}
    assert world.status()["result"] == "ok"


def test_other_version_is_published_at_once_while_a_damaged_one_waits(world):
    world.follower.attempt()
    bad = world.add_version()
    (world.stored(bad) / "model.onnx").unlink()
    world.promote(bad)
    assert "model.onnx is missing" in world.follower.attempt().problem
    world.promote(world.add_version())
    assert world.follower.attempt().problem is None
    assert world.links() == {"champion": 3}


def test_damaged_challenger_does_not_keep_the_champion_from_moving(world):
    good, bad = world.add_version(), world.add_version()
    (world.stored(bad) / "metadata.json").write_text("{")
    world.promote(good)
    assert world.follower.attempt().problem.startswith("challenger version 3 cannot be published")
    assert world.links() == {"champion": 2}


def test_model_that_onnx_runtime_cannot_load_is_not_published(world):
    world.follower.attempt()
    (world.bundle.path / "model.onnx").write_bytes(b"no model, though honestly sealed")
    world.promote(world.add_version())
    assert "ONNX Runtime cannot load the model" in world.follower.attempt().problem
    assert world.links() == {"champion": 1}


def test_bundle_that_is_not_the_registered_one_is_not_published(world, trained):
    world.follower.attempt()
    number = world.add_version()
    shutil.rmtree(world.stored(number))
    shutil.copytree(trained("poor"), world.stored(number))
    world.promote(number)
    assert "the registry holds another bundle than was registered" in world.follower.attempt().problem
    assert world.links() == {"champion": 1}


def test_bundle_that_lists_what_is_noted_in_it_is_refused_and_not_broken(world):
    (world.bundle.path / "tracking.json").write_text("{}")
    files = world.bundle.metadata.files | {"tracking.json": hashlib.sha256(b"{}").hexdigest()}
    metadata = msgspec.structs.replace(world.bundle.metadata, files=files)
    raw = seal(metadata)
    (world.bundle.path / "metadata.json").write_bytes(raw)
    hostile = Bundle(world.bundle.path, metadata, hashlib.sha256(raw).hexdigest())
    world.promote(log_bundle(hostile, world.config).model_version)
    assert "lists tracking.json" in world.follower.attempt().problem
    assert world.links() == {}


def test_digest_that_would_lead_out_of_the_folder_is_refused(world):
    world.client("set_model_version_tag", "1", registry.DIGEST_TAG, "/../../../../out")
    assert "expected a sha256" in world.follower.attempt().problem
    assert world.links() == {}


def test_version_registered_by_other_means_is_published_and_downloaded_once(world):
    world.client("delete_model_version_tag", "1", registry.DIGEST_TAG)
    assert world.follower.attempt().problem is None
    assert world.links() == {"champion": 1}
    shutil.rmtree(world.stored(1))
    assert world.follower.attempt().problem is None


def test_champion_without_an_alias_goes_on_being_served(world):
    world.follower.attempt()
    world.client("delete_registered_model_alias", "champion")
    assert "there is no champion" in world.follower.attempt().problem
    assert world.links()["champion"] == 1
    assert world.status()["champion"] == 1


def test_unknown_model_and_missing_store_are_told_apart_and_no_store_is_made(world, tmp_path):
    stranger = Follower(world.config, "other model", tmp_path / "served", interval_seconds=5)
    assert "no model 'other model' is registered" in stranger.attempt().problem
    world.config.tracking_dir.rename(tmp_path / "gone")
    assert "holds no MLflow store yet" in world.follower.attempt().problem
    assert not world.config.tracking_dir.exists()


@pytest.mark.parametrize("file", ["model.onnx", "metadata.json"])
def test_published_bundle_that_was_damaged_is_replaced_by_the_next_process(world, file):
    world.follower.attempt()
    (world.served / "champion" / file).unlink()
    assert world.follow().attempt().problem is None
    assert world.links() == {"champion": 1}
    assert not list(world.served.glob(".sync-*"))


def test_served_folder_that_vanished_is_filled_again(world):
    world.follower.attempt()
    shutil.rmtree(world.served)
    assert world.follower.attempt().problem is None
    assert world.links() == {"champion": 1}


def test_folder_that_cannot_be_made_is_a_problem_and_no_crash(world):
    world.config.served_models_dir.parent.mkdir(exist_ok=True)
    world.config.served_models_dir.write_text("a file")
    assert "served" in world.follower.attempt().problem
    assert world.follower.due_seconds > 5


def test_server_that_is_down_or_silent_is_reported_in_time_and_followed_when_it_is_back(
    world, tracking_server, proxy, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    log_bundle(world.bundle, world.config)
    world.promote(registry_newest(world.config))
    assert world.follower.attempt().problem is None
    before = world.links()
    number = world.add_version()
    world.promote(number)
    for budget in (0, 1, 3):  # before the first answer, after /health, in the middle
        proxy.served, proxy.budget = 0, budget
        begun = time.monotonic()
        assert world.follower.attempt().problem.startswith(proxy.address)
        assert time.monotonic() - begun < 5
        assert world.links() == before
        assert world.status()["result"] == "error"
    assert world.follower.due_seconds > 30  # 5 s doubled with each failure
    proxy.budget, proxy.silent = None, True
    world.config = with_timeout(world.config)
    silent = world.follow()
    begun = time.monotonic()
    assert "no answer from the tracking server" in silent.attempt().problem
    assert time.monotonic() - begun < 5
    proxy.silent = False
    world.now += 60
    assert world.follower.attempt().problem is None
    assert world.links() == {"champion": number}
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def registry_newest(config: Config) -> int:
    with open_store(config) as store:
        return registry.find_version(store, "cancer", "latest").number


def with_timeout(config: Config) -> Config:
    return read_config(config.file, root=config.root, overrides=["tracking.timeout_seconds=1"], env={})


@pytest.fixture
def impatient(world) -> World:
    """The same, where a model may take 5 s and 512 MiB."""
    limits = ["proof.seconds=5", f"proof.memory_bytes={512 << 20}"]
    world.config = read_config(world.config.file, root=world.config.root, overrides=limits, env={})
    world.follower = world.follow()
    world.follower.attempt()
    return world


def replace_model(world: World, model: bytes) -> int:
    """Register and promote a version whose bundle is honestly sealed around another model."""
    (world.bundle.path / "model.onnx").write_bytes(model)
    number = world.add_version()
    world.promote(number)
    return number


def test_model_that_never_ends_is_refused_in_time_and_a_rollback_gets_through(impatient):
    number = replace_model(impatient, build_endless(30))
    begun = time.monotonic()
    problem = impatient.follower.attempt().problem
    assert time.monotonic() - begun < 40
    assert problem.startswith(
        f"champion version {number} cannot be published: the model did not answer its example row within 5 s"
    )
    assert impatient.links() == {"champion": 1}
    status = impatient.status()
    assert (status["result"], status["champion"]) == ("error", 1)
    assert status["refused"] == [{"alias": "champion", "version": number, "cause": "time", "message": problem}]
    begun = time.monotonic()
    assert impatient.follower.attempt().problem == problem  # neither downloaded nor run again
    assert time.monotonic() - begun < 5
    rollback(impatient.config)
    impatient.client("delete_registered_model_alias", "challenger")  # it points to the same version
    assert impatient.follower.attempt().problem is None
    assert impatient.status()["refused"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit of memory")
def test_model_that_eats_memory_is_refused_and_another_one_is_published(impatient):
    good = (impatient.bundle.path / "model.onnx").read_bytes()
    replace_model(impatient, build_greedy(4 << 30, 30))
    assert "needs more than 512 MiB of memory" in impatient.follower.attempt().problem
    assert impatient.status()["refused"][0]["cause"] == "memory"
    number = replace_model(impatient, good)
    assert impatient.follower.attempt().problem is None
    assert impatient.links() == {"champion": number}


def test_refused_challenger_that_loses_its_alias_is_forgotten(impatient):
    (impatient.bundle.path / "model.onnx").write_bytes(b"no model, though honestly sealed")
    impatient.add_version()
    impatient.follower.attempt()
    assert [item["alias"] for item in impatient.status()["refused"]] == ["challenger"]
    impatient.client("delete_registered_model_alias", "challenger")
    assert impatient.follower.attempt().problem is None
    assert impatient.status()["refused"] == []


@pytest.mark.parametrize("name", ["other", "Cancer", "cancer "])
def test_bundle_that_calls_itself_by_another_name_is_not_published(world, name):
    world.follower.attempt()
    metadata = msgspec.structs.replace(world.bundle.metadata, name=name)
    raw = seal(metadata)
    number = world.add_version()
    (world.stored(number) / "metadata.json").write_bytes(raw)
    world.client("set_model_version_tag", str(number), registry.DIGEST_TAG, hashlib.sha256(raw).hexdigest())
    world.promote(number)
    assert world.follower.attempt().problem
    assert world.links() == {"champion": 1}
    assert world.status()["refused"][0]["cause"] == ("damaged" if name.endswith(" ") else "name")


def test_waiting_for_the_first_champion_takes_seconds_however_long_there_was_none(make):
    world = World(*make("poor"))
    for _ in range(20):  # no store, no model: it is asked as often as ever
        assert world.follower.attempt().problem
        assert world.follower.due_seconds < 5.1
        world.now += 5
    number = log_bundle(world.bundle, world.config).model_version
    assert "there is no champion" in world.follower.attempt().problem
    assert world.follower.due_seconds < 5.1
    world.promote(number)
    assert world.follower.attempt().problem is None
    assert world.links() == {"champion": number}
