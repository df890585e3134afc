import pytest

from mlops_project.errors import TrackingError
from mlops_project.tracking import patience


def test_tracking_server_that_comes_back_is_waited_for(monkeypatch):
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.001)
    answers = iter([TrackingError("down"), TrackingError("down"), 7])

    def work():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patience.retry(work) == 7


def test_tracking_server_that_stays_away_ends_the_work(monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.0)

    def work():
        raise TrackingError("down")

    with pytest.raises(TrackingError, match="down"):
        patience.retry(work)
