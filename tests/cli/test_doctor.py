"""Each broken set-up is really built, and ``doctor`` finds and explains it, without changing anything."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from antigravity2api.checks import Port, Result
from antigravity2api.cli import look
from antigravity2api.configured import open_vault
from antigravity2api.credentials import Record, Sort
from antigravity2api.settings import load
from antigravity2api.store import database
from fakes.google_accounts import granted, refused
from fakes.upstream import Answer, Recorded, ScriptedUpstream, error, plain, reason_info

KEY = "a-key-that-nobody-may-see"
WORKING = {"models": [{"name": "models/gemini-2.5-flash"}]}


class Told(NamedTuple):
    """What ``doctor --json`` said."""

    code: int
    findings: list[dict[str, str]]
    text: str

    def of(self, check: str, subject: str | None = None) -> dict[str, str]:
        """The one finding of a check (and subject)."""
        found = [one for one in self.findings if one["check"] == check and subject in (None, one["subject"])]
        assert len(found) == 1, found
        return found[0]

    def problems(self) -> list[str]:
        return [one["check"] for one in self.findings if one["result"] == "problem"]


@pytest.fixture
def doctor(cli: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    """``doctor --json`` with settings by their variables."""

    def run(*arguments: str, **variables: str) -> Told:
        monkeypatch.setenv("ANTIGRAVITY2API_PORT", "0")
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        done = cli("doctor", "--json", *arguments)
        assert KEY not in done.out + done.err
        said = json.loads(done.out)
        told = Told(done.code, said["findings"], done.out)
        assert said["ok"] is (not told.problems())
        assert told.code == (1 if told.problems() else 0)
        assert all(one["next"] for one in told.findings if one["result"] == "problem")
        return told

    return run


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(plain(WORKING)) as running:
        yield running


@pytest.fixture
def gemini(doctor: Callable[..., Told], upstream: ScriptedUpstream) -> Callable[..., Told]:
    """``doctor`` with a Gemini API key for the scripted upstream."""

    def run(*arguments: str, **variables: str) -> Told:
        about = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": upstream.url} | variables
        return doctor(*arguments, **about)

    return run


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def tree(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a directory: mode, time of change and content."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


# -- a set-up that works -----------------------------------------------------------------------------------------------


def test_a_set_up_that_works_has_no_findings(gemini: Callable[..., Told]) -> None:
    told = gemini()
    assert told.code == 0
    assert {one["result"] for one in told.findings} <= {"ok", "skipped"}
    assert told.of("credential", "gemini-1")["result"] == "ok"


def test_no_generation_is_spent(gemini: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    gemini()
    assert upstream.requests
    assert not [one.target for one in upstream.requests if "enerateContent" in one.target]


def test_the_page_for_people(cli: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIGRAVITY2API_PORT", "0")
    done = cli("doctor", "--offline")
    assert done.code == 1
    assert "problem  upstreams: No upstream has a credential" in done.out
    assert "-> Set GEMINI_API_KEY" in done.out
    assert done.err == "1 problem, no warnings.\n"


def test_offline_asks_nobody(gemini: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    told = gemini("--offline")
    assert told.code == 0
    assert not upstream.requests
    assert told.of("credential", "gemini-1")["result"] == "skipped"


def test_wrong_use_is_exit_code_2(cli: Callable[..., Any], home: Path) -> None:
    assert cli("doctor", "--no-such-option").code == 2


# -- configuration -----------------------------------------------------------------------------------------------------


def test_an_unknown_setting(doctor: Callable[..., Told]) -> None:
    told = doctor(ANTIGRAVITY2API_PROT="8045")
    assert told.code == 1
    found = told.of("configuration")
    assert "ANTIGRAVITY2API_PROT" in found["meaning"] and "ANTIGRAVITY2API_PORT" in found["meaning"]


def test_what_serve_refuses_is_a_problem(gemini: Callable[..., Told]) -> None:
    told = gemini(ANTIGRAVITY2API_HOST="0.0.0.0")
    refused = next(one for one in told.findings if one["result"] == "problem")
    assert refused["check"] == "configuration"
    assert "no API key is configured" in refused["meaning"]


def test_no_upstream(doctor: Callable[..., Told]) -> None:
    found = doctor().of("upstreams")
    assert found["result"] == "problem"
    assert "GEMINI_API_KEY" in found["next"]


def test_antigravity_that_is_off_with_a_token(doctor: Callable[..., Told]) -> None:
    found = doctor(ANTIGRAVITY_ACCESS_TOKEN=KEY, ANTIGRAVITY_PROJECT="p").of("terms")
    assert found["result"] == "warning"
    assert "off" in found["meaning"] and "ANTIGRAVITY2API_ANTIGRAVITY=on" in found["next"]
    assert "suspended" in found["next"]


# -- this machine ------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken(gemini: Callable[..., Told]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        thread = threading.Thread(target=_hang_up, args=(taken,), daemon=True)
        thread.start()
        port = str(taken.getsockname()[1])
        found = gemini(ANTIGRAVITY2API_PORT=port, GOOGLE_API_KEY="")
        told = gemini("--port", port).of("port")
        with contextlib.suppress(OSError):
            taken.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert found.of("port")["result"] == told["result"] == "problem"
    assert f"listens at 127.0.0.1:{port}" in told["meaning"]
    assert "ANTIGRAVITY2API_PORT" in told["next"]


def _hang_up(server: socket.socket, words: bytes = b"") -> None:
    """Take connections, say something that fits to nothing, and close them."""
    with contextlib.suppress(OSError):
        while True:
            with server.accept()[0] as taken:
                taken.sendall(words)
                if words:
                    taken.recv(65536)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux tells who listens")
def test_the_program_at_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert f"process {os.getpid()}" in look.holder_of(taken.getsockname()[1])
    assert look.holder_of(free_port()) == ""


def test_a_gateway_that_runs_is_not_a_taken_port(gemini: Callable[..., Told]) -> None:
    def gateway(record: Recorded) -> Answer:
        live = record.target == "/health/live"
        return Answer(steps=(b'{"status":"live"}' if live else b'{"status":"ready"}',))

    with ScriptedUpstream(gateway) as running:
        found = gemini(ANTIGRAVITY2API_PORT=str(running.port)).of("port")
        assert (found["result"], "A gateway is running" in found["meaning"]) == ("ok", True)
        running.when(lambda record: record.target == "/health/ready", Answer(status=503))
        assert gemini(ANTIGRAVITY2API_PORT=str(running.port)).of("port")["result"] == "warning"


def test_an_address_of_another_machine() -> None:
    assert look.look_at_port("192.0.2.1", 0) is Port.FOREIGN
    assert look.look_at_port("no-such-name.invalid", 8045) is Port.UNKNOWN_NAME


def test_the_other_loopback_is_looked_at_too() -> None:
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        return  # a machine without IPv6: `serve` does without it as well
    with taken:
        assert look.look_at_port("127.0.0.1", taken.getsockname()[1]) is Port.TAKEN


def test_a_file_in_place_of_the_data_directory(gemini: Callable[..., Told], home: Path) -> None:
    (home / "data").write_text("no directory")
    found = gemini(ANTIGRAVITY2API_DATA_DIR=str(home / "data")).of("data directory")
    assert found["result"] == "problem"
    assert "is a file" in found["meaning"] and "--data-dir" in found["next"]


def test_a_data_directory_that_its_owner_may_not_read(gemini: Callable[..., Told], home: Path) -> None:
    folder = home / "data"
    folder.mkdir()
    folder.chmod(0)
    try:
        found = gemini(ANTIGRAVITY2API_DATA_DIR=str(folder)).of("data directory")
    finally:
        folder.chmod(0o700)
    assert found["result"] == "problem"
    assert "cannot be read" in found["meaning"] and "000" in found["meaning"]
    assert f"chmod 700 {folder}" in found["next"]


def test_a_data_directory_that_is_closed_to_this_user(
    gemini: Callable[..., Told], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "data"
    folder.mkdir(mode=0o700)
    real_stat, real_access = Path.stat, os.access

    def stat(self: Path, **options: Any) -> os.stat_result:
        if self.parent == folder:
            raise PermissionError(13, "Permission denied", str(self))
        return real_stat(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and real_access(path, mode))
    told = gemini(ANTIGRAVITY2API_DATA_DIR=str(folder))
    assert told.of("data directory")["result"] == told.of("database")["result"] == "problem"
    assert "Permission denied" in told.of("database")["meaning"]


def test_a_data_directory_that_this_user_may_not_write(
    gemini: Callable[..., Told], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "data"
    folder.mkdir(mode=0o700)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and real(path, mode))
    assert gemini(ANTIGRAVITY2API_DATA_DIR=str(folder)).of("data directory")["result"] == "problem"


def test_a_data_directory_that_cannot_be_made(gemini: Callable[..., Told], home: Path) -> None:
    (home / "file").write_text("")
    found = gemini(ANTIGRAVITY2API_DATA_DIR=str(home / "file" / "data")).of("data directory")
    assert found["result"] == "problem"
    assert "cannot be made" in found["meaning"]


def test_a_full_disk(gemini: Callable[..., Told], monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage("/")._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    found = gemini().of("disk")
    assert (found["result"], "full" in found["meaning"]) == ("problem", True)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full._replace(free=100 << 20))
    assert gemini().of("disk")["result"] == "warning"


# -- the database ------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a database in it."""
    folder = home / "data"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("ANTIGRAVITY2API_DATA_DIR", str(folder))
    database.upgrade(folder / "antigravity2api.db")
    return folder


