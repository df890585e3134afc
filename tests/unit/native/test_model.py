"""The shared object gives the bits that ONNX Runtime gives, and refuses what would lead it astray."""

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlops_project.native import build, library
from mlops_project.native.model import open_trees
from mlops_project.onnx_session import open_session
from tests.unit.native.ensembles import KINDS, build_model, draw, draw_rows

ROOT = Path(__file__).parents[3]
COUNTS = (1, 2, 4, 5, 15, 16, 17, 33, 200)


def same_bits(ours, theirs) -> bool:
    return all(
        mine.dtype == other.dtype and mine.tobytes() == other.tobytes() for mine, other in zip(ours, theirs, strict=True)
    )


def compare(seed: int, kind: str, *, labels: bool) -> None:
    rng = np.random.default_rng(seed)
    n_targets = 3 if labels else int(rng.integers(1, 3))
    ensemble = draw(rng, kind, n_targets=n_targets, n_features=int(rng.integers(1, 6)))
    message = build_model(ensemble, labels=labels)
    trees, session = open_trees(memoryview(message), ensemble.n_features), open_session(message)
    assert trees is not None
    outputs = ["label", "probabilities"] if labels else ["value"]
    for n_rows in COUNTS:
        for gaps in (False, True):
            feeds = {"numbers": draw_rows(rng, ensemble, n_rows, gaps=gaps)}
            ours, theirs = trees.run(outputs, feeds), session.run(outputs, feeds)
            assert same_bits(ours, theirs), (seed, kind, n_rows, gaps)


@pytest.mark.parametrize("labels", [False, True], ids=["value", "labels"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_random_ensembles_give_the_bits_of_onnx_runtime(seed, kind, labels):
    compare(seed, kind, labels=labels)


def test_one_row_in_bound_memory_gives_the_same_bits():
    rng = np.random.default_rng(3)
    for kind in KINDS:
        for labels in (False, True):
            ensemble = draw(rng, kind, n_targets=3 if labels else 1)
            trees = open_trees(memoryview(build_model(ensemble, labels=labels)), ensemble.n_features)
            row = np.zeros((1, ensemble.n_features))
            names = (
                {"label": np.zeros(1, np.int64), "probabilities": np.zeros((1, 3))} if labels else {"value": np.zeros((1, 1))}
            )
            compute = trees.bind(row, names)
            for _ in range(20):
                row[:] = draw_rows(rng, ensemble, 1, gaps=True)
                compute(np.empty((1, 0), object))
                assert same_bits(list(names.values()), trees.run(list(names), {"numbers": row.copy()}))


def change(ensemble, name: str, place: int, value: int):
    ensemble.attributes[name] = [*ensemble.attributes[name]]
    ensemble.attributes[name][place] = value
    return ensemble


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tree_roots", 10**6),
        ("tree_roots", -1),
        ("nodes_featureids", 4),
        ("nodes_featureids", -1),
        ("nodes_truenodeids", 10**9),
        ("nodes_truenodeids", -(2**40)),
        ("nodes_falsenodeids", 2**62),
        ("leaf_targetids", 2),
        ("leaf_targetids", -1),
    ],
)
def test_number_outside_its_array_is_left_to_onnx_runtime(name, value):
    ensemble = draw(np.random.default_rng(0), "double", n_targets=2)
    for place in (0, -1):
        assert open_trees(memoryview(build_model(change(ensemble, name, place, value))), 4) is None


def test_nodes_in_a_circle_or_of_two_parents_are_left_to_onnx_runtime():
    ensemble = draw(np.random.default_rng(1), "double")
    inner = next(place for place, leaf in enumerate(ensemble.attributes["nodes_trueleafs"]) if not leaf)
    for target in (inner, 0):
        message = build_model(change(ensemble, "nodes_truenodeids", inner, target))
        assert open_trees(memoryview(message), 4) is None


def test_lists_of_unequal_length_are_left_to_onnx_runtime():
    for name in ("nodes_featureids", "nodes_trueleafs", "leaf_targetids"):
        ensemble = draw(np.random.default_rng(2), "mixed")
        ensemble.attributes[name] = ensemble.attributes[name][:-1]
        assert open_trees(memoryview(build_model(ensemble)), 4) is None


def test_damaged_files_are_refused_or_answered_and_never_end_the_process():
    rng = np.random.default_rng(5)
    ensemble = draw(rng, "mixed", n_trees=3)
    message = build_model(ensemble)
    rows = draw_rows(rng, ensemble, 20, gaps=True)
    for _ in range(400):
        damaged = bytearray(message)
        for place in rng.integers(0, len(message), int(rng.integers(1, 4))):
            damaged[place] = int(rng.integers(0, 256))
        trees = open_trees(memoryview(bytes(damaged[: int(rng.integers(len(message) // 2, len(message) + 1))])), 4)
        if trees is not None:
            trees.run(["value"], {"numbers": rows})


def test_other_nodes_are_left_to_onnx_runtime(tiny_model):
    assert open_trees(memoryview(tiny_model), 1) is None
    assert open_trees(memoryview(b"no model"), 1) is None


def test_switch_leaves_all_models_to_onnx_runtime(monkeypatch):
    message = build_model(draw(np.random.default_rng(6), "double"))
    library.load_library.cache_clear()
    monkeypatch.setenv(library.SWITCH, "0")
    try:
        assert open_trees(memoryview(message), 4) is None
    finally:
        monkeypatch.undo()
        library.load_library.cache_clear()


def test_library_of_another_version_is_not_used(tmp_path, monkeypatch):
    assert build.build(tmp_path / "trees.so")
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "trees.so")
    monkeypatch.setattr(library, "INTERFACE", library.INTERFACE + 1)
    library.load_library.cache_clear()
    try:
        assert library.load_library() is None
    finally:
        monkeypatch.undo()
        library.load_library.cache_clear()


def test_machine_without_compiler_builds_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert not build.build(tmp_path / "trees.so")
    assert not list(tmp_path.iterdir())


SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
ONE_VERSION = "-DTREES_ONE_VERSION"  # for the instructions that are named, instead of a choice of three


@pytest.mark.parametrize(
    "flags",
    [SANITIZERS, [ONE_VERSION], [ONE_VERSION, "-mavx2", "-mfma"]],
    ids=["sanitizers", "oldest processors", "avx2"],
)
def test_every_build_gives_the_same_bits_and_misuses_no_memory(tmp_path, flags):
    """Everything above once more; a build with sanitizers ends the process when memory or arithmetic is misused."""
    if "-mavx2" in flags and platform.machine() != "x86_64":
        flags = [ONE_VERSION, "-O1"]
    assert build.build(tmp_path / "trees.so", *flags)
    find = [build.find_compiler(), "-print-file-name=libasan.so"]
    sanitizer = subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()
    preload = {"LD_PRELOAD": sanitizer, "ASAN_OPTIONS": "detect_leaks=0"} if flags is SANITIZERS else {}
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.native.other_build", str(tmp_path / "trees.so")],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **preload},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "evaluated" in done.stdout
