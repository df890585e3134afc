"""Real processes: what is started under a guard is gone when the guard's block, or its process, ends."""

import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from mlops_project.stack import guard as module
from mlops_project.stack.guard import Guard, interrupted_once
from tests.servers import find_alive

# Prints its own number and a child's; both ignore SIGTERM if told so. The child is in its group, as uvicorn's workers are.
FAMILY = textwrap.dedent("""
    import os, signal, subprocess, sys, time
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    print(os.getpid(), child.pid, flush=True)
    time.sleep(1000)
""")


def start_family(guard: Guard, *options: str) -> list[psutil.Process]:
    process = guard.start([sys.executable, "-c", FAMILY, *options], stdout=subprocess.PIPE)
    with process.stdout:
        return [psutil.Process(int(word)) for word in process.stdout.readline().split()]


def test_processes_and_their_children_end_with_the_block():
    with Guard() as guard:
        family = start_family(guard) + start_family(guard)
        assert all(process.is_running() for process in family)
        assert os.getpgid(family[0].pid) == family[0].pid == os.getsid(family[1].pid)
    assert find_alive(family, 0.5) == []


def test_process_that_ignores_sigterm_is_killed(monkeypatch):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
    with Guard() as guard:
        family = start_family(guard, "stubborn")
    assert find_alive(family, 0.5) == []


def test_child_of_a_process_that_ended_is_ended_too():
    with Guard() as guard:
        leader, child = start_family(guard)
        leader.kill()
    assert find_alive([child], 0.5) == []


STARTER = textwrap.dedent(f"""
    import subprocess, sys, time
    from mlops_project.stack.guard import Guard
    with Guard() as guard:
        process = guard.start([sys.executable, "-c", {FAMILY!r}], stdout=subprocess.PIPE)
        print(process.stdout.readline().decode(), flush=True)
        time.sleep(1000)
""")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP])
def test_everything_ends_when_the_starter_is_killed(number):
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE) as starter:
        family = [psutil.Process(int(word)) for word in starter.stdout.readline().split()]
        starter.send_signal(number)
        starter.wait(10)
        assert find_alive(family, 10) == []


def test_everything_ends_when_a_suspended_starter_is_killed():
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE) as starter:
        family = [psutil.Process(int(word)) for word in starter.stdout.readline().split()]
        starter.send_signal(signal.SIGSTOP)  # Ctrl-Z
        assert all(process.status() != psutil.STATUS_STOPPED for process in family)
        starter.kill()
        assert find_alive(family, 10) == []


def test_guarded_process_gets_neither_the_pipe_nor_an_ignored_sigpipe():
    script = "import os, signal; print(sorted(os.listdir('/proc/self/fd' if os.path.isdir('/proc/self') else '/dev/fd')))"
    plain = subprocess.run([sys.executable, "-c", script], capture_output=True, stdin=subprocess.DEVNULL, check=True).stdout
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    with Guard() as guard:
        assert guard.start([sys.executable, "-c", script], **options).communicate()[0] == plain
        broken = guard.start(["sh", "-c", "yes | head -1; exit ${PIPESTATUS:-0}"], **options)
        assert broken.communicate() == (b"y\n", b"")


def test_command_that_does_not_exist_says_so():
    with Guard() as guard:
        process = guard.start(["/no/such/program"], stderr=subprocess.PIPE, text=True)
        assert process.communicate()[1] == "/no/such/program: No such file or directory\n"
        assert process.returncode == 1


def test_signals_while_everything_is_ended_change_nothing(monkeypatch):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)

    class Impatient(Guard):
        def _reap(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            super()._reap()

    with Impatient() as guard:
        family = start_family(guard, "stubborn")
    assert find_alive(family, 0.5) == []


def test_only_the_first_signal_interrupts():
    before = signal.getsignal(signal.SIGTERM)
    with interrupted_once():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGTERM) == before


def test_closed_terminal_does_not_interrupt_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupted_once():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
