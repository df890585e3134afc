"""Tables as the bytes that somebody uploads."""

import io

import pandas as pd

from mlops_project.contract import Contract
from mlops_project.scoring.files import TableFile


def as_csv(frame: pd.DataFrame, **options) -> io.BytesIO:
    return io.BytesIO(frame.to_csv(index=False, **options).encode())


def as_parquet(frame: pd.DataFrame) -> io.BytesIO:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream


def open_csv(text: str | bytes, contract: Contract) -> TableFile:
    return TableFile(io.BytesIO(text.encode() if isinstance(text, str) else text), contract)
