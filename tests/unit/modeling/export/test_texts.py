"""Models that count words: exact on any Unicode text, refused by step where a setting is not followed."""

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from mlops_project.contract import Contract, Feature
from mlops_project.errors import BundleError, ContractError, ExportError
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.export import parity as parity_module
from mlops_project.words import WordRule, escape, read_rules, write_rules

PIECES = (
    *(
        "good",
        "Good",
        "GOOD",
        "bad",
        "not",
        "not good",
        "very",
        "the",
        "a",
        "I",
        "it's",
        "don't",
        "x",
        "42",
        "3.14",
        "a_b",
        "__",
    ),
    *(
        "İstanbul",
        "ISTANBUL",
        "ΣΊΣΥΦΟΣ",
        "straße",
        "STRASSE",
        "ſoft",
        "naïve",
        "nai\u0308ve",
        "Ⅷ",
        "①②③",
        "½",
        "東京",
        "にほん",
    ),
    *(
        "\u0e2a\u0e27\u0e31\u0e2a",
        "हिन्दी",
        "𝒳𝓎",
        "𐐀𐐨",
        "👍🏽",
        "co\u00adop",
        "zero\u200bwidth",
        "a\u00a0b",
        "tab\tbed",
        "line\nend",
        "-",
        "",
    ),
    *("\u01c5ungla", "ﬁne", "e\u0301te\u0301", "㍿", "𞤀𞤢", "x\x00y", "c++", "back\\slash", "\\s"),
)
CONTRACT = Contract(
    (Feature("review", "string", nullable=True), Feature("stars", "integer", minimum=1, maximum=5)),
    "y",
    "binary",
    ("no", "yes"),
    ("no", "yes"),
)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    reviews = [" ".join(rng.choice(PIECES, rng.integers(0, 9))) for _ in range(150)]
    frame = pd.DataFrame({"review": pd.Series(reviews).astype("str"), "stars": rng.integers(1, 6, 150)})
    target = np.where([text.lower().count("good") > text.count("not") for text in reviews], "yes", "no")
    return frame, target


def fit_and_export(step, table, estimator, contract=CONTRACT):
    frame, target = table
    prepare = ColumnTransformer([("words", step, "review")], remainder="passthrough")
    fitted = make_pipeline(prepare, estimator).fit(frame, target)
    return fitted, export_onnx(fitted, contract)


@pytest.mark.parametrize(
    "step",
    [
        CountVectorizer(),
        CountVectorizer(lowercase=False, token_pattern=r"(?u)\b\w+\b", binary=True),
        CountVectorizer(ngram_range=(1, 3), stop_words="english", min_df=2),
        CountVectorizer(ngram_range=(2, 2), vocabulary=["not good", "good", "not  good", "very bad"]),
        CountVectorizer(strip_accents="unicode"),
        TfidfVectorizer(strip_accents="ascii", sublinear_tf=True, norm="l1"),
        TfidfVectorizer(ngram_range=(1, 2), max_features=60),
        make_pipeline(CountVectorizer(), TfidfTransformer(use_idf=False)),
        CountVectorizer(analyzer="char", ngram_range=(1, 3), max_features=400),
        CountVectorizer(
            analyzer="char", vocabulary=[" ", "\\", "\0", "-", "\\s", "a b", "good", "\t"], lowercase=False, ngram_range=(1, 4)
        ),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), strip_accents="unicode", sublinear_tf=True, max_features=400),
        CountVectorizer(analyzer="char_wb", ngram_range=(5, 5), binary=True),
        HashingVectorizer(n_features=64, stop_words=["the"]),
        HashingVectorizer(n_features=16, binary=True, norm="l1", alternate_sign=False),
        make_pipeline(HashingVectorizer(n_features=32, norm=None), TfidfTransformer()),
        FeatureUnion([("one", CountVectorizer()), ("two", TfidfVectorizer(stop_words=["good"], ngram_range=(2, 2)))]),
    ],
    ids=lambda step: type(step).__name__,
)
def test_words_are_counted_as_scikit_learn_does_on_any_text(step, table, monkeypatch):
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 200)
    fitted, model = fit_and_export(step, table, LogisticRegression(max_iter=300))
    assert check_parity(fitted, load_exported(model, CONTRACT), table[0]).max_difference < 1e-12


@pytest.mark.parametrize(
    ("step", "estimator"),
    [
        (TfidfVectorizer(ngram_range=(1, 2), min_df=2), SGDClassifier(loss="log_loss", random_state=0)),
        (make_pipeline(TfidfVectorizer(max_features=40), TruncatedSVD(5, random_state=0)), LogisticRegression()),
        (make_pipeline(CountVectorizer(binary=True), SelectKBest(chi2, k=12)), ComplementNB()),
        (TfidfVectorizer(sublinear_tf=True), CalibratedClassifierCV(LinearSVC(), cv=2)),
    ],
    ids=["tf-idf and SGD", "latent semantic analysis", "chosen words", "calibrated support vectors"],
)
def test_words_beside_numbers_in_the_ways_that_examples_teach_are_exact(step, estimator, table, monkeypatch):
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 200)
    fitted, model = fit_and_export(step, table, estimator)
    assert check_parity(fitted, load_exported(model, CONTRACT), table[0]).max_difference < 1e-11


