"""Which of two classes is the positive one."""

import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.tables.positive import choose_positive, describe_positive, explain_positive, keep_positive
from mlops_project.tables.table import Table

PAIRS = """
    Churned / Stayed            Exited / Retained            Left / Stayed                left / not left
    bad / good                  fraud / legit                Fraud / No fraud             fraudulent / non-fraudulent
    default / no default        Charged Off / Fully Paid     unpaid / paid                late / on time
    failed / passed             fails / ok                   faulty / working             defective / intact
    ill / well                  sick / healthy               unhealthy / healthy          diseased / normal
    malignant / benign          M. malignant / B. benign     tested_positive / tested_negative
    dead / alive                died / survived              survived / not survived      ckd / notckd
    spam / ham                  cancelled / not cancelled    Canceled / Not_Canceled      active / inactive
    high risk / low risk        HighRisk / LowRisk           high / low                   risk / no risk
    abnormal / normal           unsafe / safe                present / absent             case / control
    bad risk / good risk        Attrited Customer / Existing Customer                     subscribed / unsubscribed
    recurrence-events / no-recurrence-events                 bought / didn't buy          cancer / cancer-free
    yes / no                    Y / N                        T / F                        true / false
    + / -                       p / n                        attack / normal              1 / 0
    1 / -1                      2 / 0                        1.0 / 0.0                    sim / não
    Sim / Nao                   s / n                        V / F                        verdadeiro / falso
    cancelado / ativo           saiu / ficou                 inadimplente / adimplente    fraude / sem fraude
    doente / saudável           doente / não doente          maligno / benigno            alto risco / baixo risco
    reprovado / aprovado        com falha / sem falha        anormal / normal             mau / bom
    morto / vivo                defeituoso / em ordem        evadido / matriculado        Não pago / Pago
"""


@pytest.mark.parametrize("pair", [pair.strip() for line in PAIRS.split("\n") for pair in line.split("  ") if pair.strip()])
def test_label_that_reads_like_the_positive_class_is_it_however_many_rows_it_has(pair):
    positive, negative = (text.strip() for text in pair.split("/"))
    assert choose_positive({positive: 90, negative: 10}) == positive
    assert choose_positive({negative: 90, positive: 10}) == positive


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({1: 700, 2: 300}, 2),
        ({1: 300, 2: 700}, 1),
        ({2: 458, 4: 241}, 4),
        ({"e": 4208, "p": 3916}, "p"),
        ({"<=50K": 24720, ">50K": 7841}, ">50K"),
        ({"right": 40, "left": 60}, "right"),
        ({"b": 50, "a": 50}, "b"),
        ({"fraud a": 60, "fraud b": 40}, "fraud b"),
    ],
)
def test_labels_that_do_not_tell_leave_it_to_the_rows(counts, expected):
    assert choose_positive(counts) == expected


@pytest.mark.parametrize(("zero", "one"), [(0, 1), (False, True), ("0", "1"), (-1, 1)])
def test_one_is_positive_beside_zero_whatever_its_name_and_rows(zero, one):
    assert choose_positive({zero: 10, one: 90}, {zero: "malignant", one: "benign"}) == one


def test_names_of_labels_are_read_instead_of_their_numbers():
    assert choose_positive({1: 10, 2: 90}, {1: "good", 2: "bad"}) == 2


def make_table(classes: tuple[str, ...]) -> Table:
    target = pd.Series(["stayed", "churned"] * 10, name="y")
    return Table(pd.DataFrame({"a": range(20)}), target, {"a": "integer"}, "binary", classes, classes, "t.csv", "d")


def make_contract(classes: tuple[str, ...], target: str = "y") -> Contract:
    return Contract((Feature("a", "integer"),), target, "binary", classes, classes)


def test_positive_class_of_the_model_before_is_kept_and_said():
    kept = keep_positive(make_table(("stayed", "churned")), make_contract(("churned", "stayed")), None)
    assert kept.classes == kept.class_names == ("churned", "stayed")
    (said,) = kept.warnings
    assert "stays 'stayed'" in said
    assert "it would be 'churned': name the one that you mean in decision.positive" in said


@pytest.mark.parametrize(
    ("standing", "wanted"),
    [
        (None, None),
        (make_contract(("churned", "stayed")), "churned"),
        (make_contract(("stayed", "churned")), None),
        (make_contract(("churned", "gone")), None),
        (make_contract(("churned", "stayed"), "z"), None),
    ],
)
def test_positive_class_is_chosen_anew_where_no_model_of_these_classes_stands_or_it_is_named(standing, wanted):
    table = make_table(("stayed", "churned"))
    assert keep_positive(table, standing, wanted) is table


def test_line_for_the_terminal_names_class_share_and_setting():
    assert describe_positive("Churned", 0.2, why="it reads like it") == (
        "positive class: 'Churned' (20 % of the rows), it reads like it; change it with decision.positive"
    )
    assert describe_positive(1, 0.00172, name="fraud", of="the held-out rows", chosen=False) == (
        "positive class: 1 ('fraud', 0.17 % of the held-out rows), as the configuration says"
    )


@pytest.mark.parametrize(
    ("positive", "other", "why"),
    [
        (1, 0, "1 beside 0"),
        ("churned", "stayed", "it reads like it"),
        ("impago", "pagado", "it reads like it"),
        ("krank", "gesund", "it reads like it"),
        ("fraude", "pas de fraude", "it reads like it"),
        ("malato", "sano", "it reads like it"),
        ("j", "n", "it reads like it"),
        ("o", "n", "it reads like it"),
        ("red", "blue", "the rarer one"),
        ("stayed", "churned", ""),
        (0, 1, ""),
    ],
)
def test_why_a_class_is_the_positive_one_is_said(positive, other, why):
    assert explain_positive(positive, other) == why
