import msgspec
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError


def _contract() -> Contract:
    features = (
        Feature("age", "integer", minimum=18.0, maximum=90.0, default=40),
        Feature("city", "category", categories=("Lima", "Oslo"), default="Oslo"),
        Feature("seen", "datetime", default="2026-01-01T00:00:00"),
        Feature("note", "string", nullable=True, default=None),
    )
    return Contract(features, target="y", task="binary", classes=(0, 1), class_names=("no", "yes"))


def test_columns_are_split_by_what_the_model_reads():
    contract = _contract()
    assert contract.names == ("age", "city", "seen", "note")
    assert contract.number_columns == ("age", "seen.epoch_seconds", "seen.month", "seen.weekday", "seen.hour")
    assert [feature.name for feature in contract.texts] == ["city", "note"]


def test_example_row_holds_the_defaults():
    assert _contract().example_row() == {"age": 40, "city": "Oslo", "seen": "2026-01-01T00:00:00", "note": None}


def test_unknown_feature_gets_a_suggestion():
    with pytest.raises(ContractError, match="no feature 'citty'; did you mean 'city'"):
        _contract().feature("citty")


@pytest.mark.parametrize("classes", [(0, 1), ("a", "b"), (False, True), (0.5, 1.5)])
def test_json_round_trip_keeps_types_of_labels(classes):
    contract = msgspec.structs.replace(_contract(), classes=classes)
    back = msgspec.json.decode(msgspec.json.encode(contract), type=Contract)
    assert back == contract
    assert [type(label) for label in back.classes] == [type(label) for label in classes]


def test_unknown_field_in_json_is_rejected():
    raw = msgspec.json.encode(_contract()).replace(b'"target"', b'"tarket":"y","target"')
    with pytest.raises(msgspec.ValidationError, match="tarket"):
        msgspec.json.decode(raw, type=Contract)
