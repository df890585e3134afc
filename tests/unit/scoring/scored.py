"""Tables to score, written to files and read from outputs."""

from pathlib import Path

import pandas as pd


def write(frame: pd.DataFrame, file: Path) -> str:
    if file.suffix == ".parquet":
        frame.to_parquet(file, row_group_size=30, index=False)
    else:
        frame.to_csv(file, index=False)
    return str(file)


def read(file: Path) -> pd.DataFrame:
    return pd.read_parquet(file) if file.is_dir() or file.suffix == ".parquet" else pd.read_csv(file, dtype={"id": str})
