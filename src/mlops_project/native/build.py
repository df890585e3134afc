"""Compiles the shared object ``trees`` where there is a C compiler: ``python -m mlops_project.native.build``.

Imports nothing but the standard library: ``hatch_build.py`` loads this file before the project is installed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = (HERE / "trees.c", HERE / "table.c")
LIBRARY = HERE / "trees.so"
COMPILERS = ("cc", "gcc", "clang")
# Nothing that lets a compiler change the order or the precision of arithmetic.
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Wextra")


def find_compiler() -> str | None:
    """Return the C compiler that ``CC`` names, or the first of the usual ones; None if there is none."""
    named = os.environ.get("CC")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, COMPILERS)), None)


def build(target: Path = LIBRARY, *extra: str) -> bool:
    """Compile the shared object; a compiler that fails leaves what was there.

    Parameters
    ----------
    extra
        Further flags, such as those of sanitizers.

    Returns
    -------
    bool
        Whether it was built. Without it ONNX Runtime evaluates all models and Python reads all tables, with the same answers.
    """
    compiler = find_compiler()
    if compiler is None:
        return False
    part = target.with_name(f"{target.name}.{os.getpid()}")
    done = subprocess.run([compiler, *FLAGS, *extra, "-o", str(part), *map(str, SOURCES), "-lm"], check=False)
    if done.returncode:
        part.unlink(missing_ok=True)
        return False
    part.replace(target)
    return True


def main() -> None:
    """Compile, and say what came of it."""
    if build():
        sys.stdout.write(f"built {LIBRARY}\n")
    else:
        sys.stderr.write("no C compiler that works: ONNX Runtime evaluates all models, tree ensembles more slowly\n")


if __name__ == "__main__":
    main()
