"""Messages that are too large, malformed or meant to harm, over gRPC."""

import random
from typing import Any

import grpc
import numpy as np
import pytest

from mlops_project.wire import open_inference_pb2 as pb
from tests.integration.serving.grpc_client import Code, ask_for, connected
from tests.integration.serving.test_app import row_of


def test_too_much_is_refused_before_it_is_read(call, serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(stub, client):
        code, sentence, _ = await stub.fail("ModelInfer", b"\0" * 200_000)
        assert (code, "larger than max" in sentence) == (Code.RESOURCE_EXHAUSTED, True)
        many = pb.ModelInferRequest(model_name="tree")
        many.inputs.add(name="x", datatype="FP64", shape=[2000, 30])
        code, sentence, _ = await stub.fail("ModelInfer", many)
        assert (code, "2000 rows are more than the 1000" in sentence) == (Code.RESOURCE_EXHAUSTED, True)
        async with connected(client, compression=grpc.Compression.Gzip) as other:
            code, sentence, _ = await other.fail("ModelInfer", ask_for(row))
            assert (code, "ompress" in sentence) == (Code.UNIMPLEMENTED, True)
        assert (await stub.fail("ServerLive", metadata=(("x", "y" * 20_000),)))[0] == Code.RESOURCE_EXHAUSTED
        assert (await stub.call("ServerLive")).live

    call(ask, "max_body_bytes=100000", "max_rows=1000", "max_head_bytes=8192", model_dir=tree_bundle)


def tensor(**changes: Any) -> pb.ModelInferRequest:
    """Return a request of one tensor, with these changes to it."""
    request = pb.ModelInferRequest(model_name="tree")
    raw = changes.pop("raw", None)
    item = request.inputs.add(name="x", datatype="FP64", shape=[1, 30])
    for key, value in changes.items():
        if key.endswith("_contents"):
            getattr(item.contents, key).extend(value)
        elif key == "shape":
            item.shape[:] = value
        else:
            setattr(item, key, value)
    request.raw_input_contents.extend(raw or ())
    return request


HOSTILE = {
    "nothing": (pb.ModelInferRequest(model_name="tree"), "expected at least one tensor"),
    "no message": (b"\x2a\xff", "no ModelInferRequest"),
    "no text": (b"\x0a\x01\xff", "no ModelInferRequest"),
    "raw too short": (tensor(raw=[b"\0" * 8]), "shape [1, 30] does not hold the 1 elements"),
    "raw cut off": (tensor(raw=[b"\0" * 7]), "7 bytes are no whole number of FP64"),
    "raw too many": (tensor(raw=[b"\0" * 240] * 2), "2 stand there for 1 inputs"),
    "raw and typed": (tensor(raw=[b"\0" * 240], fp64_contents=[0.0]), "contents and raw_input_contents are both there"),
    "negative shape": (tensor(shape=[-1, 30], fp64_contents=[0.0] * 30), "does not hold the 30 elements"),
    "huge shape": (tensor(shape=[2**62, 2**62], fp64_contents=[0.0]), "rows are more than"),
    "no shape": (tensor(shape=[], fp64_contents=[0.0] * 30), "does not hold"),
    "three dimensions": (tensor(shape=[1, 5, 6], fp64_contents=[0.0] * 30), "30 of 30 columns are missing"),
    "too narrow": (tensor(shape=[1, 29], fp64_contents=[0.0] * 29), "expected 30 columns"),
    "unknown datatype": (tensor(datatype="FP65", fp64_contents=[0.0] * 30), "another list"),
    "unknown datatype, raw": (tensor(datatype="FP65", raw=[b"\0" * 240]), "unknown datatype"),
    "another list": (tensor(fp32_contents=[0.0] * 30), "FP64 is sent in fp64_contents, and there is fp32_contents"),
    "two lists": (tensor(fp64_contents=[0.0], int_contents=[1]), "and there is int_contents and fp64_contents"),
    "half floats": (tensor(datatype="FP16", fp32_contents=[0.0]), "FP16 has no contents of its own"),
    "out of range": (tensor(datatype="INT8", int_contents=[300] * 30), "out of range for INT8"),
    "huge name": (tensor(name="y" * 100_000, fp64_contents=[0.0] * 30, shape=[30]), "30 of 30 columns are missing"),
    "texts cut off": (tensor(datatype="BYTES", raw=[b"\xff\xff\xff\xff"]), "binary texts are cut off"),
    "text not UTF-8": (tensor(datatype="BYTES", bytes_contents=[b"\xff"] * 30), "not UTF-8"),
    "infinite": (tensor(fp64_contents=[float("inf")] * 30), "not finite"),
}


def test_hostile_messages_are_refused_with_a_sentence(call, tree_bundle):
    async def ask(stub, client):
        for name, (message, sentence) in HOSTILE.items():
            code, said, _ = await stub.fail("ModelInfer", message)
            expected = Code.RESOURCE_EXHAUSTED if "more than" in sentence else Code.INVALID_ARGUMENT
            assert (name, code, sentence in said) == (name, expected, True), said
            assert len(said) < 3000
        unknown = ask_for(row_of(tree_bundle))
        unknown.outputs.add(name="\0nobody" * 1000)
        code, said, _ = await stub.fail("ModelInfer", unknown)
        assert (code, "the model has label, probabilities" in said) == (Code.INVALID_ARGUMENT, True)
        assert client.app.service.admission.n_working == 0

    call(ask, model_dir=tree_bundle)


def test_mutated_messages_never_make_the_server_fail(call, tree_bundle, caplog):
    rng = random.Random(7)
    row = row_of(tree_bundle)
    seeds = [ask_for(row).SerializeToString(), ask_for(row, raw=True, id="x").SerializeToString()]
    allowed = {Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.RESOURCE_EXHAUSTED}

    def mutate(message: bytes) -> bytes:
        data = bytearray(message)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data))
            action = rng.random()
            if action < 0.6:
                data[place] = rng.randrange(256)
            elif action < 0.8:
                del data[place : place + rng.randint(1, 9)]
            else:
                data[place:place] = rng.randbytes(rng.randint(1, 9))
            if not data:
                return b""
        return bytes(data)

    async def ask(stub, _client):
        found = []
        for _ in range(400):
            asked = stub.call("ModelInfer", mutate(rng.choice(seeds)))
            found.append(await asked.code())
        assert set(found) <= allowed
        assert (await stub.call("ServerReady")).ready

    call(ask, model_dir=tree_bundle)
    assert "failed" not in caplog.text


def test_bombs_of_empty_parts_are_refused_before_they_are_parsed():
    from mlops_project.wire.limits import Limits, TooLargeError
    from mlops_project.wire.messages import read_infer

    limits = Limits(1000, 10_000, 2**20)
    texts = pb.ModelInferRequest()
    texts.inputs.add().contents.bytes_contents.extend([b""] * 200_000)
    numbers = pb.ModelInferRequest()
    numbers.inputs.add().contents.int64_contents.extend([1] * 400_000)
    bombs = [b"\x2a\x00" * 200_000, b"\x32\x00" * 200_000, b"\x22\x00" * 200_000, b"\x3a\x00" * 200_000]
    for bomb in (*bombs, texts.SerializeToString(), numbers.SerializeToString()):
        with pytest.raises(TooLargeError, match="more than the 10000 values"):
            read_infer(bomb, limits)
    whole = pb.ModelInferRequest()
    whole.inputs.add(name="x", datatype="FP64", shape=[60_000]).contents.fp64_contents.extend([1.5] * 60_000)
    assert read_infer(whole.SerializeToString()).body.endswith(np.full(60_000, 1.5).tobytes())
