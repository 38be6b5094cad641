"""The way from an operator's command to a controller, and what does not come along on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasuki.errors import SettingsError, TransportError
from tasuki_cli.client import ControllerClient

TOKEN = "hunter2"  # noqa: S105 - no secret
VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class Listener(ThreadingHTTPServer):
    """Answers that there are no runs, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        self._answer(json.dumps({"runs": []}).encode())

    def do_CONNECT(self) -> None:
        self._answer(b"", status=403)

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""

    def _answer(self, body: bytes, *, status: int = 200) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    """A controller and a proxy."""
    both = [Listener(), Listener()]
    for each in both:
        threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True).start()
    yield both
    for each in both:
        each.shutdown()
        each.server_close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def proxy_for_all(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_proxy_of_the_environment_never_sees_the_token(
    listeners: list[Listener], token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: where http_proxy was set for everybody, requests for 127.0.0.1 went to the proxy."""
    controller, proxy = listeners
    proxy_for_all(monkeypatch, proxy.url)
    assert [] == list(ControllerClient(controller.url, token).runs())
    assert ([("/runs", f"Bearer {TOKEN}")], []) == (controller.asked, proxy.asked)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_controller_elsewhere_is_not_asked_by_a_proxy_that_nobody_named(
    listeners: list[Listener], token: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy = listeners[1]
    proxy_for_all(monkeypatch, proxy.url)
    with pytest.raises(TransportError, match=r"is not heeded.*--proxy"):
        ControllerClient(f"{scheme}://controller.invalid:8470", token).runs()
    assert [] == proxy.asked


def test_a_proxy_that_is_named_is_used(listeners: list[Listener], token: Path) -> None:
    controller, proxy = listeners
    ControllerClient(controller.url, token, proxy=proxy.url).runs()
    assert [f"{controller.url}/runs"] == [path for path, _ in proxy.asked]
    assert [] == controller.asked


def test_a_token_for_a_tls_controller_passes_a_proxy_unread(
    listeners: list[Listener], token: Path
) -> None:
    proxy = listeners[1]
    with pytest.raises(TransportError):
        ControllerClient("https://controller.invalid", token, proxy=proxy.url).runs()
    assert [("controller.invalid:443", None)] == proxy.asked


def test_a_netrc_does_not_take_the_token_s_place(
    listeners: list[Listener], token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, _ = listeners
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    ControllerClient(controller.url, token).runs()
    assert [("/runs", f"Bearer {TOKEN}")] == controller.asked


@pytest.mark.parametrize("broken", ["://", "http://[::1", "socks9://x:1", "http://p:99999", "p:x"])
def test_a_broken_proxy_variable_keeps_nobody_from_the_controller(
    listeners: list[Listener], token: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Bug: it was a traceback."""
    proxy_for_all(monkeypatch, broken)
    assert [] == list(ControllerClient(listeners[0].url, token).runs())


WRONG = [
    "127.0.0.1:8470",
    "ftp://controller",
    "http://",
    "http://controller:99999",
    "http://controller:port",
    "http://controller:0",
    "http://[::1",
    "http://[fe80::1%25eth0]:8470",
    "http://con troller",
    "http://controller/?run=a",
    "http://operator:hunter2@controller",
]


@pytest.mark.parametrize("url", WRONG)
@pytest.mark.parametrize("option", ["--controller", "--proxy"])
def test_a_wrong_address_is_told_by_its_option_and_without_a_password(
    token: Path, option: str, url: str
) -> None:
    """Bug: ports and hosts that cannot be were tracebacks of the library's."""
    named = {"--controller": "http://127.0.0.1:8470", "--proxy": None, option: url}
    with pytest.raises(SettingsError) as raised:
        ControllerClient(str(named["--controller"]), token, proxy=named["--proxy"])
    assert str(raised.value).startswith(option)
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://[::1]:8470", "https://controller.example/tasuki"])
def test_an_address_may_be_of_ipv6_or_have_a_path(token: Path, url: str) -> None:
    ControllerClient(url, token).close()


def test_certificates_that_the_environment_names_and_that_are_none_are_one_line(
    token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(SettingsError, match="SSL_CERT_FILE"):
        ControllerClient("https://controller.example", token)


@pytest.mark.parametrize("content", ["\ufeffhunter2\r\n", " hunter2"])
def test_what_an_editor_adds_is_no_part_of_the_token(
    listeners: list[Listener], token: Path, content: str
) -> None:
    """Bug: a byte order mark was sent along."""
    token.write_bytes(content.encode())
    ControllerClient(listeners[0].url, token).runs()
    assert [("/runs", f"Bearer {TOKEN}")] == listeners[0].asked


@pytest.mark.parametrize("content", ["hünter2", "a\x00b", "one\ntwo"])
def test_a_token_that_cannot_be_one_is_told_without_showing_it(token: Path, content: str) -> None:
    token.write_text(content)
    with pytest.raises(SettingsError, match="--token-file") as raised:
        ControllerClient("http://127.0.0.1:8470", token)
    assert content not in str(raised.value)
