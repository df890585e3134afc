import errno
import inspect
import os

import pytest

from mlops_project import errors


def _error_classes() -> list[type[errors.MLOpsError]]:
    return [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, errors.MLOpsError)]


def test_tree_in_the_docstring_names_every_error():
    drawing = errors.__doc__ or ""
    assert [item.__name__ for item in _error_classes() if item.__name__ not in drawing] == []


def test_codes_are_unique_so_that_scripts_can_rely_on_them():
    codes = [item.code for item in _error_classes()]
    assert len(codes) == len(set(codes))


def test_exit_codes_tell_user_errors_from_faults():
    assert {item.exit_code for item in _error_classes()} == {1, 2}
    assert errors.ConfigError.exit_code == 2
    assert errors.ExportError.exit_code == 1


def test_suggest_names_the_nearest_word_and_is_silent_when_nothing_is_near():
    assert errors.suggest("estimater", ["estimator", "params"]) == "; did you mean 'estimator'?"
    assert errors.suggest("zzz", ["estimator", "params"]) == ""


@pytest.mark.parametrize(
    ("number", "cure"),
    [(errno.ENOENT, "make its folder"), (errno.EACCES, "rights"), (errno.ENOSPC, "free some"), (errno.EISDIR, "name a file")],
)
def test_refusals_of_the_operating_system_end_in_what_to_do(number, cure):
    said = errors.explain_os(OSError(number, "any words", "a file"))
    assert said.startswith(f"{os.strerror(number)}; ")
    assert cure in said


def test_refusal_without_a_number_is_told_as_it_is():
    assert errors.explain_os(OSError("the bucket is gone")) == "the bucket is gone"
    assert errors.explain_os(OSError(errno.EDOM, "x")) == os.strerror(errno.EDOM)
