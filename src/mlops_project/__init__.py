"""From a table in a YAML file to a model in production that people can trust, and back.

``import mlops_project as mlops`` loads nothing but this file; each function brings in what it needs when it is first asked for.
"""

import sys
from importlib import import_module

__version__ = "0.1.0"

# Name → module. ``__init__.pyi`` says the same to type checkers.
_INTERFACE = {
    "approve": "mlops_project.interface.operations",
    "compare": "mlops_project.interface.operations",
    "drift": "mlops_project.interface.operations",
    "evaluate": "mlops_project.interface.operations",
    "explain": "mlops_project.interface.operations",
    "export": "mlops_project.interface.handing",
    "history": "mlops_project.interface.operations",
    "load": "mlops_project.interface.model",
    "log": "mlops_project.interface.handing",
    "Model": "mlops_project.interface.model",
    "promote": "mlops_project.interface.operations",
    "rollback": "mlops_project.interface.operations",
    "score": "mlops_project.interface.operations",
    "train": "mlops_project.interface.making",
    "tune": "mlops_project.interface.searching",
}
__all__ = ["__version__", *_INTERFACE]  # noqa: PLE0604 - names


def __getattr__(name: str) -> object:  # `__init__.pyi` has the types
    if name not in _INTERFACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_INTERFACE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_INTERFACE})


class _Package(type(sys)):
    """Keeps ``mlops.train`` a function after the module ``mlops_project.train`` of the command was imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _INTERFACE or not isinstance(value, type(sys)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
