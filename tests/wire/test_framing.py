"""Where a request ends: read as RFC 9112 says or refused, never in two ways (request smuggling).

Every doubtful request carries, where another reading would see a request, one with the id `smuggled`, and is followed
by one with the id `next`. Right are: the reading that the RFC gives and an answer to `next`; or one refusal, and the
connection ends.
"""

import subprocess

import pytest

from tests.wire.client import SHUT_WR, Conversation, converse, cut
from tests.wire.messages import INFER, JSON, chunked, document, get, infer, infer_chunked, is_answer, message

SMUGGLED = infer("smuggled")
NEXT = infer("next")
BODY = document("doubtful")
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
LINE = f"POST {INFER} HTTP/1.1"


def ask(port, data: bytes, *pieces: float | bytes) -> Conversation:
    """What comes of the doubtful request and the next one, in one packet."""
    return converse(port, data + NEXT, *pieces, answers=2)


def assert_refused(conversation: Conversation, *statuses: int) -> None:
    """One refusal, and the end."""
    assert conversation.statuses and conversation.statuses[0] in statuses, str(conversation)
    assert len(conversation.statuses) == 1, f"something behind it was read as a request: {conversation}"
    assert conversation.end in ("closed", "reset"), str(conversation)
    assert conversation.last.closes, conversation.last


def assert_read(conversation: Conversation, tag: str = "doubtful") -> None:
    """Answered as one right request, and the next as well."""
    assert conversation.ids == [tag, "next"], str(conversation)
    assert conversation.end == "answered"


def assert_refused_or_read(conversation: Conversation, *statuses: int, tag: str = "doubtful") -> None:
    if len(conversation.statuses) == 1:
        assert_refused(conversation, *statuses)
    else:
        assert_read(conversation, tag)


# Upgrade (RFC 9110, 7.8): a server MAY ignore it; this one does, and the request is as any other.

UPGRADES = ["websocket", "h2c", "WebSocket", "TLS/1.0, h2c", "foo/2"]
SETTINGS = "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"


@pytest.mark.parametrize("protocol", UPGRADES)
@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, upgrade", "Upgrade, HTTP2-Settings"])
def test_an_upgrade_is_not_taken_and_the_body_is_the_requests(port, protocol, connection):
    fields = (f"Connection: {connection}", f"Upgrade: {protocol}", SETTINGS)
    for request in (infer("doubtful", *fields), infer_chunked("doubtful", *fields)):
        assert_read(ask(port, request))
        assert_read(converse(port, *cut(request, 50), NEXT, answers=2, pace=0.001))
        head, _, body = request.partition(b"\r\n\r\n")
        assert_read(converse(port, head + b"\r\n\r\n", 0.01, body + NEXT, answers=2))
        first = converse(port, infer("first") + request + NEXT, answers=3)
        assert first.ids == ["first", "doubtful", "next"], str(first)


@pytest.mark.parametrize("protocol", UPGRADES)
def test_an_upgrade_of_a_get(port, protocol):
    key = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    conversation = ask(port, get("/livez", "Connection: Upgrade", f"Upgrade: {protocol}", SETTINGS, *key))
    assert conversation.statuses == [200, 200] and conversation.ids[1] == "next", str(conversation)
    conversation = converse(port, get("/livez", "Connection: Upgrade", f"Upgrade: {protocol}"), 0.05, NEXT, answers=2)
    assert conversation.statuses == [200, 200] and conversation.ids[1] == "next", str(conversation)


@pytest.mark.parametrize("field", ["Upgrade: websocket", "Upgrade: h2c"])
@pytest.mark.parametrize("connection", ["close", "keep-alive", None])
def test_an_upgrade_that_connection_does_not_name(port, field, connection):
    fields = [field] if connection is None else [field, f"Connection: {connection}"]
    conversation = ask(port, infer("doubtful", *fields))
    assert conversation.ids == (["doubtful"] if connection == "close" else ["doubtful", "next"]), str(conversation)


def test_curl_asking_for_http_2_is_answered_by_http_1(port):
    for extra in ([], ["--data-binary", BODY.decode(), "--header", JSON]):
        command = ["curl", "-sS", "--max-time", "5", "--http2", "-w", "\n%{http_code} %{http_version}", *extra]
        for _ in range(3):
            done = subprocess.run(
                [*command, f"http://127.0.0.1:{port}{INFER if extra else '/livez'}"], capture_output=True
            )
            assert done.stdout.split()[-2:] == [b"200", b"1.1"], done


