"""The shared object ``trees``: found beside this file, or not there; its functions and structures for ctypes."""

import ctypes
import functools
import os
from pathlib import Path

HERE = Path(__file__).parent
LIBRARY = HERE / "trees.so"
SWITCH = "NATIVE_TREES"  # an environment variable: 0 leaves all models to ONNX Runtime, and all tables to Python
INTERFACE = 4  # TREES_INTERFACE of trees.h
OK, REFUSED, NO_MEMORY = 0, 1, 2
SUBTRACT, DIVIDE, MULTIPLY, ADD, FILL, SINGLE_PRECISION = range(6)

_POINTER, _LONG, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32


class Source(ctypes.Structure):
    """TreesSource of trees.h."""

    _fields_ = (
        *((name, _LONG) for name in ("n_nodes", "n_leaves", "n_trees", "n_targets", "n_features")),
        *((name, _POINTER) for name in ("roots", "feature", "true_node", "false_node", "true_leaf", "false_leaf")),
        *((name, _POINTER) for name in ("missing_true", "leaf_target", "split", "weight")),
        *((name, _INT) for name in ("wide", "single", "strict")),
    )


class Program(ctypes.Structure):
    """TreesProgram of trees.h."""

    _fields_ = (
        *((name, _INT) for name in ("n_numbers", "n_texts")),
        *((name, _LONG) for name in ("n_steps", "n_table_values")),
        *((name, _POINTER) for name in ("sources", "first_steps", "operations", "constants")),
        *((name, _POINTER) for name in ("first_values", "tables", "n_codes")),
    )


class Form(ctypes.Structure):
    """TableForm of table.h."""

    _fields_ = (("opening", ctypes.c_char_p), ("closing", ctypes.c_char_p), ("pieces", _POINTER), ("is_list", _INT))


class Shape(ctypes.Structure):
    """TableShape of table.h."""

    _fields_ = (
        *((name, _INT) for name in ("n_columns", "n_numbers", "n_texts", "n_forms")),
        *((name, _POINTER) for name in ("kinds", "forms")),
    )


class Room(ctypes.Structure):
    """TableRoom of table.h."""

    _fields_ = (
        ("shape", _POINTER),
        ("seed", ctypes.c_uint64),
        ("room", _LONG),
        *((name, _POINTER) for name in ("numbers", "codes", "spans", "n_values")),
    )


class Library:
    """The functions of trees.h and table.h.

    Attributes
    ----------
    build, free, read_integers, image_bytes, write_image, open_image
        As there.
    run, run_quickly
        ``trees_run``. The first lets other threads run meanwhile, which costs more than a few rows take.
    count_rows, read_table, read_quickly
        ``table_count`` and ``table_read``, alike.
    """

    def __init__(self, path: Path) -> None:
        library, holding = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        if library.trees_interface() != INTERFACE:
            raise OSError(f"{path} is of another version; build it again with `make native`")
        self.build, self.free, self.read_integers = library.trees_build, library.trees_free, library.trees_read_integers
        self.image_bytes, self.write_image = library.trees_image_bytes, library.trees_write_image
        self.open_image = library.trees_open_image
        self.build.argtypes = [_POINTER, _POINTER, ctypes.c_double, _POINTER]
        self.image_bytes.argtypes, self.image_bytes.restype = [_POINTER], _LONG
        self.write_image.argtypes, self.write_image.restype = [_POINTER, _POINTER], None
        self.open_image.argtypes = [_POINTER, _LONG, _POINTER, _POINTER, ctypes.c_double, _POINTER]
        self.free.argtypes, self.free.restype = [_POINTER], None
        self.read_integers.argtypes, self.read_integers.restype = [_POINTER, _LONG, _POINTER, _LONG], _LONG
        self.run, self.run_quickly = library.trees_run, holding.trees_run
        for function in (self.run, self.run_quickly):
            function.argtypes = [_POINTER, _POINTER, _POINTER, _LONG, _POINTER, _POINTER]
        self.count_rows = holding.table_count
        self.count_rows.argtypes, self.count_rows.restype = [ctypes.c_char_p, _LONG], _LONG
        self.read_table, self.read_quickly = library.table_read, holding.table_read
        for function in (self.read_table, self.read_quickly):
            function.restype = _LONG
            function.argtypes = [_POINTER, ctypes.c_char_p, _LONG]


@functools.cache
def load_library() -> Library | None:
    """Return the shared object; None where it was not built, is of another machine or version, or ``NATIVE_TREES`` is 0."""
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        return Library(LIBRARY) if LIBRARY.exists() else None
    except (OSError, AttributeError):
        return None