@pytest.mark.parametrize("estimator", [DecisionTreeClassifier(max_depth=4, random_state=0), MultinomialNB()])
def test_counts_before_other_estimators_are_exact(estimator, table):
    fitted, model = fit_and_export(CountVectorizer(), table, estimator)
    assert check_parity(fitted, load_exported(model, CONTRACT), table[0]).max_difference < 1e-12


def test_missing_text_is_an_empty_one_where_the_table_had_empty_texts(table):
    fitted, model = fit_and_export(TfidfVectorizer(), table, LogisticRegression())
    answer = load_exported(model, CONTRACT).predict({"review": [None, "", "  "], "stars": [3, 3, 3]})
    expected = fitted.predict_proba(pd.DataFrame({"review": ["", "", ""], "stars": [3, 3, 3]}))
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-15)


def test_missing_text_has_no_answer_where_the_table_had_none_as_the_pipeline_refuses_it(table):
    complete = msgspec.structs.replace(CONTRACT, features=(Feature("review", "string"), CONTRACT.features[1]))
    fitted, model = fit_and_export(CountVectorizer(), table, LogisticRegression(), complete)
    runtime = load_exported(model, complete)
    with pytest.raises(ValueError, match=r"np\.nan is an invalid document"):
        fitted.predict(pd.DataFrame({"review": ["good", np.nan], "stars": [3, 3]}))
    with pytest.raises(ContractError, match="row 2: no value in review, and this model cannot do without; fill it in"):
        runtime.predict({"review": ["good", None], "stars": [3, 3]})
    assert check_parity(fitted, runtime, table[0][table[0]["review"] != ""]).max_difference < 1e-12


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (CountVectorizer(analyzer=str.split), "words.CountVectorizer: an analyzer of your own .*; use 'word', 'char'"),
        (HashingVectorizer(n_features=16, analyzer="char"), "HashingVectorizer: analyzer='char' .*; use 'word', or Tfidf"),
        (CountVectorizer(token_pattern=r"[a-z]+"), r"words.CountVectorizer: token_pattern='\[a-z\]\+' .*; leave it out"),
        (
            TfidfVectorizer(tokenizer=str.split, token_pattern=None),
            "words.TfidfVectorizer: a tokenizer of your own .*; leave it out",
        ),
        (TfidfVectorizer(preprocessor=str.upper), "words.TfidfVectorizer: a preprocessor of your own .*; leave it out"),
        (TfidfVectorizer(dtype=np.float32), "words.TfidfVectorizer: dtype=float32 .*; leave it out"),
        (HashingVectorizer(), r"words.HashingVectorizer: a row of 1,048,576 hashes takes 8 MB; use n_features=2\*\*18"),
        (
            HashingVectorizer(n_features=16, ngram_range=(1, 2)),
            r"HashingVectorizer: ngram_range=\(1, 2\) .*; use \(1, 1\)",
        ),
    ],
)
def test_setting_of_words_without_an_exact_export_is_refused_by_step_with_the_cure(step, words, table):
    with pytest.raises(ExportError, match=words):
        fit_and_export(step, table, LogisticRegression())


def test_pipeline_of_bare_texts_is_refused_with_the_way_to_a_table(table):
    frame, target = table
    contract = Contract(CONTRACT.features[:1], "y", "binary", ("no", "yes"), ("no", "yes"))
    fitted = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(frame["review"], target)
    with pytest.raises(ExportError, match=r"begin it with ColumnTransformer\(\[\('text', TfidfVectorizer\(\), 'review'\)\]\)"):
        export_onnx(fitted, contract)


@pytest.mark.parametrize("text", ["", " ", "a", "ab  c\t\td", "\u2003x\u2003", "a b\\s \0", "  two\n\n", "ééé é"])
@pytest.mark.parametrize("grams", ["char", "char_wb"])
@pytest.mark.parametrize("length", [(1, 1), (2, 3), (1, 6), (4, 4)])
def test_sequences_of_characters_are_those_of_scikit_learn(text, grams, length):
    expected = CountVectorizer(analyzer=grams, ngram_range=length).build_analyzer()(text)
    found = WordRule(0, grams=grams, length=length).split(text).split(" ")
    assert sorted(found[1:]) == sorted(map(escape, expected))
    assert found[0] not in map(escape, expected)


def test_rules_are_written_alike_and_read_with_care():
    rules = [WordRule(1, accents="ascii", stop=frozenset({"the", "a", "of"}))]
    assert read_rules(write_rules(rules), 2) == rules
    assert write_rules(rules) == write_rules([WordRule(1, accents="ascii", stop=frozenset({"of", "the", "a"}))])
    assert read_rules('[{"column":0,"lowercase":true,"accents":"","shortest":2,"stop":[]}]', 1) == [WordRule(0)]  # of before
    for text, n_texts in (
        (write_rules(rules), 1),
        ('[{"column": 0, "grams": "char", "length": [1, 99]}]', 1),
        ('[{"column": 0, "pattern": "(a+)+"}]', 1),
        ("{", 1),
    ):
        with pytest.raises(BundleError, match="export it again"):
            read_rules(text, n_texts)
