import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mlops_project.bundle import FORMAT_VERSION, METADATA_FILE, MODEL_FILE, load_bundle, publish, stage
from mlops_project.errors import BundleError
from mlops_project.metadata import Tracking, seal
from mlops_project.storage import swap as swap_module


def test_published_bundle_reads_back_whole(tiny_bundle, tiny_contract):
    loaded = load_bundle(tiny_bundle.path)
    assert loaded == tiny_bundle
    assert loaded.contract == tiny_contract
    assert set(loaded.metadata.files) == {MODEL_FILE, "plots/roc.png"}


def test_publish_replaces_the_old_bundle_and_leaves_nothing_beside_it(tiny_bundle, tiny_metadata, tiny_model):
    newer = msgspec.structs.replace(tiny_metadata, name="newer")
    with stage(tiny_bundle.path) as folder:
        (folder / MODEL_FILE).write_bytes(tiny_model)
        publish(folder, tiny_bundle.path, newer)
    assert load_bundle(tiny_bundle.path).metadata.name == "newer"
    assert os.listdir(tiny_bundle.path.parent) == ["model"]


def test_failure_while_writing_keeps_the_old_bundle(tiny_bundle):
    def write_half():
        with stage(tiny_bundle.path) as folder:
            (folder / MODEL_FILE).write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert load_bundle(tiny_bundle.path) == tiny_bundle
    assert os.listdir(tiny_bundle.path.parent) == ["model"]


def test_full_disk_is_reported_and_keeps_the_old_bundle(tiny_bundle):
    def fill_disk():
        with stage(tiny_bundle.path) as folder, Path("/dev/full").open("wb", buffering=0) as full:
            (folder / MODEL_FILE).write_bytes(b"half")
            full.write(b"more than fits")

    with pytest.raises(BundleError, match="cannot be written, what was there before still is: No space left on device; free"):
        fill_disk()
    assert load_bundle(tiny_bundle.path) == tiny_bundle
    assert os.listdir(tiny_bundle.path.parent) == ["model"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EXDEV])
def test_publish_works_where_directories_cannot_be_exchanged(tiny_bundle, tiny_metadata, tiny_model, monkeypatch, code):
    def refuse(folder, target):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(swap_module, "exchange", refuse)
    newer = msgspec.structs.replace(tiny_metadata, name="newer")
    with stage(tiny_bundle.path) as folder:
        (folder / MODEL_FILE).write_bytes(tiny_model)
        publish(folder, tiny_bundle.path, newer)
    assert load_bundle(tiny_bundle.path).metadata.name == "newer"
    assert os.listdir(tiny_bundle.path.parent) == ["model"]


def test_kill_between_the_two_steps_of_a_swap_is_finished_by_the_reader(tiny_bundle):
    tiny_bundle.path.rename(tiny_bundle.path.with_name(".model.previous"))
    assert load_bundle(tiny_bundle.path).digest == tiny_bundle.digest


def test_leftovers_of_killed_writers_are_removed_and_those_of_living_ones_kept(tiny_bundle):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    parent = tiny_bundle.path.parent
    (parent / f".model.{dead.stdout.strip()}.abc.tmp").mkdir()
    (parent / f".model.{os.getppid()}.abc.tmp").mkdir()
    with stage(tiny_bundle.path):
        pass
    assert sorted(os.listdir(parent)) == [f".model.{os.getppid()}.abc.tmp", "model"]


@pytest.mark.parametrize("name", [MODEL_FILE, "plots/roc.png"])
def test_changed_file_is_found_by_its_digest(tiny_bundle, name):
    file = tiny_bundle.path / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(BundleError, match=rf"{name}: sha256 is .* expected"):
        load_bundle(tiny_bundle.path)


def test_missing_file_is_named(tiny_bundle):
    (tiny_bundle.path / MODEL_FILE).unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing, so this is not a whole bundle"):
        load_bundle(tiny_bundle.path)


def test_missing_directory_says_how_to_train(tmp_path):
    with pytest.raises(BundleError, match=r"no such directory; `mlops train CONFIG\.yaml` writes a model there"):
        load_bundle(tmp_path / "model")


