"""A guarded roll-out as one server sees it: who answers, what is logged of it, and when the champion answers everything."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.errors import ConfigError
from mlops_project.served_rollout import ROLLOUT_FILE, find_place
from mlops_project.wire import open_inference_pb2 as pb
from tests.integration.serving.grpc_client import connected
from tests.integration.serving.test_models import (
    change_metadata,
    make_pair,
    point,
    read_log,
    read_metrics,
    row_of,
    wait_until,
)

ROLLOUT = {"id": "abcdef012345", "step": 1, "share": 0.5, "version": 2, "champion": 1}
KEYS = [f"customer {number}" for number in range(24)]


def write_rollout(tmp_path, seconds: float = 600, **changes) -> None:
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    (tmp_path / "models/tree" / ROLLOUT_FILE).write_text(json.dumps(ROLLOUT | {"until": until} | changes))


@pytest.fixture
def pair(tmp_path, tree_bundle, other_bundle, copy_bundle):
    make_pair(tmp_path, tree_bundle, other_bundle, copy_bundle)
    write_rollout(tmp_path)
    return row_of(tree_bundle)


def build_infer(row: dict, version: str = "") -> tuple[dict, pb.ModelInferRequest]:
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in row.items()]
    message = pb.ModelInferRequest(model_name="tree", model_version=version)
    for name, value in row.items():
        tensor = message.inputs.add(name=name, datatype="FP64", shape=[1])
        tensor.contents.fp64_contents.append(value)
    return {"inputs": inputs}, message


def test_key_in_a_header_gets_the_same_variant_in_every_protocol_and_after_a_restart(serve, pair, tmp_path):
    expected = {key: "2" if find_place(ROLLOUT["id"], key.encode())[0] < 0.5 else "1" for key in KEYS}
    assert set(expected.values()) == {"1", "2"}
    inputs, message = build_infer(pair)

    async def ask(client):
        for key in KEYS:
            answers = [
                await client.post("/predict", pair, x_customer=key),
                await client.post("/invocations", {"dataframe_records": [pair]}, x_customer=key),
                await client.post("/v2/models/tree/infer", inputs, x_customer=key),
            ]
            assert {(answer.status, answer.headers["x-model-version"]) for answer in answers} == {(200, expected[key])}
        async with connected(client) as stub:
            for key in KEYS[:6]:
                assert (await stub.call("ModelInfer", message, metadata=[("x-customer", key)])).model_version == expected[key]
        assert {(await client.post("/predict", pair)).headers["x-model-version"] for _ in range(20)} == {"1"}
        pinned = await client.post("/v2/models/tree/versions/1/infer", inputs, x_customer=next(iter(expected)))
        assert pinned.headers["x-model-version"] == "1"

    options = ("challenger=canary", "rollout.key_header=X-Customer", "grpc_port=0")
    serve(ask, *options, models_dir=tmp_path / "models")
    serve(ask, *options, models_dir=tmp_path / "models")  # another process would do the same: nothing is kept
    abouts = [record.about for record in read_log(tmp_path)]
    drawn = [about for about in abouts if about.rollout]
    assert len(drawn) == 2 * (3 * len(KEYS) + 6)  # not those without a key, or with a version
    assert {about.unit for about in drawn} == {find_place(ROLLOUT["id"], key.encode())[1] for key in KEYS}
    assert {(about.rollout, about.step, about.failed) for about in drawn} == {("abcdef012345", 1, "")}
    assert all(0 < about.microseconds < 10**7 for about in drawn)
    assert {about.role for about in drawn if about.version == "2"} == {"canary"}


def test_key_in_a_column_gets_the_same_variant_in_every_protocol(serve, pair, tmp_path):
    column = next(iter(pair))
    rows = [pair | {column: 10.0 + number / 4} for number in range(16)]

    async def ask(client):
        seen = set()
        for row in rows:
            inputs, _ = build_infer(row)
            answers = [await client.post("/predict", row) for _ in range(2)]
            answers += [
                await client.post("/invocations", {"dataframe_records": [row]}),
                await client.post("/v2/models/tree/infer", inputs),
            ]
            (version,) = {answer.headers["x-model-version"] for answer in answers}
            seen.add(version)
        assert seen == {"1", "2"}
        assert (await client.post("/predict", {"nonsense": 1})).status == 400

    serve(ask, "challenger=canary", f"rollout.key_column={column}", models_dir=tmp_path / "models")


def test_without_a_key_the_share_is_drawn_request_by_request_and_shown(serve, pair, tmp_path):
    async def ask(client):
        versions = [(await client.post("/predict", pair)).headers["x-model-version"] for _ in range(200)]
        assert 60 < versions.count("2") < 140
        assert 'mlops_rollout_share{model="tree",version="2"} 0.5' in await read_metrics(client)
        write_rollout(tmp_path, share=0.001, step=2)

        async def followed():
            return 'mlops_rollout_share{model="tree",version="2"} 0.001' in await read_metrics(client)

        await wait_until(followed)
        later = [(await client.post("/predict", pair)).headers["x-model-version"] for _ in range(50)]
        assert later.count("2") < 10
        (tmp_path / "models/tree" / ROLLOUT_FILE).unlink()

        async def over():
            return "mlops_rollout_share{" not in await read_metrics(client)

        await wait_until(over)
        assert {(await client.post("/predict", pair)).headers["x-model-version"] for _ in range(50)} == {"1"}

    serve(ask, "challenger=canary", "poll_seconds=0.03", models_dir=tmp_path / "models")
    assert {(about.step, about.unit) for about in (item.about for item in read_log(tmp_path)) if about.rollout} == {
        (1, ""),
        (2, ""),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"champion": 7},
        {"seconds": -1},
        {"share": 1.5},
        {"until": "soon"},
        {"until": "2099-01-01T00:00:00"},
        None,
    ],
    ids=["other-challenger", "other-champion", "not-renewed", "no-share", "no-time", "no-zone", "absent"],
)
def test_champion_answers_everything_where_no_roll_out_of_these_two_holds(serve, pair, tmp_path, changes):
    if changes is None:
        (tmp_path / "models/tree" / ROLLOUT_FILE).unlink()
    else:
        write_rollout(tmp_path, **({"share": 0.99} | changes))

    async def ask(client):
        answers = [await client.post("/predict", pair) for _ in range(12)]
        assert {(answer.status, answer.headers["x-model-version"]) for answer in answers} == {(200, "1")}

    serve(ask, "challenger=canary", models_dir=tmp_path / "models")
    assert not any(record.about.rollout for record in read_log(tmp_path))


def test_challenger_that_cannot_answer_is_counted_and_nobody_notices(serve, tmp_path, tree_bundle, wine_bundle, copy_bundle):
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    folder = copy_bundle(wine_bundle, "models/tree/versions/2-b", "2")
    change_metadata(folder, name="tree")
    point(tmp_path / "models/tree", "champion", "versions/1-a")
    point(tmp_path / "models/tree", "challenger", "versions/2-b")
    write_rollout(tmp_path, share=0.99)
    row = load_bundle(tree_bundle).contract.example_row()

    async def ask(client):
        answers = [await client.post("/predict", row) for _ in range(20)]
        assert {(answer.status, answer.headers["x-model-version"]) for answer in answers} == {(200, "1")}
        assert (await client.post("/predict", {"nonsense": 1})).status == 400  # the caller's mistake, not the challenger's
        failed = [record.about.failed for record in read_log(client.folder)]
        assert failed.count("2") >= 15
        assert f'mlops_canary_failures_total{{model="tree",version="2"}} {failed.count("2")}.0' in await read_metrics(client)

    serve(ask, "challenger=canary", models_dir=tmp_path / "models")


def test_challenger_that_raises_anything_is_replaced_by_the_champion(serve, pair, tmp_path):
    async def ask(client):
        challenger = client.app.service.models.challengers["tree"]

        class Broken:
            is_remote = False

            def run(self, *_):
                raise MemoryError("no more")

        challenger.runtime = Broken()
        answers = [await client.post("/predict", pair) for _ in range(30)]
        assert {(answer.status, answer.headers["x-model-version"]) for answer in answers} == {(200, "1")}
        assert "2" in {record.about.failed for record in read_log(client.folder)}

    write_rollout(tmp_path, share=0.9)
    serve(ask, "challenger=canary", models_dir=tmp_path / "models")


def test_fixed_share_is_no_roll_out(serve, pair, tmp_path):
    async def ask(client):
        versions = {(await client.post("/predict", pair)).headers["x-model-version"] for _ in range(60)}
        assert versions == {"1", "2"}

    serve(ask, "challenger=canary", "challenger_share=0.5", models_dir=tmp_path / "models")
    assert not any(record.about.rollout for record in read_log(tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["rollout.steps=[0.5, 0.2]"], "do not rise"),
        (["rollout.key_header=X-A", "rollout.key_column=a"], "exclude each other"),
    ],
    ids=["falling", "two-keys"],
)
def test_settings_that_exclude_each_other_are_refused(serve, pair, tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        serve(None, *settings, models_dir=tmp_path / "models")
