"""From a table in a YAML file to a model in production that people can trust, and back.

``import mlops_project as mlops`` loads nothing but this file; each function brings in what it needs when it is first asked for.
"""

from importlib import import_module

__version__ = "0.1.0"

# Name → module. ``__init__.pyi`` says the same to type checkers.
_INTERFACE = {
    "Model": "mlops_project.interface.model",
    "export": "mlops_project.interface.handing",
    "load": "mlops_project.interface.model",
    "log": "mlops_project.interface.handing",
    "train": "mlops_project.interface.making",
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
