"""Three real tables that come with scikit-learn and statsmodels, each with a target ``y`` of words."""

from collections.abc import Callable

import pandas as pd
import statsmodels.api as sm
from sklearn.datasets import load_breast_cancer

TARGET = "y"
OCCUPATIONS = ("student", "farming", "clerical", "teaching", "managerial", "professional")


def load_cancer() -> pd.DataFrame:
    """Return 569 tumours, 30 measurements that move together, two classes."""
    loaded = load_breast_cancer(as_frame=True)
    return loaded.data.assign(**{TARGET: loaded.target.map(dict(enumerate(loaded.target_names)))})


def load_affairs() -> pd.DataFrame:
    """Return 6,366 answers (Fair 1978): six graded numbers, two categories, two classes."""
    frame = sm.datasets.fair.load_pandas().data
    for name in ("occupation", "occupation_husb"):
        frame[name] = frame[name].map(dict(enumerate(OCCUPATIONS, start=1)))
    return frame.assign(**{TARGET: (frame.pop("affairs") > 0).map({True: "some", False: "none"})})


def load_visits() -> pd.DataFrame:
    """Return 20,190 years of the insured (RAND): six numbers with many zeros, two categories, three classes."""
    frame = sm.datasets.randhie.load_pandas().data
    visits = frame.pop("mdvis")
    grades = frame[["hlthg", "hlthf", "hlthp"]].set_axis(["good", "fair", "poor"], axis=1)
    frame["health"] = grades.idxmax(axis=1).where(grades.sum(axis=1) > 0, "excellent")
    frame["deductible"] = frame.pop("idp").map({0.0: "family", 1.0: "individual"})
    frame = frame.drop(columns=["hlthg", "hlthf", "hlthp"])
    return frame.assign(**{TARGET: pd.cut(visits, [-1, 0, 3, 1_000], labels=["none", "few", "many"]).astype(str)})


TABLES: dict[str, Callable[[], pd.DataFrame]] = {"cancer": load_cancer, "affairs": load_affairs, "visits": load_visits}