def _edit_metadata(bundle, **changes):
    file = bundle.path / METADATA_FILE
    values = json.loads(file.read_text(encoding="utf-8")) | changes | {"sha256": None}
    file.write_bytes(seal({key: value for key, value in values.items() if value is not None}))


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, "1", None, True * 1.5])
def test_unknown_format_version_is_refused(tiny_bundle, version):
    _edit_metadata(tiny_bundle, format_version=version)
    with pytest.raises(BundleError, match=r"bundle format .* is unknown here"):
        load_bundle(tiny_bundle.path)


def test_field_of_a_newer_minor_version_is_ignored(tiny_bundle):
    _edit_metadata(tiny_bundle, invented_later={"a": 1})
    assert load_bundle(tiny_bundle.path).metadata == tiny_bundle.metadata


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_metadata_that_is_not_an_object_is_a_clear_error(tiny_bundle, text):
    (tiny_bundle.path / METADATA_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match="not valid JSON"):
        load_bundle(tiny_bundle.path)


def test_metadata_with_a_wrong_type_names_the_field(tiny_bundle):
    _edit_metadata(tiny_bundle, train_rows="many")
    with pytest.raises(BundleError, match="train_rows"):
        load_bundle(tiny_bundle.path)


def test_metadata_without_the_model_is_refused(tiny_bundle):
    _edit_metadata(tiny_bundle, files={})
    with pytest.raises(BundleError, match=r"does not list model\.onnx"):
        load_bundle(tiny_bundle.path)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname"])
def test_metadata_that_points_outside_the_bundle_is_refused(tiny_bundle, name):
    _edit_metadata(tiny_bundle, files={**tiny_bundle.metadata.files, name: "0" * 64})
    with pytest.raises(BundleError, match="outside the bundle"):
        load_bundle(tiny_bundle.path)


def test_directory_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").touch()
    with pytest.raises(BundleError, match="choose another directory"), stage(tmp_path / "home"):
        pass
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_empty_directory_is_taken(tmp_path, tiny_metadata, tiny_model):
    (tmp_path / "model").mkdir()
    with stage(tmp_path / "model") as folder:
        (folder / MODEL_FILE).write_bytes(tiny_model)
        publish(folder, tmp_path / "model", tiny_metadata)
    assert load_bundle(tmp_path / "model").metadata.name == "tiny"


def test_bundle_can_be_read_by_other_users(tiny_bundle):
    assert tiny_bundle.path.stat().st_mode & 0o055 == 0o055


def test_tracking_note_is_kept_beside_the_model_and_not_part_of_it(tiny_bundle):
    assert tiny_bundle.read_tracking() == Tracking()
    tiny_bundle.note_tracking(run_id="r1")
    tiny_bundle.note_tracking(model_version="3")
    loaded = load_bundle(tiny_bundle.path)
    assert loaded.read_tracking() == Tracking(run_id="r1", model_version="3", bundle=tiny_bundle.digest)
    assert loaded.digest == tiny_bundle.digest


def test_copied_bundle_is_the_same_model(tiny_bundle, tmp_path):
    shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    assert load_bundle(tmp_path / "copy").digest == tiny_bundle.digest


def test_killed_trainer_leaves_the_old_bundle_or_the_new_one(tiny_bundle, tmp_path):
    """A writer swaps two bundles as fast as it can and is killed; whatever moment it was, a whole one stands there."""
    script = (
        "import sys, msgspec, pathlib\n"
        "from mlops_project.bundle import *\n"
        "target = pathlib.Path(sys.argv[1]); old = load_bundle(target); model = old.model_file.read_bytes(); n = 0\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    n += 1\n"
        "    with stage(target) as folder:\n"
        "        (folder / MODEL_FILE).write_bytes(model)\n"
        "        publish(folder, target, msgspec.structs.replace(old.metadata, name=f'n{n}'))\n"
    )
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", script, str(tiny_bundle.path)], stdout=subprocess.PIPE) as writer:
            try:
                assert writer.stdout.readline() == b"ready\n"
                names: set[str] = set()
                while len(names) < 3:  # read while it writes; the suite's time limit ends a writer that does not
                    names.add(load_bundle(tiny_bundle.path).metadata.name)
            finally:
                writer.kill()
        load_bundle(tiny_bundle.path)
