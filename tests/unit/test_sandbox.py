import os
import subprocess
import sys
import time

import psutil
import pytest

from mlops_project.sandbox import LimitedProcess, ProofError

HEAD = "import sys, os, time\nfrom mlops_project.sandbox import restrict_self, report\nwriter = restrict_self(sys.argv[1:])\n"
MIB = 1 << 20


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a child whose code it is given."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(code: str, *, seconds: float = 60.0, memory_bytes: int = 512 * MIB, task: bytes = b"") -> str:
        (tmp_path / "arrived.py").write_text(HEAD + code)
        with LimitedProcess("arrived", task, seconds=seconds, memory_bytes=memory_bytes) as child:
            return child.wait()

    return run


def test_child_reads_its_task_and_reports_what_it_found(run):
    assert run("report(writer, sys.stdin.read().upper())", task=b"ok") == "OK"


@pytest.mark.parametrize(("code", "said"), [("while True: pass", "computed"), ("time.sleep(1000)", "done nothing")])
def test_child_that_does_not_end_is_ended_in_time(run, code, said):
    begun = time.monotonic()
    with pytest.raises(ProofError, match=rf"within 1\.5 s \(proof.seconds\): it has {said} for 1\.5 s") as caught:
        run(code, seconds=1.5)
    assert caught.value.cause == "time"
    assert time.monotonic() - begun < 15


SLOW = "while {}:\n    time.sleep(0.06)\n    end = time.process_time() + 0.01\n    while time.process_time() < end: pass\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody knows how far a process is")
def test_child_on_a_busy_machine_may_take_longer_while_it_gets_on_but_not_for_ever(run, monkeypatch):
    begun = time.monotonic()
    code = f"begun = time.monotonic()\n{SLOW.format('time.monotonic() < begun + 2.5')}report(writer, 'done')"
    assert run(code, seconds=2) == "done"
    assert time.monotonic() - begun > 2
    monkeypatch.setattr("mlops_project.sandbox.MOST_TIMES", 1.2)
    said = r"within 2 s \(proof.seconds\): this machine has left it \d\.\d s of processor time in \d s"
    with pytest.raises(ProofError, match=said):
        run(SLOW.format("True"), seconds=2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit")
def test_child_that_takes_too_much_memory_gets_none(run):
    code = "try:\n    bytearray(10**9)\n    report(writer, 'had it')\nexcept MemoryError:\n    report(writer, 'refused')\n"
    assert run(code) == "refused"
    assert run(code, memory_bytes=2048 * MIB) == "had it"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import ctypes; ctypes.string_at(0)", "was ended by SIGSEGV"),
        ("os.abort()", "was ended by SIGABRT"),
        ("os._exit(3)", "ended with 3"),
        ("raise ValueError", "ended with 1"),
        ("os.close(writer); time.sleep(1000)", "stopped reporting"),
    ],
)
def test_child_that_crashes_is_a_refusal_that_says_how(run, code, said):
    with pytest.raises(ProofError, match=said) as caught:
        run(code)
    assert caught.value.cause == "crash"


def test_what_a_child_prints_goes_nowhere(run, capfd):
    code = "os.write(1, b'out'); os.write(2, b'\\x1b[31merr'); print('more'); report(writer, 'done')"
    assert run(code) == "done"
    assert capfd.readouterr() == ("", "")


def test_what_a_child_starts_is_ended_with_it(run, tmp_path):
    code = (
        f"file = {str(tmp_path / 'pid')!r}\n"
        "if os.fork() == 0:\n"
        "    open(file, 'w').write(str(os.getpid())); os.rename(file, file + '.whole')\n"
        "    time.sleep(1000)\n"
        "while not os.path.exists(file + '.whole'): time.sleep(0.01)\n"
        "report(writer, 'done')"
    )
    assert run(code) == "done"
    process = int((tmp_path / "pid.whole").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_child_gets_no_secrets(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "x")
    monkeypatch.setenv("SERVE_API_KEYS", "admin:x")
    assert run("report(writer, str(sorted(name for name in os.environ if 'MLFLOW' in name or 'KEY' in name)))") == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit of processor time ends it")
def test_child_ends_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "arrived.py").write_text(
        HEAD + f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(1000)"
    )
    code = (
        "from mlops_project.sandbox import LimitedProcess\n"
        "with LimitedProcess('arrived', b'', seconds=1000, memory_bytes=2**29) as child: child.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(tmp_path)})
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    while psutil.pid_exists(int(pid.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.02)
