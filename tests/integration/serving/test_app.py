import asyncio
import gzip
import json
import tracemalloc

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlops_project.bundle import load_bundle
from mlops_project.runtime import Runtime
from mlops_project.serving.model import STALE_SECONDS
from mlops_project.serving.routes import ROUTES
from tests.log_files import read_segment


def row_of(bundle) -> dict:
    return load_bundle(bundle).contract.example_row()


def split(row: dict, n: int = 1) -> dict:
    return {"dataframe_split": {"columns": list(row), "data": [list(row.values())] * n}}


def tensors(row: dict) -> dict:
    return {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in row.items()]}


def read_metrics(body: bytes) -> dict:
    families = text_string_to_metric_families(body.decode())
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


def read_log(folder) -> list:
    files = sorted((folder / "logs" / "predictions").glob("*.*"))
    return [record for file in files if file.suffix in (".open", ".log") for record in read_segment(file)]


def test_every_protocol_gives_the_runtimes_answer(serve, tree_bundle):
    row = row_of(tree_bundle)
    expected = Runtime.load(tree_bundle).predict({name: [value] for name, value in row.items()})
    label = int(expected.indices[0])

    async def ask(client):
        scoring = await client.post("/invocations", split(row))
        assert (scoring.status, scoring.json) == (200, {"predictions": [label]})
        (prediction,) = (await client.post("/predict", row)).json["predictions"]
        assert prediction["label"] == label
        assert list(prediction["probabilities"].values()) == expected.probabilities[0].tolist()
        outputs = (await client.post("/v2/models/tree/infer", tensors(row))).json["outputs"]
        assert [output["data"] for output in outputs] == [[label], expected.probabilities[0].tolist()]

    serve(ask, model_dir=tree_bundle)


def test_model_says_how_sure_it_is_where_a_request_asks(serve, tree_bundle):
    row, known = row_of(tree_bundle), load_bundle(tree_bundle).metadata.uncertainty

    async def ask(client):
        said = (await client.post("/predict", {"rows": [row, row], "uncertainty": True})).json
        assert said["coverage"] == known.coverage
        (first, second) = said["predictions"]
        assert first["class"] in first["set"]
        assert (first["set"], first["abstain"]) == (second["set"], second["abstain"])
        (scored,) = (await client.post("/invocations", split(row) | {"params": {"uncertainty": True}})).json["predictions"]
        assert (scored["prediction"], scored["abstain"]) == (first["label"], first["abstain"])
        body = tensors(row) | {"parameters": {"uncertainty": True}}
        outputs = {one["name"]: one["data"] for one in (await client.post("/v2/models/tree/infer", body)).json["outputs"]}
        assert sum(outputs["set"]) == len(first["set"])
        assert outputs["abstain"] == [first["abstain"]]

    serve(ask, model_dir=tree_bundle)


def test_reasons_add_up_and_a_change_that_turns_the_answer_does(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        (answer,) = (await client.post("/predict", row)).json["predictions"]
        said = await client.post("/explain", {"rows": [row], "counterfactual": True})
        assert said.status == 200
        (reasons,) = said.json["explanations"]
        assert reasons["answer"] == answer["probabilities"][reasons["class"]]
        assert reasons["base"] + sum(reasons["contributions"].values()) == pytest.approx(reasons["answer"], abs=1e-9)
        found = reasons["counterfactual"]
        (turned,) = (await client.post("/predict", row | found["changes"])).json["predictions"]
        assert turned["class"] == found["class"] != answer["class"]
        assert turned["probabilities"][found["class"]] == found["probability"]
        other = found["class"]
        (named,) = (await client.post("/models/tree/explain", {"rows": row, "class": other})).json["explanations"]
        assert (named["class"], named["answer"]) == (other, answer["probabilities"][other])

    serve(ask, model_dir=tree_bundle)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"class": "benin"}, "class: the model has no class 'benin'"),
        ({"counterfactual": "yes"}, "counterfactual: expected true or false"),
        ({"fixed": ["radius"]}, "fixed: 'radius' is no column"),
        ({"rows": [{}] * 17}, "17 rows are more than the 16"),
        ({"rows": []}, "expected a row, a list of rows"),
        ({"limit": 3}, "'limit' is unknown"),
    ],
)
def test_questions_for_reasons_that_cannot_be_answered_are_refused(serve, tree_bundle, more, problem):
    async def ask(client):
        said = await client.post("/explain", {"rows": [row_of(tree_bundle)]} | more)
        assert said.status == 400
        assert problem in said.json["error"]

    serve(ask, model_dir=tree_bundle)


