"""Actions in forked children that kill themselves with SIGKILL before their n-th change of the file system.

For scripts that tests start: forking wants a process without threads. Modules are imported before forking, because importing is
most of what a child would do.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

sys.dont_write_bytecode = True  # or compiled modules are among the changes, the first time

CHANGES = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "shutil.rmtree",
    "shutil.move",
    "shutil.copyfile",
    "os.chmod",
}
SWAP = "ctypes.dlopen"  # the last event before renameat2, which has no event of its own


def is_change(event: str, arguments: tuple) -> bool:
    """Whether an audit event is a change of the file system."""
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        return (isinstance(mode, str) and any(sign in mode for sign in "wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR))
    return event in CHANGES or event == SWAP


def in_child(action: Callable[[], Any]) -> Any:
    """Run an action in a forked child; return what it returned, as JSON has it, or None if it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(action()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    assert said or os.WIFSIGNALED(status), "the child failed; its traceback is above"
    return json.loads(said) if said else None


def warm_up(action: Callable[[], Any]) -> None:
    """Run an action in a child, and import here what it imported."""

    def rehearse() -> list[str]:
        action()
        return sorted(sys.modules)

    for name in in_child(rehearse):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def run_child(action: Callable[[], Any], fatal: int, is_counted: Callable[[str, tuple], bool] = is_change) -> int | None:
    """Run an action in a child that dies before its ``fatal``-th change; return how many it made if it got to the end."""

    def work() -> int:
        seen = 0

        def watch(event: str, arguments: tuple) -> None:
            nonlocal seen
            if is_counted(event, arguments):
                seen += 1
                if seen == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        action()
        return seen

    return in_child(work)
