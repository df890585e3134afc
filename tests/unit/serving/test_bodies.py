import asyncio
import gzip
import random
import time
import zlib

import pytest

from mlops_project.serving.bodies import MAX_MEMBERS, decompress, find_coding, read_body
from mlops_project.serving.errors import RefusedError

LIMIT = 1 << 20
FIRST, SECOND = b"a,b\n1,2\n" * 20, b"3,4\n5,6\n" * 5000


def pack_gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # the same in every process that collects tests


def deflate_raw(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def refusal(work, *arguments) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        work(*arguments)
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (pack_gzip(FIRST) + pack_gzip(SECOND), FIRST + SECOND),
        (b"".join(pack_gzip(bytes([sign])) for sign in FIRST), FIRST),
        (pack_gzip(b"") + pack_gzip(FIRST) + pack_gzip(b""), FIRST),
        (pack_gzip(b""), b""),
        (pack_gzip(FIRST) + bytes(512), FIRST),
        (pack_gzip(FIRST) + bytes(40_000) + pack_gzip(SECOND) + b"\0", FIRST + SECOND),
    ],
    ids=["two members", "a member per byte", "empty members", "one empty member", "padded", "padding between members"],
)
def test_every_member_of_gzip_is_read(body, content):
    assert decompress(body, "gzip", LIMIT, 100) == content


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 262_143, 262_144, 262_145, 1_000_000])
def test_members_of_every_size_are_joined_without_a_byte_lost_or_doubled(size):
    noise, zeros = random.Random(size).randbytes(size), bytes(size)
    for parts in ([noise, zeros, noise], [zeros, zeros, zeros], [noise[:100], noise, b"", noise]):
        body = b"".join(pack_gzip(part) for part in parts)
        assert decompress(body, "gzip", 4 * LIMIT, 2000) == b"".join(parts)
        for content in parts:
            assert decompress(deflate_raw(content), "deflate", 4 * LIMIT, 2000) == content


@pytest.mark.parametrize("pack", [zlib.compress, deflate_raw], ids=["with zlib's header", "without"])
def test_deflate_is_read_with_and_without_header(pack):
    assert decompress(pack(SECOND), "deflate", LIMIT, 100) == SECOND
    assert decompress(pack(b""), "deflate", LIMIT, 100) == b""


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", pack_gzip(FIRST) + b"x"),
        ("gzip", pack_gzip(FIRST) + FIRST),
        ("gzip", pack_gzip(FIRST) + bytes(9) + b"x"),
        ("gzip", pack_gzip(FIRST) + zlib.compress(SECOND)),
        ("gzip", pack_gzip(FIRST) + pack_gzip(SECOND)[:-1]),
        ("gzip", pack_gzip(FIRST) + pack_gzip(SECOND)[:5]),
        ("gzip", pack_gzip(FIRST)[:-9]),
        ("gzip", b""),
        ("gzip", bytes(20)),
        ("gzip", FIRST),
        ("gzip", zlib.compress(FIRST)),
        ("deflate", zlib.compress(FIRST) + zlib.compress(SECOND)),
        ("deflate", zlib.compress(FIRST) + b"x"),
        ("deflate", deflate_raw(FIRST) + deflate_raw(SECOND)),
        ("deflate", deflate_raw(FIRST) + b"\0"),
        ("deflate", zlib.compress(FIRST)[:-1]),
        ("deflate", b""),
        ("deflate", pack_gzip(FIRST)),
    ],
)
def test_what_is_not_whole_or_has_something_behind_it_is_refused(coding, body):
    status, message = refusal(decompress, body, coding, LIMIT, 100)
    assert (status, message.startswith("the compressed body")) == (400, True)


def test_one_flipped_bit_is_noticed():
    body = bytearray(pack_gzip(SECOND))
    for position in range(len(body) - 8, len(body)):  # checksum and length
        flipped = bytes([*body[:position], body[position] ^ 1, *body[position + 1 :]])
        assert refusal(decompress, flipped, "gzip", LIMIT, 100)[0] == 400


def test_content_beyond_the_limit_or_the_ratio_is_refused():
    spaces = pack_gzip(b" " * LIMIT)
    assert len(decompress(spaces, "gzip", LIMIT, 2000)) == LIMIT
    assert refusal(decompress, pack_gzip(b" " * (LIMIT + 1)), "gzip", LIMIT, 2000) == (
        413,
        f"the body is larger than {LIMIT} bytes; send fewer rows at once",
    )
    status, message = refusal(decompress, spaces, "gzip", LIMIT, 100)
    assert (status, "more than 100 times its size" in message, "serving.max_compression_ratio" in message) == (413, True, True)
    assert len(decompress(pack_gzip(b" " * (LIMIT // 4)), "gzip", LIMIT, 1)) == LIMIT // 4


def test_limit_counts_all_members_together():
    member = pack_gzip(b"x" * (LIMIT // 2))
    assert len(decompress(member * 2, "gzip", LIMIT, 2000)) == LIMIT
    assert refusal(decompress, member * 2 + pack_gzip(b"x"), "gzip", LIMIT, 2000)[0] == 413


def test_more_members_than_a_body_may_have_are_refused_in_little_time():
    started = time.process_time()
    status, message = refusal(decompress, pack_gzip(b"") * (MAX_MEMBERS * 3), "gzip", LIMIT, 100)
    assert (status, "more parts" in message) == (400, True)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("lines", "coding"),
    [
        ([b"gzip"], "gzip"),
        ([b"GZIP"], "gzip"),
        ([b"x-gzip"], "gzip"),
        ([b"Deflate"], "deflate"),
        ([b"identity"], None),
        ([b""], None),
        ([b"gzip, identity"], "gzip"),
        ([b"identity,\tgzip ,"], "gzip"),
        ([b"identity", b"gzip"], "gzip"),
        ([b"gzip", b"Identity"], "gzip"),
    ],
)
def test_coding_is_found_in_any_case_and_list(lines, coding):
    assert find_coding([(b"host", b"x"), *((b"content-encoding", line) for line in lines)]) == coding


@pytest.mark.parametrize(
    "lines", [[b"br"], [b"gzip, br"], [b"gzip", b"zstd"], [b"gzip, gzip"], [b"gzip", b"deflate"], [b"gzip;q=1"]]
)
def test_unknown_and_several_codings_are_refused(lines):
    assert refusal(find_coding, [(b"content-encoding", line) for line in lines])[0] == 415


def test_body_beyond_the_limit_is_refused_before_the_rest_is_read():
    sent = [{"type": "http.request", "body": b"x" * 600, "more_body": True}] * 9
    asked = []

    async def receive():
        asked.append(1)
        return sent.pop()

    assert refusal(asyncio.run, read_body({}, receive, 1000))[0] == 413
    assert len(asked) == 2
    assert refusal(asyncio.run, read_body({b"content-length": b"100000"}, receive, 1000))[0] == 413
    assert len(asked) == 2
