import pytest

from mlops_project.monitoring.reasons import ENGLISH, Words
from mlops_project.monitoring.results import Reason
from mlops_project.ui.language import Translate
from mlops_project.ui.reasons import REASONS, explain

PORTUGUESE = REASONS["pt"]
LOST = Reason(
    kind="live-lost",
    values={
        "metric": "accuracy",
        "value": 0.8125,
        "low": 0.79,
        "high": 0.83,
        "rows": 1500,
        "reference": 0.97,
        "tolerance": 0.02,
    },
)


def fields(text: str) -> set[tuple[str, str]]:
    return {(name, form) for _, name, form, _ in Words(ENGLISH).parse(text) if name}


def test_every_kind_has_words_in_portuguese_with_the_same_fields():
    assert {kind: fields(text) for kind, text in PORTUGUESE.items()} == {kind: fields(text) for kind, text in ENGLISH.items()}


@pytest.mark.parametrize("kind", sorted(set(ENGLISH) - {"said", "faulty"}))
def test_portuguese_is_no_english(kind):
    words = "".join(text for text, *_ in Words(ENGLISH).parse(ENGLISH[kind]))
    is_signs = not any(letter.isalpha() for letter in words)  # such as {name} ≤ {bound}
    assert PORTUGUESE[kind] != ENGLISH[kind] or is_signs or kind == "feature-drifted"


def test_reason_is_worded_with_the_languages_numbers_and_metrics():
    said = explain([LOST], "", Translate("pt"))
    assert said.startswith("acurácia 0,8125 [0,7900; 0,8300] em 1.500 linhas rotuladas")
    assert explain([LOST], "", Translate("en")).startswith("accuracy 0.8125 [0.7900, 0.8300] on 1,500 labelled rows")


def test_evaluation_of_an_earlier_release_is_shown_as_it_stands():
    assert explain((), "age changed", Translate("pt")) == "age changed"
