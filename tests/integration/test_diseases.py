"""Some of the corpus of ``make bench-decisions``: those on tables that scikit-learn has, each beside its healthy twin."""

import pytest

from benchmarks.decisions.cases import CASES
from benchmarks.decisions.checks import configure, find_findings

NAMES = ("rows twice, moved more", "-999 for what is missing", "thirty rows more than columns")


@pytest.mark.parametrize("name", NAMES)
def test_disease_is_named_by_its_code_and_the_twin_is_left_in_peace(name, tmp_path):
    case = next(case for case in CASES if case.name == name)
    ill, well = (find_findings(configure(case, tmp_path, 0, is_ill=is_ill)) for is_ill in (True, False))
    assert set(case.codes) & {finding.code for finding in ill}
    assert [finding.sentence for finding in well] == []


def test_there_are_forty_diseases_of_many_kinds():
    assert len({case.name for case in CASES}) == len(CASES) >= 40
    assert len({code for case in CASES for code in case.codes}) >= 30