def test_reasons_for_many_at_once_are_refused_and_predictions_go_on(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        body = {"rows": [row] * 16, "counterfactual": True}
        said = await asyncio.gather(*(client.post("/explain", body) for _ in range(6)), client.post("/predict", row))
        assert sorted({one.status for one in said[:-1]}) == [200, 503]
        assert said[-1].status == 200
        assert (await client.post("/explain", row)).status == 200

    serve(ask, model_dir=tree_bundle)


def test_prediction_with_reasons_has_those_of_explain_and_is_logged(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        plain = (await client.post("/predict", [row, row])).json["predictions"]
        asked = (await client.post("/predict", {"rows": [row, row], "explain": True})).json["predictions"]
        (reasons,) = (await client.post("/explain", row)).json["explanations"]
        for one, other in zip(asked, plain, strict=True):
            assert one.pop("explanation") == reasons
            assert one | {"id": other["id"]} == other
        assert (await client.post("/feedback", {"id": asked[1]["id"], "label": plain[0]["label"]})).status == 200
        quiet = (await client.post("/predict", {"rows": row, "explain": False})).json["predictions"][0]
        assert "explanation" not in quiet

    serve(ask, model_dir=tree_bundle)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (lambda row: {"rows": row, "explain": 1}, "explain: expected true or false"),
        (lambda row: {"rows": [row] * 17, "explain": True}, "17 rows are more than the 16"),
        (lambda row: {"rows": row, "explains": True}, "did you mean 'explain'"),
    ],
    ids=["no boolean", "too many rows", "misspelled"],
)
def test_prediction_with_reasons_that_cannot_be_answered_is_refused(serve, tree_bundle, body, problem):
    async def ask(client):
        said = await client.post("/predict", body(row_of(tree_bundle)))
        assert said.status == 400
        assert problem in said.json["error"]

    serve(ask, model_dir=tree_bundle)


def test_bundle_without_rows_to_compare_with_says_so(serve, tree_bundle, monkeypatch):
    monkeypatch.setattr("mlops_project.wire.background.BACKGROUND_FILE", "of-earlier-versions-none.json")

    async def ask(client):
        said = await client.post("/explain", row_of(tree_bundle))
        assert (said.status, "export.reference_rows" in said.json["error"]) == (501, True)

    serve(ask, model_dir=tree_bundle)


def test_probabilities_are_what_invocations_returns_if_asked_for(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        (probabilities,) = (await client.post("/invocations", split(row))).json["predictions"]
        assert sum(probabilities) == pytest.approx(1)

    serve(ask, "predict_method=predict_proba", model_dir=tree_bundle)


def test_regression_gives_values(serve, prices_bundle):
    row = row_of(prices_bundle)

    async def ask(client):
        (value,) = (await client.post("/invocations", split(row))).json["predictions"]
        assert (await client.post("/predict", row)).json["predictions"][0]["value"] == value

    serve(ask, model_dir=prices_bundle)


def test_request_with_some_columns_gets_a_400_that_names_the_missing_ones(serve, prices_bundle):
    async def ask(client):
        answer = await client.post("/invocations", split({"size": 50.0}))
        assert answer.status == 400
        assert answer.json["error_code"] == "INVALID_PARAMETER_VALUE"
        assert "'rooms'" in answer.json["message"]
        assert "'town'" in answer.json["message"]

    serve(ask, model_dir=prices_bundle)

    async def ask_again(client):
        assert (await client.post("/invocations", split({"size": 50.0}))).status == 200

    serve(ask_again, "missing_features=impute", model_dir=prices_bundle)


def test_native_request_lists_every_problem(serve, prices_bundle):
    async def ask(client):
        answer = await client.post("/predict", [{"size": "big", "rooms": 2.5, "town": "C", "twn": "A"}])
        assert answer.status == 400
        assert {problem["column"] for problem in answer.json["problems"]} == {"size", "rooms", "town", "twn"}
        assert answer.json["request_id"] == answer.headers["x-request-id"]
        assert "big" not in answer.body.decode()

    serve(ask, model_dir=prices_bundle)


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_ping_answers_as_mlflow_does(serve, tree_bundle, path):
    async def ask(client):
        answer = await client.get(path)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"\n", "application/json")

    serve(ask, model_dir=tree_bundle)


