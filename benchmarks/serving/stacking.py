"""A stacking ensemble as people hand it over: ``python stacking.py FOLDER ENGINE`` writes its bundle."""

import sys

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import mlops_project as mlops

if __name__ == "__main__":
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    members = [
        ("forest", RandomForestClassifier(100, random_state=0)),
        ("svm", make_pipeline(StandardScaler(), SVC())),
        ("linear", make_pipeline(StandardScaler(), LogisticRegression())),
    ]
    train, test, train_labels, test_labels = train_test_split(X, y, random_state=0, stratify=y)
    model = StackingClassifier(members).fit(train, train_labels)
    lean = {"evaluation__bootstrap_rounds": 0, "evaluation__importance_repeats": 0, "export__engine": sys.argv[2]}
    mlops.export(model, train, train_labels, test, test_labels, path=sys.argv[1], name="stacking", **lean)
