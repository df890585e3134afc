"""The Open Inference Protocol's gRPC messages ⇄ its REST form with binary tensors, which is read, answered and logged.

So both have the same rules, limits and sentences, and a log needs no Protocol Buffers to be read.
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md
"""

from typing import Any, NamedTuple

import numpy as np
import orjson
from google.protobuf.message import DecodeError

from mlops_project.wire import open_inference_pb2 as pb
from mlops_project.wire.limits import NO_LIMITS, Limits
from mlops_project.wire.message_size import check_message
from mlops_project.wire.problems import shorten
from mlops_project.wire.sureness import NAME as UNCERTAINTY
from mlops_project.wire.tensors import DTYPES, TEXT_SIZE, InferenceError
from mlops_project.wire.thresholds import NAME as THRESHOLD

CONTENT_TYPE = "content_type"  # the only parameter of a tensor that means something: base64
# Datatype → the list that its elements are sent in. Its packed form is the raw tensor where each element takes as many bytes.
LISTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
PACKED = frozenset(("BOOL", "FP32", "FP64"))


class InferCall(NamedTuple):
    """A ``ModelInferRequest``, translated.

    Attributes
    ----------
    model, version
        Names of the model that is asked; empty for the default one, and for its champion.
    body, header_length
        The same request in the REST form: JSON, and behind it the tensors.
    raw
        Whether the tensors came raw; then the answer's are raw as well.
    """

    model: str
    version: str
    body: bytes
    header_length: int
    raw: bool


def parse(kind: Any, message: bytes) -> Any:
    """Return a message of this kind.

    Raises
    ------
    InferenceError
        If the bytes are none.
    """
    try:
        return kind.FromString(message)
    except DecodeError:
        raise InferenceError(f"the message is no {kind.DESCRIPTOR.name} of the Open Inference Protocol") from None


def read_infer(message: bytes, limits: Limits = NO_LIMITS) -> InferCall:
    """Read a serialized ``ModelInferRequest``.

    Raises
    ------
    InferenceError, TooLargeError
        If it is none, or its tensors are not sent as the protocol says, or it is too large.
    """
    check_message(message, limits)
    request = parse(pb.ModelInferRequest, message)
    raws = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        raise InferenceError(f"raw_input_contents: {len(raws)} stand there for {len(request.inputs)} inputs; send one for each")
    inputs, tail = [], []
    for position, tensor in enumerate(request.inputs):
        data = _take_raw(raws[position], tensor) if raws else _pack(tensor)
        tail.append(data)
        inputs.append(_describe(tensor, len(data)))
    head: dict[str, Any] = {"parameters": {"binary_data_output": True}, "inputs": inputs}
    for name in (THRESHOLD, UNCERTAINTY):
        if name in request.parameters:
            asked = request.parameters[name]
            kind = asked.WhichOneof("parameter_choice")
            head["parameters"][name] = getattr(asked, kind) if kind else "none"  # which is refused as any other text
    if request.id:
        head["id"] = request.id
    if request.outputs:
        head["outputs"] = [{"name": output.name} for output in request.outputs]
    json = orjson.dumps(head)
    return InferCall(request.model_name, request.model_version, b"".join([json, *tail]), len(json), bool(raws))


def _describe(tensor: Any, size: int) -> dict[str, Any]:
    parameters: dict[str, Any] = {"binary_data_size": size}
    if CONTENT_TYPE in tensor.parameters:
        parameters[CONTENT_TYPE] = tensor.parameters[CONTENT_TYPE].string_param
    return {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype, "parameters": parameters}


def _take_raw(data: bytes, tensor: Any) -> bytes:
    if tensor.HasField("contents") and tensor.contents.ListFields():
        raise InferenceError(
            f"input {shorten(tensor.name)!r}: contents and raw_input_contents are both there; send one of them"
        )
    return data


def _pack(tensor: Any) -> bytes:
    """Return a tensor's contents as raw bytes; an unknown datatype is refused where the tensors are read."""
    datatype = tensor.datatype
    field = LISTS.get(datatype)
    given = [known.name for known, _ in tensor.contents.ListFields()] if tensor.HasField("contents") else []
    if field is None and datatype in DTYPES:
        raise InferenceError(f"input {shorten(tensor.name)!r}: {datatype} has no contents of its own; send raw_input_contents")
    if given not in ([], [field]):
        raise InferenceError(
            f"input {shorten(tensor.name)!r}: {datatype if field else 'its datatype'} is sent in {field or 'another list'}, "
            f"and there is {' and '.join(given)}"
        )
    if not given or field is None:
        return b""
    values = getattr(tensor.contents, field)
    if datatype == "BYTES":
        return b"".join(TEXT_SIZE.pack(len(text)) + text for text in values)
    if datatype in PACKED:
        tensor.contents.DiscardUnknownFields()
        return _find_payload(tensor.contents.SerializeToString())
    return _narrow(np.array(values, np.int64 if datatype.startswith("INT") else np.uint64), tensor)


def _narrow(values: Any, tensor: Any) -> bytes:
    dtype = np.dtype(DTYPES[tensor.datatype])
    bounds = np.iinfo(dtype)
    if values.size and not bounds.min <= int(values.min()) <= int(values.max()) <= bounds.max:
        raise InferenceError(f"input {shorten(tensor.name)!r}: a value is out of range for {tensor.datatype}")
    raw: bytes = values.astype(dtype.newbyteorder("<")).tobytes()
    return raw


def _find_payload(contents: bytes) -> bytes:
    """Return what stands behind the tag and the length of the only field of a message."""
    position = 1
    while contents[position] >= 0x80:
        position += 1
    size = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(contents[1 : position + 1]))
    return contents[position + 1 : position + 1 + size]


def write_infer(body: bytes, header_length: int, prediction_id: str, *, raw: bool) -> bytes:
    """Return a response of the REST form with binary tensors as a serialized ``ModelInferResponse``.

    Parameters
    ----------
    body, header_length
        JSON of so many bytes, and behind it the tensors.
    prediction_id
        Stands in it as a parameter: most clients do not show metadata.
    raw
        Whether the tensors stand in ``raw_output_contents``, else each in the list of its datatype.
    """
    said = orjson.loads(body[:header_length])
    response = pb.ModelInferResponse(model_name=said["model_name"], model_version=said["model_version"], id=said.get("id", ""))
    response.parameters["prediction_id"].string_param = prediction_id
    position = header_length
    for item in said["outputs"]:
        end = position + item["parameters"]["binary_data_size"]
        output = response.outputs.add(name=item["name"], datatype=item["datatype"], shape=item["shape"])
        if raw:
            response.raw_output_contents.append(body[position:end])
        else:
            _fill(output.contents, item["datatype"], body[position:end])
        position = end
    message: bytes = response.SerializeToString()
    return message


def _fill(contents: Any, datatype: str, data: bytes) -> None:
    values = getattr(contents, LISTS[datatype])
    if datatype == "BYTES":
        values.extend(_split_texts(data))
    else:
        values.extend(np.frombuffer(data, np.dtype(DTYPES[datatype]).newbyteorder("<")).tolist())


def _split_texts(data: bytes) -> list[bytes]:
    texts, position = [], 0
    while position < len(data):
        start = position + TEXT_SIZE.size
        position = start + TEXT_SIZE.unpack_from(data, position)[0]
        texts.append(data[start:position])
    return texts


def write_metadata(described: dict[str, Any]) -> bytes:
    """Return what ``InferenceProtocol.describe`` says as a serialized ``ModelMetadataResponse``."""
    message: bytes = pb.ModelMetadataResponse(**described).SerializeToString()
    return message