def test_a_sound_database_is_left_as_it_is(gemini: Callable[..., Told], data: Path) -> None:
    before = tree(data)
    assert gemini().of("database")["result"] == "ok"
    assert tree(data) == before


def test_a_database_in_use_is_looked_at(gemini: Callable[..., Told], data: Path) -> None:
    with contextlib.closing(database.connect(data / "antigravity2api.db", busy=1)) as connection:
        connection.execute("CREATE TABLE more (x)")
        assert (data / "antigravity2api.db-wal").exists()
        assert gemini().of("database")["result"] == "ok"


@pytest.mark.parametrize("where", ["whole", "middle"])
def test_a_corrupt_database(gemini: Callable[..., Told], data: Path, where: str) -> None:
    path = data / "antigravity2api.db"
    content = path.read_bytes()
    path.write_bytes(os.urandom(8192) if where == "whole" else content[:4096] + b"\xff" * (len(content) - 4096))
    before = tree(data)
    found = gemini().of("database")
    assert found["result"] == "problem"
    assert "damaged" in found["meaning"] and "backup" in found["next"]
    assert tree(data) == before


def test_a_database_of_a_newer_release(gemini: Callable[..., Told], data: Path) -> None:
    with contextlib.closing(sqlite3.connect(data / "antigravity2api.db")) as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, 0)")
        connection.commit()
    found = gemini().of("database")
    assert (found["result"], "newer release" in found["meaning"]) == ("problem", True)


