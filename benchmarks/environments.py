"""Environments for those we compare ourselves with: each gets one of its own, made once by uv."""

import json
import subprocess
import sys
from pathlib import Path


def install(folder: Path, requirements: tuple[str, ...]) -> str:
    """Make an environment in ``folder`` unless it is there as required; return why that failed, or nothing."""
    stamp = folder.with_name(f"{folder.name}.json")
    wanted = {"requirements": list(requirements)}
    if stamp.exists() and (known := json.loads(stamp.read_text()))["requirements"] == wanted["requirements"]:
        return str(known["failure"])
    print(f"installing {folder.name} …", file=sys.stderr)
    uv, python = str(Path(sys.executable).parent / "uv"), str(folder / "bin" / "python")
    failure, packages = "", ""
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *requirements],
        [uv, "pip", "freeze", "--python", python],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        packages = done.stdout
        if done.returncode:
            failure = f"cannot be installed: {' '.join(done.stderr.split())[:200]}"
            break
    folder.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(json.dumps(wanted | {"failure": failure, "packages": packages.splitlines()}, indent=1))
    return failure
