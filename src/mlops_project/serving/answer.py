"""What the data plane gives back: a prediction on its way to the client and to the log."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.serving.model import ServedModel
from mlops_project.serving.repeats import Claim
from mlops_project.serving.variants import Draw


class Answer(NamedTuple):
    """What is sent back.

    Attributes
    ----------
    id
        Prediction id.
    model
        The model that answered.
    body, header_length
        Raw bytes; the length of their JSON part if binary tensors follow.
    n_rows, indices
        How many rows, and the predicted classes.
    seconds
        How long it took.
    logged
        Whether sampling picked it for the log, and it is not there yet.
    claim
        Of a request that may come again; None if it may not.
    draw
        How it took part in a roll-out; None if it did not.
    """

    id: str
    model: ServedModel
    body: bytes
    header_length: int | None
    n_rows: int
    indices: npt.NDArray[np.int64] | None
    seconds: float
    logged: bool
    claim: Claim | None = None
    draw: Draw | None = None

    @property
    def repeated(self) -> bool:
        """Whether the same request was answered before."""
        return self.claim is not None and self.claim.repeated
