"""Header blocks, against python-hyper's encoder and RFC 7541."""

import random

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.http2.frames import Code, ProtocolError, StreamError
from serving.http2.hpack import KNOWN_BYTES, MAX_KNOWN, HeaderDecoder, encode

PSEUDO = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.B/C"), (b":authority", b"x")]
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=20).map(lambda name: f"x-{name}".encode())
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=300).map(str.encode)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=12, unique_by=lambda pair: pair[0]), max_size=5), st.booleans()
)
def test_blocks_of_an_encoder_with_its_tables_are_read(requests, huffman):
    encoder, decoder = Encoder(), HeaderDecoder(2**20)
    for fields in [*requests, *requests]:
        block = encoder.encode([*PSEUDO, *fields], huffman=huffman)
        assert decoder.decode(block) == dict([*PSEUDO, *fields])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
@settings(max_examples=30, deadline=None)
def test_our_blocks_are_read_by_others(fields):
    assert [tuple(pair) for pair in Decoder().decode(encode(fields), raw=True)] == fields


def test_texts_that_come_again_are_read_as_at_first_and_few_are_remembered():
    decoder, draw = HeaderDecoder(2**16), random.Random(1)  # noqa: S311
    for n in range(2 * MAX_KNOWN):
        path = f"/{draw.randrange(700)}" + "a" * draw.randrange(2 * KNOWN_BYTES)
        fields = [PSEUDO[0], PSEUDO[1], (b":path", path.encode()), PSEUDO[3]]
        block = Encoder().encode(fields, huffman=True)
        assert decoder.decode(block) == decoder.decode(block) == dict(fields)
        wrong = bytearray(block)
        wrong[draw.randrange(len(wrong))] ^= 1 << n % 8
        seen = []
        for _ in range(2):  # whatever it is, it is that twice
            try:
                seen.append(HeaderDecoder(2**16).decode(bytes(wrong)))
            except (ProtocolError, StreamError) as error:
                seen.append(str(error))
        assert seen[0] == seen[1]
    assert 0 < decoder._path.cache_info().currsize <= MAX_KNOWN


def test_what_is_remembered_is_a_connections_own_and_paths_alone():
    decoder, other = HeaderDecoder(2**16), HeaderDecoder(2**16)
    secret = (b"authorization", b"Bearer aaaaaaaaaaaaaaaa")
    decoder.decode(Encoder().encode([*PSEUDO, secret], huffman=True))
    assert decoder._path.cache_info().currsize == 1
    assert other._path.cache_info().currsize == 0


def test_a_table_may_shrink_and_forgets():
    encoder, decoder = Encoder(), HeaderDecoder(2**16)
    fields = [(b"x-%d" % n, b"v" * 200) for n in range(30)]
    for size in (4096, 300, 0, 4096):
        encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields)) == dict(fields)
        assert decoder.decode(encoder.encode(fields)) == dict(fields)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # an index beyond the table
        b"\xff\xff\xff\xff\xff\xff\x7f",  # an integer without end
        b"\x00\x05ab",  # a name that is cut off
        b"\x00\x01a\x05b",
        b"\x3f\xe2\x1f",  # a table of 4,097 bytes
        b"\x82\x20",  # a size behind a field
        b"\x00\x84\xff\xff\xff\xff\x01b",  # Huffman's EOS
        b"\x40",
        b"\x7f",
    ],
)
def test_what_is_no_hpack_ends_the_connection(block):
    with pytest.raises(ProtocolError) as raised:
        HeaderDecoder(2**14).decode(block)
    assert raised.value.code == Code.COMPRESSION_ERROR


@pytest.mark.parametrize(
    "field",
    [
        (b"Upper", b"x"),
        (b"", b"x"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"te", b"gzip"),
        (b":status", b"200"),
        (b"a b", b"x"),
        (b"a", b"x\r\nb: c"),
        (b"a", b"\0"),
        (b"a", b" x"),
        (b":method", b"GET"),
    ],
)
def test_what_no_request_may_have_ends_its_stream_alone(field):
    decoder = HeaderDecoder(2**14)
    with pytest.raises(StreamError) as raised:
        decoder.decode(encode([*PSEUDO, field]))
    assert raised.value.code == Code.PROTOCOL_ERROR
    assert decoder.decode(encode(PSEUDO)) == dict(PSEUDO)


def test_fields_of_one_name_are_joined():
    fields = [*PSEUDO, (b"a", b"1"), (b"cookie", b"x=1"), (b"a", b"2"), (b"cookie", b"y=2")]
    assert HeaderDecoder(2**14).decode(encode(fields)) == {**dict(PSEUDO), b"a": b"1,2", b"cookie": b"x=1; y=2"}


def test_too_many_fields_end_their_stream_and_the_table_goes_on():
    decoder, encoder = HeaderDecoder(2**14), Encoder()
    decoder.decode(encoder.encode([*PSEUDO, (b"x-a", b"v" * 3900)]))
    with pytest.raises(StreamError) as raised:
        decoder.decode(b"\xbe" * 5)
    assert raised.value.code == Code.ENHANCE_YOUR_CALM
    assert decoder.decode(b"\xbe")[b"x-a"] == b"v" * 3900


def test_a_bomb_is_counted_and_not_built():
    decoder, encoder = HeaderDecoder(2**14), Encoder()
    decoder.decode(encoder.encode([*PSEUDO, (b"x-a", b"v" * 3900)]))
    with pytest.raises(ProtocolError) as raised:
        decoder.decode(b"\xbe" * 16_000)  # 62 MB, were it built
    assert raised.value.code == Code.ENHANCE_YOUR_CALM


def test_a_size_behind_a_field_that_is_too_long_ends_the_connection():
    with pytest.raises(ProtocolError) as raised:
        HeaderDecoder(1000).decode(encode([(b"x-a", b"v" * 1001)]) + b"\x20")
    assert raised.value.code == Code.COMPRESSION_ERROR
