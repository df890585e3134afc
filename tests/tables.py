"""A table with a column of every type, gaps, and names and labels that Markdown, HTML and spreadsheets might misread."""

import numpy as np
import pandas as pd

MIXED_TARGET = "risk"


def make_mixed_table(n_rows: int, seed: int = 3) -> pd.DataFrame:
    """Return rows whose target depends on age, smoker, city and income."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n_rows),
            "income <k$>": rng.gamma(3, 12, n_rows).round(1),
            "city": rng.choice(["São Paulo", "Rio *x*", "Recife", "<b>Natal</b>"], n_rows).astype(object),
            "smoker": rng.random(n_rows) < 0.3,
            "visit": pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 500, n_rows), unit="D"),
            "note": rng.choice([f"code {number}" for number in range(80)], n_rows),
            "insured": rng.choice(np.array([True, False, None], object), n_rows, p=[0.5, 0.4, 0.1]),
        }
    )
    strength = frame["age"] / 30 + 1.5 * frame["smoker"] + 1.2 * (frame["city"] == "Recife") - frame["income <k$>"] / 30
    risk = pd.cut(strength + rng.normal(0, 0.4, n_rows), [-99, 1, 2.2, 99], labels=["low", "=medium", "high"])
    frame.loc[rng.random(n_rows) < 0.1, "income <k$>"] = np.nan
    frame.loc[rng.random(n_rows) < 0.1, "city"] = None
    return frame.assign(**{MIXED_TARGET: risk.astype(str)})