def test_the_preface_of_http_2_is_refused(port):
    conversation = converse(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", SMUGGLED)
    assert_refused(conversation, 400, 505)


# CONNECT (RFC 9110, 9.3.6)


@pytest.mark.parametrize("body", ["none", "length", "chunked"])
@pytest.mark.parametrize("target", ["example.com:443", "127.0.0.1:80"])
def test_connect_is_refused_and_nothing_after_it_is_a_request(port, target, body):
    fields, data = {"none": ((), b""), "length": ((LENGTH,), BODY), "chunked": ((CHUNKED,), chunked([BODY]))}[body]
    request = message(f"CONNECT {target} HTTP/1.1", *fields, body=data, host=target)
    for pieces in ((request + SMUGGLED,), (request, 0.1, SMUGGLED)):
        assert_refused(converse(port, *pieces), 400, 403, 404, 405, 501)
    conversation = converse(port, infer("first") + request + SMUGGLED)
    assert conversation.ids[0] == "first" and len(conversation.statuses) == 2, str(conversation)
    assert conversation.statuses[1] in (400, 403, 404, 405, 501) and conversation.end in ("closed", "reset")


# Content-Length (RFC 9112, 6.3)


def with_lengths(*lengths: str, body: bytes = BODY, name: str = "Content-Length") -> bytes:
    return message(LINE, JSON, *[f"{name}: {length}" for length in lengths], body=body)


def in_two_fields(first: int, second: int) -> bytes:
    return with_lengths(str(first), str(second), body=BODY + SMUGGLED)


N = len(BODY)
WRONG_LENGTHS = {
    "plus": with_lengths(f"+{N}"),
    "minus": with_lengths(f"-{N}"),
    "hexadecimal": with_lengths(f"0x{N:x}"),
    "empty": with_lengths("", body=b"") + SMUGGLED,
    "a word": with_lengths("many"),
    "a fraction": with_lengths(f"{N}.0"),
    "an exponent": with_lengths(f"{N}e0"),
    "two numbers": with_lengths(f"{N} {N}"),
    "a space within": with_lengths(f"{str(N)[0]} {str(N)[1:]}"),
    "an underscore": with_lengths(f"1_{N}"),
    "a semicolon": with_lengths(f"{N};"),
    "quoted": with_lengths(f'"{N}"'),
    "digits of others": message(LINE, JSON, b"Content-Length: \xd9\xa1", body=BODY),
    "over 64 bits": with_lengths(str(2**64 + N)),
    "over 63 bits": with_lengths(str(2**63 + N)),
    "a hundred digits": with_lengths("9" * 100),
    "apart": in_two_fields(N, N + len(SMUGGLED)),
    "apart the other way": in_two_fields(N + len(SMUGGLED), N),
    "apart in one": with_lengths(f"{N}, {N + len(SMUGGLED)}", body=BODY + SMUGGLED),
    "zero and more": in_two_fields(0, N),
    "a wrong one beside": with_lengths(str(N), "x"),
    "a vertical tab": message(LINE, JSON, b"Content-Length: \x0b%d" % N, body=BODY),
    "a null": message(LINE, JSON, b"Content-Length: %d\x00" % N, body=BODY),
}


@pytest.mark.parametrize("name", WRONG_LENGTHS)
def test_a_wrong_length_is_refused(port, name):
    assert_refused(ask(port, WRONG_LENGTHS[name]), 400, 413)


@pytest.mark.parametrize("request_", [with_lengths(str(N), str(N)), with_lengths(f"{N}, {N}")], ids=["fields", "list"])
def test_a_length_twice_is_one_length_or_refused(port, request_):
    assert_refused_or_read(ask(port, request_), 400)


@pytest.mark.parametrize("value", [f"   {N}", f"{N}   ", f"\t{N}\t", f"000{N}"])
def test_blanks_around_a_length_and_zeros_before_it_are_nothing(port, value):
    assert_read(ask(port, with_lengths(value)))


def test_a_post_without_a_length_has_no_body(port):
    conversation = ask(port, message(LINE, JSON))
    assert conversation.statuses == [400, 200] and conversation.ids[1] == "next", str(conversation)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH"])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_body_of_any_method_is_no_request(port, method, coding):
    fields, body = (
        ((f"Content-Length: {len(SMUGGLED)}",), SMUGGLED) if coding == "length" else ((CHUNKED,), chunked([SMUGGLED]))
    )
    request = message(f"{method} /livez HTTP/1.1", *fields, body=body)
    for pieces in ((request + NEXT,), (request, 0.02, NEXT)):
        conversation = converse(port, *pieces, answers=2, methods=[method])
        assert len(conversation.statuses) == 2 and is_answer(conversation.last, "next"), str(conversation)


# Transfer-Encoding (RFC 9112, 6.1 and 7.1)

HIDDEN = chunked([BODY]) + SMUGGLED  # a reader that takes the length sees one body


@pytest.mark.parametrize("first", ["length", "coding"])
@pytest.mark.parametrize("length", [len(HIDDEN), 4, 0, N])
@pytest.mark.parametrize("coding", ["chunked", "Chunked", "\tchunked", "chunked "])
def test_a_length_and_a_coding_at_once_are_refused(port, coding, length, first):
    """RFC 9112, 6.3: may be refused, or be read by its coding; the connection MUST be closed after it."""
    fields = [f"Content-Length: {length}", f"Transfer-Encoding: {coding}"]
    fields = fields if first == "length" else fields[::-1]
    conversation = ask(port, message(LINE, JSON, *fields, body=HIDDEN))
    assert len(conversation.statuses) == 1, f"what is behind it was read as a request: {conversation}"
    assert conversation.end in ("closed", "reset") and conversation.last.closes
    assert conversation.statuses == [400] or is_answer(conversation.last, "doubtful")


def coded(*codings: str | bytes) -> bytes:
    """A request with these lines of Transfer-Encoding, and a body in chunks."""
    raw = [coding if isinstance(coding, bytes) else coding.encode() for coding in codings]
    return message(LINE, JSON, *[b"Transfer-Encoding: " + each for each in raw], body=chunked([BODY]))


WRONG_CODINGS = {
    "gzip first": (coded("gzip, chunked"), {501}),
    "gzip first, on lines of their own": (coded("gzip", "chunked"), {501}),
    "x-gzip first": (coded("x-gzip, chunked"), {501}),
    "deflate first": (coded("deflate,chunked"), {501}),
    "unknown first": (coded("tea, chunked"), {501}),
    "GZIP first": (coded("GZIP, Chunked"), {501}),
    "identity": (coded("identity"), {400}),
    "identity first": (coded("identity, chunked"), {400, 501}),
    "chunked, then gzip": (coded("chunked, gzip"), {400}),
    "chunked, then gzip, on lines of their own": (coded("chunked", "gzip"), {400}),
    "chunked, then identity": (coded("chunked, identity"), {400}),
    "chunked twice": (coded("chunked, chunked"), {400, 501}),
    "chunked twice, on lines of their own": (coded("chunked", "chunked"), {400, 501}),
    "gzip alone": (coded("gzip"), {400}),
    "unknown alone": (coded("xchunked"), {400, 501}),
    "chunked with a tail": (coded("chunkedx"), {400, 501}),
    "chunked and a word": (coded("chunked foo"), {400, 501}),
    "quoted": (coded('"chunked"'), {400, 501}),
    "a parameter": (coded("chunked;q=1"), {400, 501}),
    "empty": (coded(""), {400, 501}),
    "a vertical tab": (coded(b"\x0bchunked"), {400, 501}),
    "a form feed": (coded(b"chunked\x0c"), {400, 501}),
    "a null": (coded(b"chunked\x00"), {400, 501}),
    "a space of others": (coded(b"\xa0chunked"), {400, 501}),
    "dotless i's kin": (coded(b"chun\xe2\x84\xaaed"), {400, 501}),
}


@pytest.mark.parametrize("name", WRONG_CODINGS)
def test_a_coding_that_is_not_chunked_alone_is_refused(port, name):
    request, statuses = WRONG_CODINGS[name]
    assert_refused(ask(port, request), *statuses)


@pytest.mark.parametrize("request_", [coded(", chunked"), coded("chunked ,"), coded("", "chunked"), coded("chunked\t")])
def test_empty_elements_of_the_codings_and_a_tab_are_nothing_or_refused(port, request_):
    assert_refused_or_read(ask(port, request_), 400, 501)


@pytest.mark.parametrize("name", ["Transfer-Encoding", "transfer-encoding", "TRANSFER-ENCODING"])
@pytest.mark.parametrize("coding", ["chunked", "CHUNKED", "Chunked", "  chunked", "\tchunked", "chunked  "])
def test_chunked_in_any_case(port, name, coding):
    assert_read(ask(port, message(LINE, JSON, f"{name}: {coding}", body=chunked([BODY[:9], BODY[9:]]))))


@pytest.mark.parametrize("extra", [(), (f"Content-Length: {len(HIDDEN)}",), ("Connection: keep-alive",)])
def test_a_coding_in_http_1_0_is_refused(port, extra):
    request = message(f"POST {INFER} HTTP/1.0", JSON, CHUNKED, *extra, body=HIDDEN)
    assert_refused(ask(port, request), 400)


def in_chunks(body: bytes) -> bytes:
    return message(LINE, JSON, CHUNKED, body=body)


def sized(size: bytes) -> bytes:
    """A body of one chunk with this as its size, extension or line end."""
    return in_chunks(size + BODY + b"\r\n0\r\n\r\n")


H = b"%x" % N
WRONG_CHUNKS = {
    "size over 64 bits": sized(b"1" + H.rjust(16, b"0") + b"\r\n"),
    "size of 17 digits that wraps": sized(b"F" * 16 + b"1\r\n"),
    "size of a hundred digits": sized(b"f" * 100 + b"\r\n"),
    "hexadecimal prefix": sized(b"0x" + H + b"\r\n"),
    "plus": sized(b"+" + H + b"\r\n"),
    "minus": sized(b"-" + H + b"\r\n"),
    "no size": sized(b"\r\n"),
    "a letter too far": sized(b"g\r\n"),
    "an underscore": sized(b"0_" + H + b"\r\n"),
    "a space before": sized(b" " + H + b"\r\n"),
    "a null after": sized(H + b"\x00\r\n"),
    "an extension without semicolon": sized(H + b" tea\r\n"),
    "a bare LF after the size": sized(H + b"\n"),
    "a bare CR after the size": sized(H + b"\r"),
    "a bare LF in an extension": sized(H + b";tea\n"),
    "a bare CR in an extension": sized(H + b";te\ra\r\n"),
    "a bare LF after the data": in_chunks(H + b"\r\n" + BODY + b"\n0\r\n\r\n"),
    "no line end after the data": in_chunks(H + b"\r\n" + BODY + b"0\r\n\r\n"),
    "longer than its size": in_chunks(b"%x\r\n" % (N - 2) + BODY + b"\r\n0\r\n\r\n"),
    "shorter than its size": in_chunks(b"%x\r\n" % (N + 2) + BODY + b"\r\n0\r\n\r\n"),
    "a trailer without colon": in_chunks(H + b"\r\n" + BODY + b"\r\n0\r\ntea\r\n\r\n"),
    "a trailer with a blank before the colon": in_chunks(H + b"\r\n" + BODY + b"\r\n0\r\na : b\r\n\r\n"),
    "a bare LF after the last chunk's size": in_chunks(H + b"\r\n" + BODY + b"\r\n0\n\r\n"),
}


@pytest.mark.parametrize("name", WRONG_CHUNKS)
def test_a_wrong_chunk_is_refused(port, name):
    assert_refused(ask(port, WRONG_CHUNKS[name]), 400, 413)


RIGHT_CHUNKS = {
    "one": in_chunks(chunked([BODY])),
    "of one byte": in_chunks(chunked(BODY[i : i + 1] for i in range(N))),
    "capitals": sized(H.upper() + b"\r\n"),
    "zeros before": sized(b"000" + H + b"\r\n"),
    "an extension": in_chunks(chunked([BODY], extension=b";tea")),
    "an extension with a value": in_chunks(chunked([BODY], extension=b";tea=green")),
    "an extension in quotes": in_chunks(chunked([BODY], extension=b';tea="green; 5"')),
    "extensions": in_chunks(chunked([BODY], extension=b";a=1;b;c=2")),
    "an extension of the last": in_chunks(H + b"\r\n" + BODY + b"\r\n0;end\r\n\r\n"),
    "zeros as the last": in_chunks(H + b"\r\n" + BODY + b"\r\n000\r\n\r\n"),
    "a trailer": in_chunks(chunked([BODY], b"X-Checksum: 1\r\nY: 2\r\n")),
}


@pytest.mark.parametrize("name", RIGHT_CHUNKS)
def test_a_right_chunk_is_read(port, name):
    assert_read(ask(port, RIGHT_CHUNKS[name]))
    assert_read(converse(port, *cut(RIGHT_CHUNKS[name] + NEXT, 1), answers=2))


@pytest.mark.parametrize("size", [sized(H + b" \r\n"), sized(H + b" ;tea\r\n"), sized(H + b'; a = "b"\r\n')])
def test_blanks_after_a_chunks_size_are_nothing_or_refused(port, size):
    assert_refused_or_read(ask(port, size), 400)


def test_endless_extensions_end(port):
    """RFC 9112, 7.1.1: a server ought to limit them."""
    for piece in (b";" + b"x" * 2**16, b";a=b" * 2**14):
        head = message(LINE, JSON, CHUNKED, body=b"5")
        conversation = converse(port, head, *[piece] * 500)
        assert conversation.statuses and conversation.last.status in (400, 413, 431), str(conversation)
        assert conversation.sent < 2**24 and conversation.end in ("closed", "reset"), str(conversation)


def test_many_chunks_of_one_byte_with_extensions_end(port):
    """A megabyte of extensions for a few bytes of data is nobody's request."""
    body = b"".join(b"1;" + b"x" * 1000 + b"\r\n \r\n" for _ in range(3000))
    conversation = converse(port, message(LINE, JSON, CHUNKED, body=body))
    assert conversation.statuses and conversation.last.status in (400, 413, 431), str(conversation)
    assert conversation.end in ("closed", "reset"), str(conversation)


# Lines (RFC 9112, 2.2 and 5)


def raw(*lines: bytes, end: bytes = b"\r\n", body: bytes = BODY) -> bytes:
    return end.join([*lines, b"", b""]) + body


L, J, H_ = LENGTH.encode(), JSON.encode(), b"Host: localhost"
REQUEST_LINE = LINE.encode()
WRONG_LINES = {
    "a blank before the colon": raw(REQUEST_LINE, H_, J, b"Content-Length : %d" % N),
    "a tab before the colon": raw(REQUEST_LINE, H_, J, b"Content-Length\t: %d" % N),
    "a blank before the coding's colon": raw(REQUEST_LINE, H_, J, b"Transfer-Encoding : chunked", body=HIDDEN),
    "no colon": raw(REQUEST_LINE, H_, J, L, b"tea"),
    "no name": raw(REQUEST_LINE, H_, J, L, b": tea"),
    "a blank in a name": raw(REQUEST_LINE, H_, J, L, b"te a: b"),
    "a bracket in a name": raw(REQUEST_LINE, H_, J, L, b"te(a: b"),
    "a name of others": raw(REQUEST_LINE, H_, J, L, b"t\xc3\xa9: b"),
    "a null in a name": raw(REQUEST_LINE, H_, J, L, b"te\x00a: b"),
    "a bare CR before a name": raw(REQUEST_LINE, H_, J, L, b"\rTransfer-Encoding: chunked"),
    "a line end in a request line": raw(b"POST\r\n" + INFER.encode() + b" HTTP/1.1", H_, J, L),
    "a bare CR in the request line": raw(b"POST " + INFER.encode() + b"\rHTTP/1.1", H_, J, L),
    "a null in the target": raw(b"POST /v2\x00 HTTP/1.1", H_, J, L),
    "a blank in the target": raw(b"POST /v2 /models HTTP/1.1", H_, J, L),
    "no target": raw(b"POST HTTP/1.1", H_, J, L),
    "no method": raw(b" /v2 HTTP/1.1", H_, J, L),
    "a method of no token": raw(b"PO(ST /v2 HTTP/1.1", H_, J, L),
    "nothing after the target": raw(b"POST /v2 ", H_, J, L),
}


@pytest.mark.parametrize("name", WRONG_LINES)
def test_a_wrong_line_is_refused(port, name):
    assert_refused(ask(port, WRONG_LINES[name]), 400, 501, 505)
    assert_refused(converse(port, *cut(WRONG_LINES[name], 1), NEXT), 400, 501, 505)


DOUBTFUL_LINES = {
    # 5.2: MUST be refused, or the fold replaced by blanks.
    "a folded field": raw(REQUEST_LINE, H_, J, L, b"X-Tea: green", b" or black"),
    "a folded field by tab": raw(REQUEST_LINE, H_, J, L, b"X-Tea: green", b"\tor black"),
    "a folded length": raw(REQUEST_LINE, H_, J, b"Content-Length:", b" %d" % N),
    "a coding in a fold": raw(REQUEST_LINE, H_, J, L, b"X-Tea: green", b" Transfer-Encoding: chunked"),
    # 2.2: MUST be refused, or such lines be dropped.
    "a blank before the first field": raw(REQUEST_LINE, b" Transfer-Encoding: chunked", H_, J, L),
    # 2.2: a single LF MAY be a line's end.
    "bare LF throughout": raw(REQUEST_LINE, H_, J, L, end=b"\n"),
    "one bare LF": raw(REQUEST_LINE, H_ + b"\n" + J, L),
    "a bare LF at the end": REQUEST_LINE + b"\r\n" + H_ + b"\r\n" + J + b"\r\n" + L + b"\r\n\n" + BODY,
    # 2.2: a bare CR MUST be refused, or be a blank; 9110, 5.5: so are nulls.
    "a bare CR in a value": raw(REQUEST_LINE, H_, J, L, b"X-Tea: a\rTransfer-Encoding: chunked"),
    "a null in a value": raw(REQUEST_LINE, H_, J, L, b"X-Tea: a\x00b"),
    "a control in a value": raw(REQUEST_LINE, H_, J, L, b"X-Tea: a\x07b"),
    "blanks in the request line": raw(b"POST  " + INFER.encode() + b"  HTTP/1.1", H_, J, L),
    "a tab in the request line": raw(b"POST\t" + INFER.encode() + b" HTTP/1.1", H_, J, L),
    "a blank after the version": raw(REQUEST_LINE + b" ", H_, J, L),
    "bytes of others in a value": raw(REQUEST_LINE, H_, J, L, b"X-Tea: \xe7\xb7\x91\xff"),
}


@pytest.mark.parametrize("name", DOUBTFUL_LINES)
def test_a_doubtful_line_is_refused_or_read_in_one_way(port, name):
    whole = ask(port, DOUBTFUL_LINES[name])
    assert_refused_or_read(whole, 400, 501)
    pieces = converse(port, *cut(DOUBTFUL_LINES[name], 1), NEXT, answers=2)
    assert pieces.statuses == whole.statuses, f"{pieces} in pieces, {whole} in one"


@pytest.mark.parametrize("lines", [1, 2])
def test_empty_lines_before_a_request_are_nothing(port, lines):
    """2.2: a server SHOULD ignore at least one."""
    conversation = ask(port, b"\r\n" * lines + infer("doubtful") + b"\r\n" * lines)
    assert_read(conversation)
    assert_read(converse(port, b"\r\n" * lines, 0.02, infer("doubtful"), b"\r\n", NEXT, answers=2))


def test_a_body_may_end_in_silence(port):
    """What is short of its length is not answered as if it were whole."""
    short = message(LINE, JSON, f"Content-Length: {N + 1}", body=BODY)
    assert converse(port, short, answers=1, seconds=0.5).end == "timeout"
    conversation = converse(port, short, SHUT_WR)
    assert conversation.statuses in ([], [400]), str(conversation)
    assert conversation.end in ("closed", "reset")


@pytest.mark.parametrize("field", ["Content-Length", "Transfer-Encoding", "Host"])
@pytest.mark.parametrize("connection", ["{0}", "close, {0}", "keep-alive, {0}"])
def test_connection_does_not_take_the_framing_away(port, field, connection):
    """9110, 7.6.1: such fields end with this hop; this is the last one, so they still hold here."""
    request = infer_chunked if field == "Transfer-Encoding" else infer
    conversation = ask(port, request("doubtful", "Connection: " + connection.format(field)))
    if conversation.statuses == [400]:
        assert_refused(conversation, 400)
    else:
        assert conversation.ids == (["doubtful"] if "close" in connection else ["doubtful", "next"]), str(conversation)
