"""Parts of a model that are left to ONNX Runtime."""

from typing import Any

from mlops_project.native.columns import NotCoveredError
from mlops_project.onnx_session import open_session


def open_part(message: bytes) -> Any:
    """Return a session for a part that was cut out of a model.

    Raises
    ------
    NotCoveredError
        If ONNX Runtime does not take it; what is wrong it says best of the whole model.
    """
    try:
        return open_session(message)
    except MemoryError:
        raise
    except Exception as error:  # ONNX Runtime raises classes of its own
        raise NotCoveredError("part") from error
