"""When a trial is left before all its folds are done."""

from mlops_project.tuning.racing import is_behind

FINISHED = [(1.0, 2.0, 3.0), (1.2, 2.4, 3.0), (1.1, 1.9, 3.3)]  # after their first folds they are off by 0 and 0


def test_trial_is_left_when_it_is_behind_by_more_than_the_same_folds_were_off():
    assert not is_behind((0.9,), FINISHED)
    assert not is_behind((1.0,), FINISHED)
    assert is_behind((1.3,), FINISHED)


def test_more_folds_tell_more():
    unsure = [(1.0, 2.0, 3.0), (1.4, 2.0, 3.0), (0.7, 2.3, 3.3)]  # their first folds were off by 0.27 and 0.4
    assert not is_behind((1.3,), unsure)
    assert is_behind((1.3, 2.3), unsure)


def test_too_few_finished_trials_say_nothing():
    assert not is_behind((100.0,), FINISHED[:2])


def test_folds_that_never_differ_leave_whatever_is_worse():
    same = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]
    assert is_behind((1.1,), same)
    assert not is_behind((1.0,), same)
