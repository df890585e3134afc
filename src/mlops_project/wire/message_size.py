"""How much a serialized ``ModelInferRequest`` would become, checked before it is parsed: two bytes can become eighty.

An empty tensor takes two bytes on the wire and eighty in memory, a number of one byte eight. Small messages are not looked at.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mlops_project.wire.limits import Limits

SMALL_BYTES = 1 << 18  # becomes 10 MiB at most
MAX_PARTS = 100_000  # tensors, wanted outputs, parameters, and what stands in them
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # wire types of Protocol Buffers
INPUTS, CONTENTS, RAW = 5, 5, 7  # field numbers: of the request, of a tensor, of the request
BYTES_CONTENTS = 8
FIXED = {6: 4, 7: 8}  # of the contents: bytes of an element, where all take as many
ENDS = 0x80  # a byte below this ends a number


class BrokenMessageError(Exception):
    """Bytes that are no message; its parser will say so as well."""


class _Part(NamedTuple):
    """One field: its number and its content; of a single number nothing is kept."""

    number: int
    content: memoryview


def check_message(body: bytes, limits: Limits) -> None:
    """Refuse a message that holds more than one request may.

    Raises
    ------
    TooLargeError
        If it does.
    """
    if len(body) <= SMALL_BYTES:
        return
    try:
        _count(memoryview(body), limits)
    except BrokenMessageError:
        return


def _count(body: memoryview, limits: Limits) -> None:
    n_parts = n_values = 0
    for part in _split(body):
        n_parts += 1
        if part.number == INPUTS:
            for inner in _split(part.content):
                n_parts += 1
                if inner.number == CONTENTS:
                    n_values += _count_elements(inner.content, limits.max_values - n_values)
                elif len(inner.content) > MAX_PARTS:  # a name, a shape or parameters
                    n_parts += len(inner.content)
                if n_parts > MAX_PARTS:
                    break
        elif part.number != RAW and len(part.content) > MAX_PARTS:
            n_parts += len(part.content)
        if n_parts > MAX_PARTS:
            raise limits.refuse_values("tensors, parameters and names of this message")
        if n_values > limits.max_values:
            raise limits.refuse_values("elements of the tensors")


def _count_elements(contents: memoryview, enough: int) -> int:
    """Return how many elements a tensor's contents hold; counting ends beyond ``enough``."""
    total = 0
    for part in _split(contents):
        if part.number == BYTES_CONTENTS or not part.content:
            total += 1
        elif part.number in FIXED:
            total += len(part.content) // FIXED[part.number]
        else:
            total += int((np.frombuffer(part.content, np.uint8) < ENDS).sum())
        if total > enough:
            break
    return total


def _split(message: memoryview) -> Iterator[_Part]:
    position, end = 0, len(message)
    while position < end:
        tag, position = _read_number(message, position)
        kind = tag & 7
        if kind == LENGTH:
            size, position = _read_number(message, position)
            if size > end - position:
                raise BrokenMessageError
            yield _Part(tag >> 3, message[position : position + size])
            position += size
        elif kind == VARINT:
            _, position = _read_number(message, position)
            yield _Part(tag >> 3, message[:0])
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            position += 8 if kind == EIGHT_BYTES else 4
            yield _Part(tag >> 3, message[:0])
        else:
            raise BrokenMessageError


def _read_number(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < ENDS:
            return value, position
        shift += 7
    raise BrokenMessageError