def test_a_database_of_another_program(gemini: Callable[..., Told], home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "other.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    found = gemini(ANTIGRAVITY2API_DATABASE_URL=f"sqlite:///{home}/other.db").of("database")
    assert (found["result"], "another program" in found["meaning"]) == ("problem", True)


# -- files with secrets ------------------------------------------------------------------------------------------------


def test_secret_files_that_others_can_read(gemini: Callable[..., Told], home: Path, data: Path) -> None:
    key = home / "key"
    key.write_text(KEY)
    key.chmod(0o644)
    (data / "secret.key").write_text("x" * 40)
    (data / "secret.key").chmod(0o640)
    told = gemini(GEMINI_API_KEY="", GEMINI_API_KEY_FILE=str(key))
    mine = told.of("secret files", str(key))
    assert (mine["result"], mine["next"]) == ("warning", f"`chmod 600 {key}`.")
    assert told.of("secret files", str(data / "secret.key"))["result"] == "problem"


def test_a_configuration_file_with_a_secret_that_others_can_read(
    gemini: Callable[..., Told], home: Path, data: Path
) -> None:
    config = data / "config.toml"
    config.write_text(f'gemini_api_key = "{KEY}"\n')
    config.chmod(0o644)
    assert gemini(GEMINI_API_KEY="").of("secret files", str(config))["result"] == "warning"
    config.chmod(0o600)
    assert gemini(GEMINI_API_KEY="").of("secret files")["result"] == "ok"


# -- the way to the upstreams ------------------------------------------------------------------------------------------


def test_a_name_without_address(gemini: Callable[..., Told]) -> None:
    told = gemini(GOOGLE_GEMINI_BASE_URL="http://no-such-host.invalid")
    found = told.of("dns")
    assert found["result"] == "problem"
    assert "no-such-host.invalid" in found["meaning"]
    assert "GOOGLE_GEMINI_BASE_URL" in found["next"] and "DNS" in found["next"]
    assert told.of("credential", "gemini-1")["result"] == "skipped"


def test_a_port_where_nobody_listens(gemini: Callable[..., Told]) -> None:
    found = gemini(GOOGLE_GEMINI_BASE_URL=f"http://127.0.0.1:{free_port()}").of("reach")
    assert found["result"] == "problem"
    assert "refused" in found["meaning"] and "ANTIGRAVITY2API_PROXY" in found["next"]


def test_a_proxy_that_does_not_run(gemini: Callable[..., Told]) -> None:
    found = gemini(ANTIGRAVITY2API_PROXY=f"http://me:{KEY}@127.0.0.1:{free_port()}").of("proxy")
    assert found["result"] == "problem"
    assert "refused" in found["meaning"] and "ANTIGRAVITY2API_PROXY" in found["next"]


@pytest.mark.parametrize(("status", "word"), [(403, "403"), (407, "407")])
def test_a_proxy_that_lets_nobody_through(gemini: Callable[..., Told], status: int, word: str) -> None:
    with ScriptedUpstream(Answer(status=status)) as proxy:
        found = gemini(ANTIGRAVITY2API_PROXY=proxy.url, GOOGLE_GEMINI_BASE_URL="https://gemini.invalid").of("proxy")
    assert (found["result"], word in found["meaning"]) == ("problem", True)


def test_a_proxy_that_wants_a_password_for_plain_http(gemini: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    with ScriptedUpstream(Answer(status=407)) as proxy:
        found = gemini(ANTIGRAVITY2API_PROXY=proxy.url).of("proxy")
    assert "user and a password" in found["meaning"]
    assert not upstream.requests


def test_a_proxy_whose_name_has_no_address(gemini: Callable[..., Told]) -> None:
    found = gemini(ANTIGRAVITY2API_PROXY="http://no-proxy.invalid:3128").of("dns")
    assert "no-proxy.invalid of the proxy" in found["meaning"]
    assert "ANTIGRAVITY2API_PROXY" in found["next"]


def test_a_proxy_that_works(gemini: Callable[..., Told]) -> None:
    with ScriptedUpstream(plain(WORKING)) as proxy:
        told = gemini(ANTIGRAVITY2API_PROXY=proxy.url, GOOGLE_GEMINI_BASE_URL="http://gemini.invalid")
        assert told.of("reach")["result"] == "warning"  # plain http to a host elsewhere
        assert told.of("credential", "gemini-1")["result"] == "ok"
        assert {one.target.partition("invalid")[0] for one in proxy.requests} == {"http://gemini."}


@pytest.mark.parametrize(("minutes", "result", "word"), [(20, "problem", "behind"), (-20, "problem", "ahead")])
def test_a_clock_that_is_wrong(
    gemini: Callable[..., Told], upstream: ScriptedUpstream, minutes: int, result: str, word: str
) -> None:
    there = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
    upstream.default = plain(WORKING, headers=(("Date", format_datetime(there, usegmt=True)),))
    found = gemini().of("clock")
    assert found["result"] == result
    assert f"20 minutes {word}" in found["meaning"] and "Google refuses" in found["meaning"]
    assert "timedatectl" in found["next"]


def test_a_clock_that_is_a_little_wrong_or_right(gemini: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    for seconds, result in ((0, "ok"), (120, "warning")):
        there = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
        upstream.default = plain(WORKING, headers=(("Date", format_datetime(there, usegmt=True)),))
        assert gemini().of("clock")["result"] == result


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A TLS server on loopback with a certificate of its own making: its root, and the file with its certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = tmp_path / "authority.pem", tmp_path / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve_tls, args=(server, context), daemon=True)
        thread.start()
        yield f"https://localhost:{server.getsockname()[1]}", public
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _serve_tls(server: socket.socket, context: ssl.SSLContext) -> None:
    body = json.dumps(WORKING).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    while True:
        try:
            plain_socket = server.accept()[0]
        except OSError:
            return
        with contextlib.suppress(OSError), context.wrap_socket(plain_socket, server_side=True) as tls:
            tls.settimeout(5)
            while not tls.recv(65536).endswith(b"\r\n\r\n"):
                pass
            tls.sendall(head % len(body) + body)


def test_a_certificate_that_is_not_trusted(gemini: Callable[..., Told], authority: tuple[str, Path]) -> None:
    found = gemini(GOOGLE_GEMINI_BASE_URL=authority[0]).of("tls")
    assert found["result"] == "problem"
    assert "does not trust" in found["meaning"] and "ANTIGRAVITY2API_CA_FILE" in found["next"]


def test_an_authority_that_the_operator_trusts(gemini: Callable[..., Told], authority: tuple[str, Path]) -> None:
    told = gemini(GOOGLE_GEMINI_BASE_URL=authority[0], ANTIGRAVITY2API_CA_FILE=str(authority[1]))
    assert told.of("reach")["result"] == "ok"
    assert told.of("credential", "gemini-1")["result"] == "ok"


def test_a_file_without_authorities(gemini: Callable[..., Told], home: Path) -> None:
    (home / "empty.pem").write_text("nothing")
    found = gemini(ANTIGRAVITY2API_CA_FILE=str(home / "empty.pem")).of("tls")
    assert (found["result"], "holds no certificate" in found["meaning"]) == ("problem", True)


def test_https_where_plain_http_is_spoken(gemini: Callable[..., Told]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_hang_up, args=(server, b"HTTP/1.1 400 Bad Request\r\n\r\n"), daemon=True)
        thread.start()
        found = gemini(GOOGLE_GEMINI_BASE_URL=f"https://127.0.0.1:{server.getsockname()[1]}").of("tls")
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert (found["result"], "handshake" in found["meaning"]) == ("problem", True)


# -- credentials -------------------------------------------------------------------------------------------------------


def test_a_wrong_key(gemini: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    upstream.default = error(
        400, "API key not valid. Please pass a valid API key.", details=[reason_info("API_KEY_INVALID")]
    )
    found = gemini().of("credential", "gemini-1")
    assert found["result"] == "problem"
    assert "key is wrong" in found["meaning"] and "GEMINI_API_KEY" in found["meaning"]
    assert "API key not valid" in found["meaning"]
    assert "https://aistudio.google.com/apikey" in found["next"]


def test_one_wrong_key_of_two(gemini: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    wrong = error(400, "API key not valid.", details=[reason_info("API_KEY_INVALID")])
    upstream.when(lambda record: record.header("x-goog-api-key") == "the-second-one", wrong)
    told = gemini(GEMINI_API_KEY=f"{KEY},the-second-one")
    assert told.of("credential", "gemini-1")["result"] == "ok"
    assert told.of("credential", "gemini-2")["result"] == "problem"


def test_a_spent_quota_is_a_warning(gemini: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    spent = error(429, "You exceeded your current quota.")
    upstream.when(lambda record: record.header("x-goog-api-key") is not None, spent)
    assert gemini().of("credential", "gemini-1")["result"] == "warning"


def _vertex(url: str) -> dict[str, str]:
    return {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_API_KEY": KEY, "GOOGLE_VERTEX_BASE_URL": url}


def test_a_missing_permission_on_vertex(doctor: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    detail = reason_info("IAM_PERMISSION_DENIED") | {"metadata": {"permission": "aiplatform.endpoints.predict"}}
    upstream.default = error(
        403,
        "Permission 'aiplatform.endpoints.predict' denied on resource "
        "'//aiplatform.googleapis.com/projects/p/locations/global/publishers/google/models/gemini-2.5-flash' "
        "(or it may not exist).",
        details=[detail],
    )
    found = doctor(**_vertex(upstream.url)).of("credential", "vertex-1")
    assert found["result"] == "problem"
    assert "lacks a permission on Vertex AI" in found["meaning"]
    assert "roles/aiplatform.user" in found["next"]


def _stored(record: Record) -> Record:
    """Add a credential to the store, as the commands do."""
    vault = open_vault(load({}, os.environ, Path.cwd()))
    made = vault.add(record)
    vault.close()
    return made


@pytest.fixture
def account(data: Path, monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream) -> str:
    """A stored Antigravity login whose token is over; the upstream is also the token endpoint."""
    monkeypatch.setenv("ANTIGRAVITY2API_ANTIGRAVITY", "on")
    monkeypatch.setenv("ANTIGRAVITY_BASE_URL", upstream.url)
    monkeypatch.setenv("GOOGLE_OAUTH_TOKEN_URL", f"{upstream.url}/token")
    monkeypatch.setenv("ANTIGRAVITY_OAUTH_CLIENT_ID", "our-client")
    monkeypatch.setenv("ANTIGRAVITY_OAUTH_CLIENT_SECRET", KEY)
    secret = {"refresh_token": f"{KEY}-refresh"}
    record = Record(id="", upstream="antigravity", sort=Sort.OAUTH_USER, secret=secret, project="bright-harbor-414")
    return _stored(record).id


def test_an_expired_login(doctor: Callable[..., Told], upstream: ScriptedUpstream, account: str, data: Path) -> None:
    upstream.when(
        lambda record: record.target == "/token",
        refused("invalid_grant", f"Token has been expired or revoked: {KEY}-refresh"),
    )
    told = doctor()
    found = told.of("credential", account)
    assert found["result"] == "problem"
    assert "login has expired" in found["meaning"]
    assert "antigravity2api login" in found["next"]


def test_asking_about_a_stored_credential_leaves_the_store_as_it_is(
    doctor: Callable[..., Told], upstream: ScriptedUpstream, account: str, data: Path
) -> None:
    upstream.when(lambda record: record.target == "/token", refused("invalid_grant"))
    before = tree(data)
    doctor()
    assert {name: found for name, found in tree(data).items() if not name.startswith("locks")} == before


def test_a_login_whose_refresh_token_is_replaced_while_we_look_is_not_lost(
    doctor: Callable[..., Told], upstream: ScriptedUpstream, account: str, data: Path
) -> None:
    upstream.when(lambda record: record.target == "/token", granted("ya29.new", refresh="1//0g-second"))
    upstream.default = plain({"currentTier": {"id": "free-tier"}, "cloudaicompanionProject": "p-1", "models": {}})
    assert doctor().of("credential", account)["result"] == "ok"
    vault = open_vault(load({}, os.environ, Path.cwd()))
    kept = vault.get(account)
    vault.close()
    assert kept is not None
    assert kept.secret["refresh_token"] == "1//0g-second"


def test_no_project(doctor: Callable[..., Told], upstream: ScriptedUpstream) -> None:
    upstream.default = plain({"currentTier": {"id": "free-tier"}, "allowedTiers": [{"id": "standard-tier"}]})
    told = doctor(ANTIGRAVITY2API_ANTIGRAVITY="on", ANTIGRAVITY_ACCESS_TOKEN=KEY, ANTIGRAVITY_BASE_URL=upstream.url)
    found = told.of("credential", "antigravity-1")
    assert found["result"] == "problem"
    assert "project" in found["meaning"] and "ANTIGRAVITY_PROJECT" in found["next"]
    assert told.of("terms")["result"] == "warning"


def test_a_stored_credential_whose_key_is_gone(doctor: Callable[..., Told], account: str, data: Path) -> None:
    (data / "secret.key").unlink()
    found = doctor("--offline").of("credential", account)
    assert found["result"] == "problem"
    assert "cannot be read" in found["meaning"] and "ANTIGRAVITY2API_SECRET_KEY" in found["next"]


# -- time --------------------------------------------------------------------------------------------------------------


def test_an_upstream_that_says_nothing_does_not_hold_up(
    gemini: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antigravity2api.cli.doctor._FETCH_LIMIT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = gemini(GOOGLE_GEMINI_BASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}").of("reach")
    assert (found["result"], "did not answer" in found["meaning"]) == ("problem", True)


def test_a_check_that_hangs_or_fails_does_not_hide_the_others(
    gemini: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr("antigravity2api.cli.doctor.LIMIT", 0.2)
    monkeypatch.setattr(look, "look_at_room", lambda path: release.wait(20))
    monkeypatch.setattr(look, "look_at_folder", lambda path: 1 / 0)
    told = gemini("--offline")
    release.set()
    assert "did not answer" in told.of("disk")["meaning"]
    assert "ZeroDivisionError" in told.of("data directory")["meaning"]
    assert told.of("database")["result"] == Result.OK
