import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mlops_project.modeling.library_warnings import KNOWN, NOT_CONVERGED, TOO_LARGE, collect_library_warnings


def test_warnings_of_real_libraries_stay_off_the_terminal_and_are_said_once_in_plain_words(capsys, rng):
    features = rng.normal(size=(60, 3))
    with collect_library_warnings() as library:
        for _ in range(2):
            LogisticRegression(max_iter=1).fit(features, features[:, 0] > 0)
            np.array([1e300]) * np.array([1e300])
    assert library.notes == [NOT_CONVERGED, TOO_LARGE]
    assert capsys.readouterr() == ("", "")


def test_warnings_for_programmers_are_not_shown_and_unknown_ones_are_on_one_line():
    with collect_library_warnings() as library:
        warnings.warn("old name", FutureWarning, stacklevel=1)
        warnings.warn("[12:01:02] WARNING: /src/learner.cc:738: \nParameters: { depth } are not used.\n", stacklevel=1)
    assert library.notes == ["Parameters: { depth } are not used."]


def test_warnings_so_far_can_be_read_inside_the_block():
    with collect_library_warnings() as library:
        assert library.notes == []
        warnings.warn("lbfgs failed to converge after 5 iterations", ConvergenceWarning, stacklevel=1)
        assert library.notes == [NOT_CONVERGED]


@pytest.mark.parametrize(("pattern", "words"), KNOWN)
def test_plain_words_are_one_clause_that_begins_small(pattern, words):
    assert words[0].islower()
    assert not words.endswith(".")
