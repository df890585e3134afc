"""A network of its own: the benchmark runs again in a namespace where loopback is all there is.

Ray listens on every address whatever it is told, so it only takes part there; for the others it is a second lock.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

MARK = "BENCH_ISOLATED"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1  # linux/sockios.h, linux/if.h


def is_isolated() -> bool:
    """Say whether this process runs in a network of its own."""
    return os.environ.get(MARK) == "yes"


def bring_up_loopback() -> None:
    """Switch loopback on: in a new namespace it is off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def isolate() -> None:
    """Run this program again in a network namespace, where the system allows it; it does not return then."""
    if is_isolated():
        bring_up_loopback()
        return
    tool = shutil.which("unshare")
    command = [str(tool), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if tool and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        os.environ[MARK] = "yes"
        os.execv(tool, [*command, sys.executable, *sys.argv])
