"""Ensembles in files that several processes map: the same bits, memory of all together, nothing outside, nothing left over."""

import shutil

import numpy as np
import pytest

from mlops_project.native import images
from mlops_project.native.images import Images
from mlops_project.native.model import open_trees
from tests.unit.native.ensembles import KINDS, build_model, draw, draw_rows


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    monkeypatch.setattr(images, "LEAST_BYTES", 1)


def share(folder, key="model", most_bytes=1 << 30) -> Images:
    return Images(folder, key, most_bytes)


def open_shared(message, ensemble, where):
    trees = open_trees(memoryview(message), ensemble.n_features, where)
    assert trees is not None
    return trees


@pytest.mark.parametrize("labels", [False, True], ids=["value", "labels"])
@pytest.mark.parametrize("kind", KINDS)
def test_ensemble_in_a_file_gives_the_bits_of_one_that_was_built(tmp_path, kind, labels):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        ensemble = draw(rng, kind, n_targets=3 if labels else 1)
        message, where = build_model(ensemble, labels=labels), share(tmp_path, str(seed))
        built = open_trees(memoryview(message), ensemble.n_features)
        first, second = open_shared(message, ensemble, where), open_shared(message, ensemble, where)
        assert first.shared_bytes == second.shared_bytes == (tmp_path / f"{seed}.0.trees").stat().st_size
        assert built.shared_bytes == 0
        outputs = ["label", "probabilities"] if labels else ["value"]
        for n_rows in (1, 5, 40):
            feeds = {"numbers": draw_rows(rng, ensemble, n_rows, gaps=n_rows > 1)}
            answers = [[part.tobytes() for part in trees.run(outputs, feeds)] for trees in (built, first, second)]
            assert answers[0] == answers[1] == answers[2]


def test_file_lasts_as_long_as_anybody_has_it_and_no_longer(tmp_path):
    rng = np.random.default_rng(1)
    ensemble = draw(rng, "mixed")
    message, rows = build_model(ensemble), draw_rows(rng, ensemble, 20, gaps=False)
    first = open_shared(message, ensemble, share(tmp_path))
    expected = first.run(["value"], {"numbers": rows})[0].tobytes()
    second = open_shared(message, ensemble, share(tmp_path))
    del first
    assert [file.name for file in tmp_path.iterdir()] == ["model.0.trees"]
    third = open_shared(message, ensemble, share(tmp_path))
    del second
    assert third.run(["value"], {"numbers": rows})[0].tobytes() == expected
    del third
    assert not list(tmp_path.iterdir())


def test_file_that_is_deleted_by_somebody_is_made_anew_and_harms_nobody(tmp_path):
    rng = np.random.default_rng(2)
    ensemble = draw(rng, "double")
    message, rows = build_model(ensemble), draw_rows(rng, ensemble, 20, gaps=True)
    first = open_shared(message, ensemble, share(tmp_path))
    (tmp_path / "model.0.trees").unlink()
    second = open_shared(message, ensemble, share(tmp_path))
    assert first.run(["value"], {"numbers": rows})[0].tobytes() == second.run(["value"], {"numbers": rows})[0].tobytes()
    del first  # its file is gone; the other's stays
    assert (tmp_path / "model.0.trees").exists()


def test_small_ensembles_full_folders_and_full_disks_leave_each_process_its_own(tmp_path, monkeypatch):
    ensemble = draw(np.random.default_rng(3), "double")
    message = build_model(ensemble)
    assert open_shared(message, ensemble, share(tmp_path, most_bytes=100)).shared_bytes == 0
    assert open_shared(message, ensemble, share(tmp_path / "nowhere")).shared_bytes == 0
    with monkeypatch.context() as patch:
        patch.setattr(images, "LEAST_BYTES", 1 << 20)
        assert open_shared(message, ensemble, share(tmp_path)).shared_bytes == 0
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=images.FREE_BYTES, total=4 * images.FREE_BYTES))
        assert open_shared(message, ensemble, share(tmp_path)).shared_bytes == 0
    assert not list(tmp_path.iterdir())


def test_all_files_of_the_folder_count(tmp_path):
    ensemble = draw(np.random.default_rng(3), "double")
    message = build_model(ensemble)
    first = open_shared(message, ensemble, share(tmp_path))
    second = open_shared(message, ensemble, share(tmp_path, "other", int(1.5 * first.shared_bytes)))
    assert (first.shared_bytes > 0, second.shared_bytes) == (True, 0)


def test_file_that_others_may_write_or_that_leads_elsewhere_is_not_read(tmp_path):
    ensemble = draw(np.random.default_rng(4), "double")
    message, where = build_model(ensemble), share(tmp_path)
    kept = open_shared(message, ensemble, where)
    file = tmp_path / "model.0.trees"
    assert file.stat().st_mode & 0o777 == 0o600
    assert where.open(0) is not None
    file.chmod(0o666)
    assert where.open(0) is None
    file.chmod(0o600)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to("elsewhere")
    assert where.open(0) is None
    assert kept.shared_bytes


def test_rest_of_a_process_that_was_killed_while_it_wrote_is_replaced(tmp_path):
    ensemble = draw(np.random.default_rng(4), "double")
    (tmp_path / "model.0.trees-part").write_bytes(b"half")
    assert open_shared(build_model(ensemble), ensemble, share(tmp_path)).shared_bytes
    assert not list(tmp_path.iterdir())


def test_damaged_file_is_refused_or_answered_and_never_ends_the_process(tmp_path):
    """Nobody but the server's user can write it; even so nothing outside it is read, and every walk ends."""
    rng = np.random.default_rng(5)
    for kind in KINDS:
        ensemble = draw(rng, kind, n_trees=3, n_targets=2)
        message, rows = build_model(ensemble), draw_rows(rng, ensemble, 20, gaps=True)
        kept = open_shared(message, ensemble, share(tmp_path))
        sound = (tmp_path / "model.0.trees").read_bytes()
        del kept
        refused = 0
        for _ in range(80):
            damaged = bytearray(sound)
            places = rng.integers(0, min(len(sound), 200) if rng.random() < 0.5 else len(sound), int(rng.integers(1, 4)))
            for place in places:
                damaged[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(0, 256)]))
            end = len(sound) if rng.random() < 0.8 else int(rng.integers(1, len(sound)))
            (tmp_path / "model.0.trees").write_bytes(damaged[:end])
            (tmp_path / "model.0.trees").chmod(0o600)
            trees = open_shared(message, ensemble, share(tmp_path))
            refused += (tmp_path / "model.0.trees").read_bytes() != bytes(damaged[:end])
            for count in (1, 20):
                trees.run(["value"], {"numbers": rows[:count]})
            del trees
        assert 10 < refused < 80, kind


def test_other_model_of_the_same_name_is_refused(tmp_path):
    wide, narrow = (draw(np.random.default_rng(6), "double", n_features=n) for n in (6, 3))
    kept = open_shared(build_model(wide), wide, share(tmp_path))
    other = open_shared(build_model(narrow), narrow, share(tmp_path))
    rows = draw_rows(np.random.default_rng(7), narrow, 10, gaps=False)
    expected = open_trees(memoryview(build_model(narrow)), 3).run(["value"], {"numbers": rows})[0]
    assert other.run(["value"], {"numbers": rows})[0].tobytes() == expected.tobytes()
    assert kept.shared_bytes
