import subprocess

from mlops_project.config import read_config
from mlops_project.modeling.origin import digest_settings, find_commit, library_versions, public_settings


def test_commit_is_found_in_a_repository_and_none_elsewhere(tmp_path):
    assert find_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert find_commit(tmp_path) is None  # no commit yet
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert find_commit(tmp_path) == head.stdout.strip()


def test_digest_follows_the_settings(tmp_path):
    file = tmp_path / "model.yaml"
    file.write_text("random_state: 1")
    first = digest_settings(public_settings(read_config(file, root=tmp_path, env={})))
    assert digest_settings(public_settings(read_config(file, root=tmp_path, env={}))) == first
    file.write_text("random_state: 2")
    assert digest_settings(public_settings(read_config(file, root=tmp_path, env={}))) != first


def test_versions_of_the_libraries_that_are_there_are_noted():
    assert {"scikit-learn", "numpy", "onnxruntime", "mlops_project"} <= library_versions().keys()
    assert "xgboost" not in library_versions() or "xgboost-cpu" not in library_versions()
