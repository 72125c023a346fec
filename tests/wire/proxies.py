"""nginx and HAProxy of Debian on loopback, each in front of a service, with connections to it that are kept alive."""

from __future__ import annotations

import contextlib
import getpass
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import free_port

NGINX = """
daemon off;
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  large_client_header_buffers 4 64k;
  upstream service {{
    server 127.0.0.1:{upstream};
    keepalive 64;
    keepalive_requests 100000;
  }}
  server {{
    listen 127.0.0.1:{port};
    keepalive_requests 100000;
    location / {{
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering {buffering};
      proxy_next_upstream off;
    }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive 60s
frontend front
  bind 127.0.0.1:{port}
  option forwardfor
  unique-id-format %{{+X}}o%ci%cp%rt
  unique-id-header X-Request-Id
  default_backend service
backend service
  http-reuse always
  retries 0
  server one 127.0.0.1:{upstream} maxconn 64
"""
# Name → the words of its command before the path of its configuration, and that configuration.
PROXIES = {
    "nginx": (["nginx", "-e", "stderr", "-c"], NGINX.replace("{buffering}", "on")),
    "nginx, unbuffered": (["nginx", "-e", "stderr", "-c"], NGINX.replace("{buffering}", "off")),
    "haproxy": (["haproxy", "-q", "-db", "-f"], HAPROXY),
}


@contextlib.contextmanager
def proxy(name: str, upstream: int, folder: Path) -> Iterator[int]:
    """The port of a proxy in front of this port of the service."""
    command, configuration = PROXIES[name]
    port = free_port()
    file = folder / "proxy.conf"
    file.write_text(configuration.format(user=getpass.getuser(), folder=folder, port=port, upstream=upstream))
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen([*command, str(file)], stdout=log, stderr=log)
    try:
        _wait(port, process, folder / "proxy.log")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the proxy does not listen: {log.read_text()}")