def test_server_without_a_model_says_so_and_serves_one_that_arrives(serve, tmp_path, tree_bundle, copy_bundle):
    async def ask(client):
        assert (await client.get("/ping")).status == 404
        for path in ("/ready", "/v2/health/ready"):
            answer = await client.get(path)
            assert answer.status == 503
            assert "no model is loaded yet" in answer.json["error"]
        refused = await client.post("/invocations", b"{}")
        assert (refused.status, refused.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert refused.headers["retry-after"] == "1"
        copy_bundle(tree_bundle, "arriving")
        for _ in range(100):
            await asyncio.sleep(0.05)
            if (await client.get("/ready")).status == 200:
                return
        pytest.fail("the model was not loaded")

    serve(ask, "poll_seconds=0.05", model_dir=tmp_path / "arriving")


def test_request_ids_are_taken_from_the_caller_or_made(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        mine = await client.post("/invocations", split(row), x_request_id="abc-1")
        assert mine.headers["x-request-id"] == "abc-1"
        assert mine.headers["x-prediction-id"] != "abc-1"
        bad = await client.post("/invocations", split(row), x_request_id="a b\r\nx: y")
        assert bad.headers["x-request-id"] == bad.headers["x-prediction-id"]
        assert (await client.get("/ping", x_request_id="q")).headers["x-request-id"] == "q"

    serve(ask, model_dir=tree_bundle)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/ping", 405), ("GET", "/predict", 405)]
)
def test_unknown_paths_and_methods(serve, tree_bundle, method, path, status):
    async def ask(client):
        answer = await client.ask(method, path)
        assert answer.status == status
        if status == 405:
            assert answer.headers["allow"] in ("GET", "POST")
        metrics = (await client.get("/metrics")).body.decode()
        assert f'http_requests_total{{method="other",path="other",status="{status}"}} 1.0' in metrics
        assert "nothing" not in metrics

    serve(ask, model_dir=tree_bundle)


def test_head_is_answered_like_get_without_a_body(serve, tree_bundle):
    async def ask(client):
        answer = await client.ask("HEAD", "/version")
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "6")

    serve(ask, model_dir=tree_bundle)


