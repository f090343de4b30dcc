"""The server answers those who know the token, on this computer, and nobody else."""

import gzip
import http.client
import socket
import stat
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from oncology.errors import ConfigError
from oncology.view.server import PageServer, doorway, network_address, new_token

PAGE = "<!DOCTYPE html><p>größer</p>"


@contextmanager
def serving(**options):
    with PageServer(PAGE, "secret", **options) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, path, method="GET", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_page_for_those_who_know_the_token():
    with serving(port=0) as server:
        assert server.address == f"http://127.0.0.1:{server.server_port}/?token=secret"
        answer, body = ask(server, "/?token=secret")
        assert (answer.status, body.decode()) == (200, PAGE)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        answer, body = ask(server, "/?token=secret", headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(body).decode() == PAGE
        answer, body = ask(server, "/?token=secret", "HEAD")
        assert (answer.status, body) == (200, b"")


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=Secret", "/?token=secre", "/secret", "/?token=%ff", "/x?y=secret"]
)
def test_others_are_refused(path):
    with serving(port=0) as server:
        answer, body = ask(server, path)
        assert answer.status == 403
        assert b"token" in body and PAGE.encode() not in body


def test_there_is_nothing_else_and_nothing_can_be_changed():
    with serving(port=0) as server:
        assert ask(server, "/etc/passwd?token=secret")[0].status == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert ask(server, "/?token=secret", method)[0].status == 501


def test_it_listens_on_this_computer_only():
    with PageServer(PAGE, "secret", port=0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_open_to_the_network_its_address_works_from_elsewhere():
    with serving(host="0.0.0.0", port=0) as server:
        place = urlsplit(server.address)
        assert place.hostname not in ("0.0.0.0", "127.0.0.1", "localhost")
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
        connection.request("GET", f"{place.path}?{place.query}")
        assert connection.getresponse().read().decode() == PAGE
        connection.close()


def test_without_a_network_the_name_of_the_computer_stands_in(monkeypatch):
    def unreachable(self, address):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("socket.socket.connect", unreachable)
    assert network_address() == socket.gethostname()


def test_the_doorway_leads_to_the_address_for_its_owner_alone():
    with doorway("http://127.0.0.1:1/?token=secret&x") as path:
        assert "secret" not in path.as_uri()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert 'url=http://127.0.0.1:1/?token=secret&amp;x"' in path.read_text()
    assert not path.parent.exists()


def test_a_taken_port_is_refused_if_it_was_asked_for_and_passed_over_if_not(monkeypatch):
    with PageServer(PAGE, "secret", port=0) as first:
        with pytest.raises(ConfigError, match=f"--port {first.server_port}"):
            PageServer(PAGE, "secret", port=first.server_port)
        monkeypatch.setattr("oncology.view.server.USUAL_PORT", first.server_port)
        with PageServer(PAGE, "secret") as second:
            assert second.server_port != first.server_port


def test_hosts_that_are_not_this_computer_are_refused():
    with pytest.raises(ConfigError, match=r"--host 192\.0\.2\.1"):
        PageServer(PAGE, "secret", host="192.0.2.1", port=0)


def test_tokens_are_long_and_never_the_same():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 22  # 128 bits in base64
