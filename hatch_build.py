"""What a wheel gets beside its Python files: the shared object of native, where there is a C compiler."""

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD = "src/mlops_project/native/build.py"


class NativeHook(BuildHookInterface):
    """Compiles it; a wheel without it runs on any machine, one with it on machines of this kind, whatever their Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the shared object to what is built."""
        spec = importlib.util.spec_from_file_location("build", Path(self.root, BUILD))
        build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(build)
        if not build.build():
            return
        build_data["artifacts"].append(f"/{build.LIBRARY.relative_to(self.root)}")
        if version != "editable":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
