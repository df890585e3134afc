"""Which status an error has, one table for all protocols; anything unmapped is a 500 with a fixed sentence."""

from mlops_project.errors import MLOpsError
from mlops_project.prediction_log.ids import UnknownPredictionError
from mlops_project.python_engine.process import LoadingError, SlowWorkerError, WorkerError
from mlops_project.serving.catalogue import NoModelError, NotLoadedError, UnknownModelError, UnloadableModelError
from mlops_project.serving.model import NotReadyError
from mlops_project.wire.limits import TooLargeError
from mlops_project.wire.mlflow import UnsupportedTypeError

INTERNAL = "the server failed; its log has the reason under this request id"


class RefusedError(MLOpsError):
    """A request that is refused before the model sees it.

    Attributes
    ----------
    status
        HTTP status.
    reason
        The metric's label.
    """

    code = "refused"

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


STATUS: dict[type[MLOpsError], int] = {
    TooLargeError: 413,
    UnsupportedTypeError: 415,
    UnknownPredictionError: 404,
    UnknownModelError: 404,
    NoModelError: 503,
    NotLoadedError: 503,
    UnloadableModelError: 503,
    NotReadyError: 503,
    WorkerError: 503,
    LoadingError: 503,
    SlowWorkerError: 504,
}


def find_status(error: MLOpsError) -> int:
    """Return the HTTP status of an error; 400 unless the table says otherwise."""
    return error.status if isinstance(error, RefusedError) else STATUS.get(type(error), 400)