def test_what_was_asked_and_answered_is_in_the_log_before_the_response(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        answers = [
            await client.post("/invocations", split(row, 3)),
            await client.post("/predict", row),
            await client.post("/v2/models/tree/infer", tensors(row)),
            await client.post("/invocations", b"{}"),
        ]
        records = read_log(client.folder)
        assert [record.about.wire for record in records] == ["mlflow", "native", "open_inference"]
        for record, answer in zip(records, answers, strict=False):
            assert record.about.id == answer.headers["x-prediction-id"]
            assert record.response == answer.body
        assert [record.about.rows for record in records] == [3, 1, 1]
        assert json.loads(records[0].request) == split(row, 3)
        assert records[0].about.content_type == "application/json"
        metrics = read_metrics((await client.get("/metrics")).body)
        assert metrics["mlops_prediction_log_records_total",] == 3

    serve(ask, model_dir=tree_bundle)


def test_labels_stand_in_the_log_with_their_source_and_beyond_its_limit_are_refused(serve, tree_bundle, monkeypatch):
    monkeypatch.setenv("SERVE_API_KEYS", "predict:the-test-itself,label@lab-a/3:the-key-of-a,label:the-key-of-b")
    row = row_of(tree_bundle)

    async def ask(client):
        given = (await client.post("/predict", [row] * 4, authorization="Bearer the-test-itself")).json["predictions"]
        labels = [{"id": item["id"], "label": 1} for item in given]
        key = {"authorization": "Bearer the-key-of-a"}
        assert (await client.post("/feedback", labels[:2], **key)).status == 200
        answer = await client.post("/feedback", labels[2:], **key)
        assert (answer.status, "this key may send 3 labels a minute" in answer.json["error"]) == (429, True)
        assert (await client.post("/feedback", labels, authorization="Bearer the-key-of-b")).status == 200
        logged = [record.about for record in read_log(client.folder) if record.about.kind == "label"]
        assert [about.source for about in logged] == ["lab-a"] * 2 + [""] * 4
        assert len({about.batch for about in logged}) == 2

    serve(ask, model_dir=tree_bundle)


def test_labels_are_noted_by_prediction_id_and_unknown_ids_refused(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        single = (await client.post("/predict", row)).json["predictions"][0]["id"]
        batch = [item["id"] for item in (await client.post("/predict", [row, row])).json["predictions"]]
        for _ in range(2):  # the same again changes nothing
            assert (await client.post("/feedback", {"id": single, "label": 1})).json == {"accepted": 1}
        several = [{"id": item, "label": 0} for item in batch]
        assert (await client.post("/feedback", several)).json == {"accepted": 2}
        labels = [record for record in read_log(client.folder) if record.about.kind == "label"]
        assert [(record.about.id, record.request) for record in labels] == [
            (single, b"1"), (single, b"1"), (batch[0], b"0"), (batch[1], b"0"),
        ]  # fmt: skip
        for bad, status, message in (
            ({"id": "00", "label": 1}, 404, "no prediction has this id"),
            ({"id": f"{single}.1", "label": 1}, 404, "1 rows"),
            ({"id": single, "label": 7}, 400, "none of 0, 1"),
            ({"id": single, "label": "1"}, 400, "none of 0, 1"),
            ({"id": single, "label": True}, 400, "none of 0, 1"),
            ({"id": single}, 400, "expected"),
            ([], 400, "expected"),
            (b"{", 400, "not valid JSON"),
            ([{"id": single, "label": 1}, {"id": "x", "label": 1}], 404, "no prediction has this id"),
        ):
            answer = await client.post("/feedback", bad)
            assert (answer.status, message in answer.json["error"]) == (status, True)
        assert len([record for record in read_log(client.folder) if record.about.kind == "label"]) == 4

    serve(ask, model_dir=tree_bundle)


def test_sampled_out_predictions_are_not_logged_and_their_labels_refused(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        ids = [(await client.post("/predict", row)).json["predictions"][0]["id"] for _ in range(60)]
        logged = {record.about.id for record in read_log(client.folder)}
        assert 5 < len(logged) < 55
        for item in ids:
            assert (await client.post("/feedback", {"id": item, "label": 1})).status == (200 if item in logged else 404)

    serve(ask, "prediction_log.sample=0.5", model_dir=tree_bundle)


@pytest.mark.parametrize(("setting", "status"), [("serve", 200), ("refuse", 503)])
def test_log_that_cannot_be_written_costs_the_record_or_by_setting_the_answer(serve, tree_bundle, setting, status, tmp_path):
    (tmp_path / "logs").touch()  # no folder can be made there
    row = row_of(tree_bundle)

    async def ask(client):
        answer = await client.post("/predict", row)
        assert answer.status == status
        metrics = read_metrics((await client.get("/metrics")).body)
        assert metrics["mlops_prediction_log_lost_total",] == 1

    serve(ask, f"prediction_log.on_failure={setting}", model_dir=tree_bundle)


def test_too_large_bodies_and_too_many_rows_get_413(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        many = await client.post("/invocations", split(row, 11))
        assert (many.status, many.json["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
        assert "11 rows are more than the 10" in many.json["message"]
        large = await client.post("/predict", b" " * 9000)
        assert large.status == 413
        announced = await client.ask("POST", "/predict", b"{}", content_length="9000000")
        assert announced.status == 413
        in_parts = await client.ask("POST", "/predict", b" " * 9000, parts=5)
        assert in_parts.status == 413
        bomb = await client.post("/predict", gzip.compress(b" " * 1_000_000), content_encoding="gzip")
        assert bomb.status == 413

    serve(ask, "max_rows=10", "max_body_bytes=8192", model_dir=tree_bundle)


def test_batch_that_takes_too_long_gets_504(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        answer = await client.post("/invocations", split(row, 20_000))
        assert (answer.status, answer.json["error_code"]) == (504, "DEADLINE_EXCEEDED")
        assert (await client.post("/invocations", split(row))).status == 200

    serve(ask, "request_seconds=0.001", model_dir=tree_bundle)


def test_too_many_columns_and_too_deep_json_are_named(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        wide = await client.post("/invocations", {"dataframe_records": [row | {f"c{index}": 1 for index in range(2000)}]})
        assert (wide.status, "2030 columns are far more" in wide.json["message"]) == (400, True)
        for path, key in (("/predict", "error"), ("/invocations", "message")):
            deep = await client.post(path, b"[" * 5000 + b"]" * 5000)
            assert (deep.status, "nested too deeply" in deep.json[key]) == (400, True)

    serve(ask, model_dir=tree_bundle)


def test_body_in_parts_and_compressed_body_are_read(serve, tree_bundle):
    row = row_of(tree_bundle)
    body = json.dumps(split(row)).encode()

    async def ask(client):
        assert (await client.ask("POST", "/invocations", body, parts=7)).status == 200
        assert (await client.post("/invocations", gzip.compress(body), content_encoding="gzip")).status == 200
        assert (await client.post("/invocations", gzip.compress(body)[:-9], content_encoding="gzip")).status == 400
        assert (await client.post("/invocations", b"not gzip", content_encoding="gzip")).status == 400
        assert (await client.post("/invocations", body, content_encoding="br")).status == 415

    serve(ask, model_dir=tree_bundle)


@pytest.mark.parametrize("path", ["/invocations", "/predict"])
def test_all_rows_of_a_compressed_body_are_answered_or_none(serve, tree_bundle, path):
    row = row_of(tree_bundle)
    names, values = ",".join(row), ",".join(map(str, row.values()))
    parts = {
        "/invocations": [f"{names}\n{values}\n{values}\n", f"{values}\n{values}\n{values}\n"],
        "/predict": [f"[{json.dumps(row)},{json.dumps(row)}", f",{json.dumps(row)},{json.dumps(row)},{json.dumps(row)}]"],
    }
    first, second = (gzip.compress(part.encode()) for part in parts[path])
    kind = {"content_type": "text/csv" if path == "/invocations" else "application/json"}

    async def ask(client):
        for coding in ("gzip", "GZIP", "x-gzip", "gzip, identity"):
            answer = await client.post(path, first + second, content_encoding=coding, **kind)
            assert (answer.status, len(answer.json["predictions"])) == (200, 5)
        for behind in (b"x", second[:-1], values.encode()):
            assert (await client.post(path, first + behind, content_encoding="gzip", **kind)).status == 400

    serve(ask, model_dir=tree_bundle)


def test_labels_may_be_compressed_and_are_read_whole(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        ids = [item["id"] for item in (await client.post("/predict", [row] * 5)).json["predictions"]]
        text = json.dumps([{"id": item, "label": 1} for item in ids]).encode()
        body = gzip.compress(text[:50]) + gzip.compress(text[50:])
        assert (await client.post("/feedback", body, content_encoding="gzip")).json == {"accepted": 5}
        assert (await client.post("/feedback", body + b"x", content_encoding="gzip")).status == 400
        assert sum(record.about.kind == "label" for record in read_log(client.folder)) == 5

    serve(ask, model_dir=tree_bundle)


def test_feedback_builds_nothing_from_lists_that_hold_no_labels(serve, tree_bundle):
    async def ask(client):
        for piece in (b"[],", b"{},", b'{"id":[]},', b"1,"):
            body = b"[" + (piece * (2_000_000 // len(piece))).removesuffix(b",") + b"]"
            tracemalloc.start()
            try:
                answer = await client.post("/feedback", body)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert (answer.status, peak < 16 * 2**20) == (400, True)
            assert "a list of 1 to 10000" in answer.json["error"]

    serve(ask, model_dir=tree_bundle)


def test_ten_thousand_labels_are_logged_and_others_are_answered_meanwhile(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        ids = [item["id"] for item in (await client.post("/predict", [row] * 10_000)).json["predictions"]]
        labels = [{"id": item, "label": 1} for item in ids]
        busy = asyncio.ensure_future(client.post("/feedback", labels))
        pings = 0
        while not busy.done():
            assert (await client.get("/ping")).status == 200
            pings += 1
            await asyncio.sleep(0)
        assert busy.result().json == {"accepted": 10_000}
        assert pings > 40  # at least one between two writes
        assert sum(record.about.kind == "label" for record in read_log(client.folder)) == 10_000
        assert read_metrics((await client.get("/metrics")).body)["mlops_feedback_labels_total",] == 10_000
        unknown = [*labels[:-1], {"id": "0" * 38, "label": 1}]
        assert (await client.post("/feedback", unknown)).status == 404
        assert sum(record.about.kind == "label" for record in read_log(client.folder)) == 10_000

    serve(ask, model_dir=tree_bundle)


def test_feedback_takes_no_more_than_ten_thousand_labels_need(serve, tree_bundle):
    async def ask(client):
        for body in (b" " * (2 * 2**20 + 1), gzip.compress(b" " * (2 * 2**20 + 1))):
            encoding = {"content_encoding": "gzip"} if body[:1] != b" " else {}
            answer = await client.post("/feedback", body, **encoding)
            assert (answer.status, "the body" in answer.json["error"]) == (413, True)

    serve(ask, model_dir=tree_bundle)


def test_large_batch_is_answered_in_a_thread_as_a_small_one_is(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        (one,) = (await client.post("/invocations", split(row))).json["predictions"]
        many, small = await asyncio.gather(
            client.post("/invocations", split(row, 5000)), client.post("/invocations", split(row))
        )
        assert many.json["predictions"] == [one] * 5000
        assert small.status == 200

    serve(ask, model_dir=tree_bundle)


def test_keys_open_what_their_role_may(serve, tree_bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("SERVE_API_KEYS", "predict:first-key-1")
    (tmp_path / "keys").write_text("# who\nadmin:second-key\n")
    row = row_of(tree_bundle)

    async def ask(client):
        for key, status in (("", 401), ("Bearer wrong-key", 401), ("Basic first-key-1", 401), ("Bearer first-key-1", 200)):
            assert (await client.post("/predict", row, authorization=key)).status == status
        assert (await client.post("/predict", row, authorization="bearer second-key")).status == 200
        refused = await client.post("/invocations", split(row))
        assert (refused.json["error_code"], refused.headers["www-authenticate"]) == ("UNAUTHENTICATED", "Bearer")
        for path in ("/ping", "/health", "/ready", "/metrics", "/version", "/v2/health/live"):
            assert (await client.get(path)).status == 200
        for path in ("/models", "/v2/models/tree"):
            assert (await client.get(path)).status == 401
        assert "security" in (await client.get("/openapi.json")).json

    serve(ask, "keys_file=keys", model_dir=tree_bundle)


@pytest.mark.parametrize(
    ("line", "predicts", "labels"),
    [
        ("predict:a-long-key", 200, 403),
        ("label:a-long-key", 403, 200),
        ("admin:a-long-key", 200, 200),
        ("predict+label:a-long-key", 200, 200),
        ("label+predict:a-long-key", 200, 200),
        ("predict:a-long-key,label:a-long-key", 200, 200),
        ("predict:another-key", 401, 401),
    ],
)
def test_role_decides_who_predicts_and_who_tells_labels(serve, tree_bundle, monkeypatch, line, predicts, labels):
    monkeypatch.setenv("SERVE_API_KEYS", f"{line},admin:the-test-itself")
    row = row_of(tree_bundle)

    async def ask(client):
        given = (await client.post("/predict", row, authorization="Bearer the-test-itself")).json["predictions"][0]
        key = {"authorization": "Bearer a-long-key"}
        for path, body in (
            ("/predict", row),
            ("/invocations", split(row)),
            ("/models/tree/predict", row),
            ("/models/tree/invocations", split(row)),
            ("/v2/models/tree/infer", tensors(row)),
        ):
            assert (await client.post(path, body, **key)).status == predicts, path
        for path in ("/models", "/v2/models/tree"):
            assert (await client.get(path, **key)).status == predicts, path
        answer = await client.post("/feedback", {"id": given["id"], "label": given["label"]}, **key)
        assert answer.status == labels
        if labels == 403:
            assert "role predict, and this asks for label or admin" in answer.json["error"]
        document = (await client.get("/openapi.json", **key)).body
        assert (b"mean radius" in document) == (predicts == 200)

    serve(ask, model_dir=tree_bundle)


def test_without_a_key_nothing_tells_what_the_model_is_about(serve, prices_bundle, monkeypatch):
    monkeypatch.setenv("SERVE_API_KEYS", "predict:a-long-key,label:a-label-key")
    secrets = ("town", "rooms", "price", "prices", "hist_gradient_boosting", '"A"')

    async def ask(client):
        paths = [route.template for route in ROUTES if route.method == "GET" and not route.roles]
        assert "/openapi.json" in paths
        for path in paths:
            filled = path.replace("{file}", "swagger-ui.css").replace("{name}", "tree").replace("{version}", "1")
            for authorization in ("", "Bearer wrong-key", "Bearer a-label-key"):
                answer = await client.get(filled, authorization=authorization)
                if path not in ("/metrics", "/ready"):  # these name models, and what they answered, to Prometheus
                    assert not [secret for secret in secrets if secret in answer.body.decode()], path
                assert b"town" not in answer.body
        public = await client.get("/openapi.json")
        whole = await client.get("/openapi.json", authorization="Bearer a-long-key")
        assert whole.json["components"]["schemas"]["Row"]["properties"]["town"]
        assert (await client.get("/openapi.json")).body == public.body  # one's view is not given to another
        assert public.headers["vary"] == whole.headers["vary"] == "authorization"
        assert "No model" not in public.json["info"]["description"]

    serve(ask, model_dir=prices_bundle)


READY_PATHS = ("/ready", "/v2/health/ready", "/v2/models/tree/ready")


def test_probe_gives_the_outcome_that_is_kept_and_computes_nothing(serve, tree_bundle, monkeypatch, caplog):
    async def ask(client):
        model = client.app.service.models.find()
        path = (*READY_PATHS, f"/v2/models/tree/versions/{model.version}/ready")

        async def statuses():
            return {(await client.get(item)).status for item in path}

        with monkeypatch.context() as broken:
            broken.setattr(model.runtime, "predict", lambda _: 1 / 0)
            assert await statuses() == {200}
            model.try_example()
            assert await statuses() == {503}
            refused = (await client.get("/ready")).json["error"]
            assert refused == "model 'tree' does not answer its own example row; the server's log has the reason"
            assert "division by zero" in caplog.text
        model.try_example()
        assert await statuses() == {200}
        model.tried_at -= STALE_SECONDS + 1
        assert await statuses() == {503}

    serve(ask, model_dir=tree_bundle)


def test_models_are_tried_again_by_themselves(serve, tree_bundle, monkeypatch):
    monkeypatch.setattr("mlops_project.serving.app.TRY_SECONDS", 0.01)

    async def ask(client):
        model = client.app.service.models.find()
        real = model.runtime.predict
        for predict, status in ((lambda _: 1 / 0, 503), (real, 200)):
            model.runtime.predict = predict
            async with asyncio.timeout(20):
                while (await client.get("/ready")).status != status:
                    await asyncio.sleep(0.01)

    serve(ask, model_dir=tree_bundle)


def test_models_lists_versions_and_contracts(serve, tree_bundle):
    async def ask(client):
        (model,) = (await client.get("/models")).json["models"]
        assert model["name"] == "tree"
        assert model["aliases"] == ["champion"]
        assert len(model["contract"]["features"]) == 30
        assert model["card"] == {}

    serve(ask, model_dir=tree_bundle)


def test_documentation_describes_the_loaded_model(serve, prices_bundle):
    async def ask(client):
        document = (await client.get("/openapi.json")).json
        assert document["info"]["title"] == "prices"
        row = document["components"]["schemas"]["Row"]
        assert row["properties"]["rooms"]["type"] == "integer"
        assert row["properties"]["town"]["enum"] == ["A", "B"]
        assert set(row["required"]) == {"size", "rooms", "town"}
        assert (await client.post("/predict", row["example"])).status == 200
        page = await client.get("/docs")
        assert b'"docs/swagger-ui-bundle.js"' in page.body
        assert len((await client.get("/docs/swagger-ui-bundle.js")).body) > 100_000
        assert (await client.get("/docs/secret")).status == 404
        assert (await client.get("/favicon.ico")).headers["content-type"] == "image/svg+xml"
        assert (await client.get("/")).headers["location"] == "/docs"

    serve(ask, model_dir=prices_bundle)


def test_fault_of_ours_is_a_500_that_tells_nothing(serve, tree_bundle):
    async def ask(client):
        def fail(*_):
            raise RuntimeError("secret hunter2")

        client.app.service.plane.answer = fail
        for path in ("/invocations", "/predict", "/v2/models/tree/infer"):
            answer = await client.post(path, {"a": 1})
            assert answer.status == 500
            assert "hunter2" not in answer.body.decode()
            assert "Traceback" not in answer.body.decode()
            assert answer.headers["x-request-id"] in answer.body.decode()

    serve(ask, model_dir=tree_bundle)


def test_metrics_have_the_walkthroughs_names_and_only_known_labels(serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        await client.post("/invocations", split(row, 4))
        await client.post("/invocations", b"{}")
        await client.post("/v2/models/nobody/infer", b"{}")
        values = read_metrics((await client.get("/metrics")).body)
        requests = ("http_requests_total", ("method", "POST"), ("path", "/invocations"))
        assert values[*requests, ("status", "200")] == 1
        assert values[*requests, ("status", "400")] == 1
        version = next(iter(client.app.service.models.champions.values())).version
        assert values["mlflow_predictions_total", ("model", "tree"), ("role", "champion"), ("version", version)] == 4
        assert values["mlflow_model_request_duration_seconds_count", ("model", "tree"), ("version", version)] == 1
        assert values["mlops_request_rows_sum", ("model", "tree")] == 4
        assert not any("nobody" in str(key) for key in values)

    serve(ask, model_dir=tree_bundle)


def test_open_inference_metadata(serve, tree_bundle):
    async def ask(client):
        server = (await client.get("/v2")).json
        assert server["extensions"] == ["binary_tensor_data", "model_repository"]
        model = (await client.get("/v2/models/tree")).json
        assert len(model["inputs"]) == 30
        version = model["versions"][0]
        assert (await client.get(f"/v2/models/tree/versions/{version}/ready")).status == 200
        assert (await client.get("/v2/models/tree/versions/99")).status == 404
        missing = await client.get("/v2/models/treee")
        assert (missing.status, "did you mean 'tree'" in missing.json["error"]) == (404, True)

    serve(ask, model_dir=tree_bundle)


@pytest.mark.parametrize(
    "line",
    [
        "predict",
        "user:long-enough",
        "predict:short",
        "predict:",
        "predict+:long-enough",
        "+:long-enough",
        "label:short",
        "predict+user:long-enough",
    ],
)
def test_bad_key_is_a_clear_error(serve, tree_bundle, monkeypatch, line):
    monkeypatch.setenv("SERVE_API_KEYS", line)
    from mlops_project.errors import ConfigError

    with pytest.raises(ConfigError, match="SERVE_API_KEYS"):
        serve(None, model_dir=tree_bundle)


def test_open_inference_responses_have_what_the_specification_requires(serve, prices_bundle):
    """Required fields and types of the protocol's REST description (version 2.0)."""
    import jsonschema

    text, texts, sizes = (
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}},
    )
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {"name": text, "datatype": text, "shape": sizes},
    }
    tensors = {"type": "array", "items": tensor}
    server = {"required": ["name", "version", "extensions"], "properties": {"name": text, "version": text, "extensions": texts}}
    model = {
        "required": ["name", "platform"],
        "properties": {"versions": texts, "inputs": tensors, "outputs": tensors, "platform": text},
    }
    output = tensor | {"required": ["name", "datatype", "shape", "data"]}
    answer = {
        "required": ["model_name", "outputs"],
        "properties": {"model_name": text, "model_version": text, "id": text, "outputs": {"type": "array", "items": output}},
    }
    error = {"required": ["error"], "properties": {"error": text}}
    row = row_of(prices_bundle)
    inputs = [
        {"name": "size", "shape": [1], "datatype": "FP64", "data": [row["size"]]},
        {"name": "rooms", "shape": [1, 1], "datatype": "INT64", "data": [[row["rooms"]]]},
        {"name": "town", "shape": [1], "datatype": "BYTES", "data": [row["town"]]},
    ]

    async def ask(client):
        jsonschema.validate((await client.get("/v2/")).json, server)
        jsonschema.validate((await client.get("/v2/models/prices")).json, model)
        jsonschema.validate((await client.post("/v2/models/prices/infer", {"id": "42", "inputs": inputs})).json, answer)
        version = (await client.get("/v2/models/prices")).json["versions"][0]
        again = await client.post(f"/v2/models/prices/versions/{version}/infer", {"inputs": inputs})
        jsonschema.validate(again.json, answer)
        for body in (b"{", {"inputs": inputs[:2]}, {"inputs": [inputs[0] | {"datatype": "X"}]}):
            bad = await client.post("/v2/models/prices/infer", body)
            assert bad.status == 400
            jsonschema.validate(bad.json, error)

    serve(ask, model_dir=prices_bundle)
