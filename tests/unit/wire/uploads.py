"""The same bytes as batch scoring reads them."""

import io

from mlops_project.contract import Contract
from mlops_project.scoring.files import TableFile
from mlops_project.scoring.local import RULES, encode_frame
from mlops_project.wire.rows import Encoded, RowReader


def read_batch(body: bytes, contract: Contract) -> Encoded:
    """Read a file of one chunk."""
    (chunk,) = TableFile(io.BytesIO(body), contract).read_chunks()
    return encode_frame(chunk, RowReader(contract, RULES))
