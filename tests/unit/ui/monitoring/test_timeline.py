from datetime import timedelta
from typing import get_args

import msgspec

from mlops_project.tracking.events import Event, EventKind
from mlops_project.tracking.registry import Action, Move, Version
from mlops_project.ui.language import Translate
from mlops_project.ui.monitoring.timeline import LOOKS, build_entries, derive, find_marks
from mlops_project.ui.registry import Registered
from tests.evaluations import NOON, make_alert, make_evaluation


def at(minutes: int) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat(timespec="microseconds")


def make_move(minutes: int, action: Action, source: int | None, target: int) -> Move:
    alias = "challenger" if action == "register" else "champion"
    told = {"user": "ana", "reason": f"{action} said"}
    return Move(at=at(minutes), model="churn", alias=alias, action=action, source=source, target=target, **told)


def make_event(minutes: int, kind: EventKind, result: str = "", version: int | None = 1) -> Event:
    return Event(at=at(minutes), model="churn", kind=kind, user="mlops monitor", text="because", version=version, result=result)


def make_version(number: int, verdict: str) -> Version:
    rest = {"aliases": (), "run_id": "", "digest": "", "metrics": {}, "comparison": None, "source": ""}
    return Version(name="churn", number=number, created_at=at(5)[:19] + "+00:00", verdict=verdict, reason="too weak", **rest)


def make_story(*items: Move | Event, versions=()) -> Registered:
    return Registered(versions, sorted(items, key=lambda item: item.at, reverse=True), ())


def test_whole_loop_is_told_newest_first():
    story = make_story(
        make_move(0, "register", None, 1),
        make_move(1, "promote", None, 1),
        make_event(10, "alert"),
        make_event(11, "retraining-started"),
        make_move(12, "register", 1, 2),
        make_move(13, "promote", 1, 2),
        make_event(14, "retraining-ended", "promoted", 2),
        make_event(15, "recovered", version=2),
        make_event(16, "rollback-check", version=2),
        make_move(17, "rollback", 2, 1),
    )
    entries = build_entries(story)
    assert [(entry.kind, entry.version) for entry in entries] == [
        ("rolled-back", "2 → 1"),
        ("rollback-check", "2"),
        ("recovered", "2"),
        ("retraining-promoted", "2"),
        ("promoted", "1 → 2"),
        ("registered", "1 → 2"),
        ("retraining-started", "1"),
        ("alert", "1"),
        ("promoted", "1"),
        ("registered", "1"),
    ]
    assert (entries[0].who, entries[0].why) == ("ana", "rollback said")


def test_every_kind_that_the_audit_trail_knows_has_a_look():
    results = ("promoted", "ready", "refused", "failed", "skipped")
    moves = [make_move(0, action, 1, 2) for action in get_args(Action)]
    ends = [make_event(0, "retraining-ended", result) for result in results]
    events = [make_event(0, kind) for kind in get_args(EventKind) if kind != "retraining-ended"]
    assert {entry.kind for entry in build_entries(make_story(*moves, *ends, *events))} == LOOKS.keys()


def test_version_that_the_gate_refused_is_told_once():
    versions = [make_version(number, "worse") for number in (1, 2, 3)]
    story = make_story(
        make_move(1, "promote", None, 1), make_event(2, "retraining-ended", "refused", version=2), versions=versions
    )
    refusals = [(entry.kind, entry.version) for entry in build_entries(story) if "refused" in entry.kind]
    assert refusals == [("refused", "3"), ("retraining-refused", "2")]


def test_version_without_a_verdict_is_not_refused():
    assert build_entries(make_story(versions=[make_version(1, "")])) == []


def test_alerts_are_derived_where_no_registry_is():
    evaluations = [
        make_evaluation(0),
        make_evaluation(1, alerts=[make_alert(windows=1)]),
        make_evaluation(2, alerts=[make_alert(windows=2)]),
        make_evaluation(3, alerts=[make_alert(windows=3)]),
        make_evaluation(4),
    ]
    assert [(entry.kind, entry.at) for entry in derive(evaluations, Translate("en"))] == [
        ("recovered", evaluations[4].end),
        ("alert", evaluations[2].end),
    ]
    assert derive([], Translate("en")) == []


def test_what_changes_besides_while_an_alert_fires_is_told_as_well():
    first, second = make_alert(windows=3), make_alert(windows=4)
    evaluations = [
        make_evaluation(0, alerts=[msgspec.structs.replace(first, told=("age",))]),
        make_evaluation(1, alerts=[msgspec.structs.replace(second, told=("age", "bmi"))]),
    ]
    told = {language: derive(evaluations, Translate(language))[0].why for language in ("en", "pt")}
    assert told == {"en": "the inputs changed: now also bmi", "pt": "as entradas mudaram: agora também bmi"}


def test_champions_are_marked_from_the_first_window_on():
    story = make_story(
        make_move(-60, "promote", None, 1),
        make_move(5, "register", 1, 2),
        make_move(10, "force", 1, 2),
        make_move(20, "rollback", 2, 1),
    )
    marks = find_marks(story, at(0))
    assert [(mark.version, mark.kind) for mark in marks] == [("2", "promoted"), ("1", "rolled-back")]
    assert marks[0].at == NOON + timedelta(minutes=10)
