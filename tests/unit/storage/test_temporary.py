import shutil
import subprocess
import sys
import tempfile

import pytest

from mlops_project.storage.temporary import OWNER, own_folder

CHILD = """
import os, signal, sys
from mlops_project.storage.temporary import own_folder
with own_folder("served-") as folder:
    print(folder, flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_folder_is_private_and_gone_at_the_end(temporary):
    with own_folder("served-") as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "counters").write_text("1")
    assert not list(temporary.iterdir())


def test_folder_of_a_killed_process_is_removed_and_those_of_others_stay(temporary):
    (temporary / "served-by-hand").mkdir()
    (temporary / "elsewhere").mkdir()
    (temporary / "served-link").symlink_to("elsewhere")
    (temporary / "elsewhere" / OWNER).touch()
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        left = child.stdout.readline().strip()
        with own_folder("served-"):
            assert left in {str(folder) for folder in temporary.iterdir()}  # its process lives
    with own_folder("served-") as folder:
        assert {item.name for item in temporary.iterdir()} == {folder.name, "served-by-hand", "elsewhere", "served-link"}
    shutil.rmtree(temporary / "elsewhere")
