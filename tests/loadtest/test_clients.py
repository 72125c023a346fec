"""wrk's figures, and that it sends exactly the requests that it is given."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from loadtest import clients
from loadtest.service import ServiceError

OUTPUT = """Running 2s test @ http://127.0.0.1:9000/
  20000 requests in 2.00s, 3.13MB read
{"requests":20000,"seconds":2.0,"p50_ms":0.7,"p95_ms":1.1,"p99_ms":2.5,"max_ms":9.1,"not_200":0,"broken":1,"timed_out":2}
"""


def test_the_figures_of_wrk_are_in_its_last_line() -> None:
    result = clients.parse_wrk(OUTPUT, cpu_seconds=1.0)
    assert (result.rate, result.p99_ms, result.failed, result.generator_cores) == (10_000, 2.5, 3, 0.5)


def test_wrk_without_figures_says_why() -> None:
    with pytest.raises(ServiceError, match="Connection refused"):
        clients.parse_wrk("", "unable to connect to 127.0.0.1:1 Connection refused\n")


class Keeping(BaseHTTPRequestHandler):
    """A server that keeps what it gets."""

    protocol_version = "HTTP/1.1"
    bodies: ClassVar[set[tuple[str, bytes]]] = set()

    def do_POST(self) -> None:
        self.bodies.add((self.headers["X-Request-ID"], self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif("not __import__('shutil').which('wrk')", reason="wrk is not installed")
def test_every_request_arrives_as_it_is_whatever_its_bytes() -> None:
    contents = [b"7\n8\n", bytes(range(256)), b"", b"\n\n12"]
    whole = [
        b"POST /x HTTP/1.1\r\nHost: a\r\nX-Request-ID: %d\r\nContent-Length: %d\r\n\r\n" % (place, len(each)) + each
        for place, each in enumerate(contents)
    ]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Keeping)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with clients.request_file(whole) as file:
        result = clients.run_wrk(server.server_port, file, 2, 1)
    server.shutdown()
    server.server_close()
    assert result.requests > 4 and not result.failed
    assert Keeping.bodies == {(str(place), each) for place, each in enumerate(contents)}
