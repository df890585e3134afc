"""The demo's world: machines, and whether they fail. Made up, so that there is always another row."""

import numpy as np
import pandas as pd


def make_machines(n_rows: int, seed: int) -> pd.DataFrame:
    """Return machines as a table: what is measured, and the outcome (``fails`` or ``holds``), mostly settled by it."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "load": rng.normal(60, 12, n_rows).round(1),
            "vibration": rng.gamma(6, 0.5, n_rows).round(2),
            "temperature": rng.normal(21, 4, n_rows).round(1),
            "age": rng.integers(10, 2000, n_rows),
            "supplier": rng.choice(["north", "south", "east"], n_rows, p=[0.5, 0.3, 0.2]),
        }
    )
    strain = 0.09 * (frame["load"] - 60) + 1.3 * (frame["vibration"] - 3) + 0.0012 * (frame["age"] - 1000)
    strain += 0.9 * (frame["supplier"] == "east")
    fails = rng.random(n_rows) < 1 / (1 + np.exp(-2.5 * strain))
    return frame.assign(outcome=np.where(fails, "fails", "holds"))
