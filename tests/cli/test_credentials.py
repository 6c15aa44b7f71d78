"""``credentials``: every verb, what it prints, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import stat
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from antigravity2api.configured import open_vault
from antigravity2api.credentials import NAMED, UNCHECKED, CoolDown, State
from antigravity2api.settings import load
from antigravity2api.store import database
from antigravity2api.upstreams import locks

KEY = "AIza-planted-0123456789"
ACCOUNTS = [
    {"access_token": "ya29.a", "refresh_token": "1//a", "expires_in": 3599, "timestamp": 1, "projectId": "bold-owl-1"},
    {"access_token": "ya29.b", "refresh_token": "1//b", "expires_in": 3599, "timestamp": 1, "enable": False},
]
SERVICE = {
    "type": "service_account",
    "project_id": "some-project",
    "private_key": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
    "client_email": "bot@example.com",
    "token_uri": "https://oauth2.googleapis.com/token",
}


@pytest.fixture
def data(home):
    return home / ".local/share/antigravity2api"


@pytest.fixture
def vault(home, data):
    """The store as the gateway would open it."""
    made = []

    def open_it():
        made.append(open_vault(load({}, {"HOME": str(home)}, home)))
        return made[-1]

    yield open_it
    for one in made:
        one.close()


@pytest.fixture
def stdin(monkeypatch):
    def give(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return give


@pytest.fixture
def two(cli, home):
    """A Gemini key and an Antigravity account."""
    (home / "key").write_text(f"{KEY}\n")
    (home / "accounts.json").write_text(json.dumps(ACCOUNTS[:1]))
    cli("credentials", "add", "--upstream", "gemini", "--key-file", "key", "--label", "first")
    cli("credentials", "import", "accounts.json", "--upstream", "antigravity")


def listed(cli) -> dict[str, dict]:
    done = cli("credentials", "list", "--json")
    return {row["id"]: row for row in json.loads(done.out)["credentials"]}


# --- list ------------------------------------------------------------------------------------------------------------


def test_nothing_is_there_and_nothing_is_made(cli, data):
    done = cli("credentials", "list")
    assert (done.code, done.out) == (0, "")
    assert "credentials add" in done.err
    assert json.loads(cli("credentials", "list", "--json").out) == {"credentials": [], "problems": []}
    assert not data.exists()


def test_list_shows_configured_and_stored_ones(cli, two, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-of-the-environment")
    done = cli("credentials", "list")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["ID", "UPSTREAM", "KIND", "ACCOUNT", "STATE", "PROJECT", "SOURCE", "CHANGED"]
    assert lines[1].split()[:3] == ["gemini-2", "gemini", "API"]
    assert "GEMINI_API_KEY (environment)" in lines[1]
    assert "bold-owl-1 (unchecked)" in lines[3]
    rows = listed(cli)
    assert list(rows) == ["gemini-2", "gemini-1", "antigravity-1"]
    assert (rows["gemini-1"]["source"], rows["gemini-1"]["stored"], rows["gemini-1"]["label"]) == (
        "stored",
        True,
        "first",
    )
    for secret in (KEY, "AIza-of-the-environment", "ya29.a", "1//a"):
        assert secret not in done.out
        assert secret not in json.dumps(rows)


def test_states_in_words(cli, two, vault):
    store = vault()
    store.change("gemini-1", enabled=False)
    store.change("antigravity-1", state=State.NEEDS_VERIFICATION, message="Verify it", link="https://verify.example/")
    out = cli("credentials", "list").out
    assert "disabled" in out
    assert "needs verification: https://verify.example/" in out
    assert "antigravity-1: Verify it" in out
    assert listed(cli)["antigravity-1"]["state"] == "needs_verification"


def test_cool_downs_are_shown(cli, two, data):
    row = CoolDown("gemini-1", "", 4_000_000_000.0, 1, "spent: quota", 1e9)
    connection = database.connect(data / "antigravity2api.db", busy=1)
    connection.execute(
        "INSERT INTO cooldowns VALUES (?, ?, strftime('%s', 'now') + 600, 1, ?, strftime('%s', 'now'))",
        (row.credential, row.scope, row.reason),
    )
    connection.close()
    found = listed(cli)["gemini-1"]
    assert found["words"].startswith("cooling until ")
    assert found["cooling"][0]["scope"] == ""


# --- add -------------------------------------------------------------------------------------------------------------


def test_a_key_from_stdin(cli, stdin, data):
    stdin(f"{KEY}\n")
    done = cli("credentials", "add", "--upstream", "gemini", "--key-file", "-", "--weight", "3", "--priority", "-1")
    assert (done.code, done.out, done.err) == (0, "gemini-1: added (API key)\n", "")
    row = listed(cli)["gemini-1"]
    assert (row["weight"], row["priority"], row["kind"]) == (3, -1, "api_key")
    assert {stat.S_IMODE(file.stat().st_mode) for file in data.iterdir()} == {0o600}
    assert KEY.encode() not in b"".join(file.read_bytes() for file in data.iterdir())


def test_several_keys_of_a_file(cli, home):
    (home / "keys").write_text("\ufeffkey-one\nkey-two\n")
    done = cli("credentials", "add", "--upstream", "gemini", "--key-file", "keys", "--json")
    assert [row["id"] for row in json.loads(done.out)["credentials"]] == ["gemini-1", "gemini-2"]
    assert cli("credentials", "add", "--upstream", "gemini", "--key-file", "keys", "--label", "x").code == 2


def test_the_same_key_again_is_the_same_credential(cli, two, home):
    done = cli("credentials", "add", "--upstream", "gemini", "--key-file", "key", "--json")
    assert json.loads(done.out)["credentials"][0]["outcome"] == "updated"
    assert len(listed(cli)) == 2


def test_a_key_that_is_configured_is_not_stored_too(cli, home, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    (home / "key").write_text(KEY)
    done = cli("credentials", "add", "--upstream", "gemini", "--key-file", "key")
    assert (done.code, done.out) == (1, "")
    assert "gemini-1, from GEMINI_API_KEY" in done.err


def test_vertex_credentials(cli, home):
    (home / "sa.json").write_text(json.dumps(SERVICE))
    assert (
        cli("credentials", "add", "--upstream", "vertex", "--key-file", "sa.json", "--location", "europe-west4").code
        == 0
    )
    (home / "express").write_text("AQ.express")
    assert cli("credentials", "add", "--upstream", "vertex", "--express-key-file", "express").code == 0
    done = cli("credentials", "add", "--upstream", "vertex", "--adc")
    assert done.code == 0
    assert "names no project" in done.err
    rows = listed(cli)
    assert [row["kind"] for row in rows.values()] == ["service_account", "express_key", "application_default"]
    assert (rows["vertex-1"]["project"], rows["vertex-1"]["location"]) == ("some-project", "europe-west4")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--upstream", "gemini"), "required"),
        (("--upstream", "gemini", "--adc"), "--upstream vertex"),
        (("--upstream", "gemini", "--express-key-file", "key"), "--upstream vertex"),
        (("--upstream", "antigravity", "--key-file", "key"), "login"),
        (("--upstream", "other", "--key-file", "key"), "--upstream cannot be 'other'. It is one of: gemini"),
        (("--upstream", "gemini", "--key-file", "nowhere"), "cannot read nowhere"),
        (("--upstream", "gemini", "--key-file", "."), "cannot read"),
        (("--upstream", "gemini", "--key-file", "key", "--weight", "0"), "1 to 100"),
        (("--upstream", "vertex", "--adc", "--project", "a b"), "project id"),
    ],
)
def test_wrong_ways_to_add(cli, home, words, said):
    (home / "key").write_text(KEY)
    done = cli("credentials", "add", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize("secret", ["AIzaSyA-0123456789", "ya29.0123456789", "1//0123456789", '{"type":"x"}'])
def test_a_secret_in_place_of_a_file_is_not_repeated(cli, secret):
    done = cli("credentials", "add", "--upstream", "gemini", "--key-file", secret)
    assert done.code == 2
    assert "a secret was given" in done.err
    assert secret not in done.err


@pytest.mark.parametrize(("content", "said"), [("", "is empty"), ("a b", "holds no key"), ('{"a": 1}', "is JSON")])
def test_a_file_without_a_key(cli, home, content, said):
    (home / "key").write_text(content)
    done = cli("credentials", "add", "--upstream", "gemini", "--key-file", "key")
    assert (done.code, done.out) == (1, "")
    assert said in done.err


# --- import ----------------------------------------------------------------------------------------------------------


def test_import_of_the_ancestors_accounts(cli, home):
    (home / "accounts.json").write_text(json.dumps(ACCOUNTS))
    done = cli("credentials", "import", "accounts.json", "--upstream", "antigravity")
    assert done.code == 0
    assert done.out == "antigravity-1: added (OAuth user)\nantigravity-2: added (OAuth user, disabled)\n"
    assert "stays off until ANTIGRAVITY2API_ANTIGRAVITY=on" in done.err
    assert "ANTIGRAVITY_OAUTH_CLIENT_ID" in done.err
    again = json.loads(cli("credentials", "import", "accounts.json", "--upstream", "antigravity", "--json").out)
    assert [row["outcome"] for row in again["credentials"]] == ["updated", "updated"]
    assert len(listed(cli)) == 2


def test_an_account_once_more_waits_for_who_renews_it(cli, home, vault, monkeypatch):
    (home / "accounts.json").write_text(json.dumps(ACCOUNTS))
    cli("credentials", "import", "accounts.json", "--upstream", "antigravity")
    newer = [one | {"access_token": f"{one['access_token']}-newer"} for one in ACCOUNTS]
    (home / "accounts.json").write_text(json.dumps(newer))
    taken = []

    @contextlib.asynccontextmanager
    async def held(folder, name, *, limit):
        taken.append((folder.name, name, vault().get(name).secret["access_token"]))
        yield True
        assert vault().get(name).secret["access_token"].endswith("-newer")

    monkeypatch.setattr(locks, "locked", held)
    assert cli("credentials", "import", "accounts.json", "--upstream", "antigravity").code == 0
    assert taken == [("locks", "antigravity-1", "ya29.a"), ("locks", "antigravity-2", "ya29.b")]


def test_no_remark_where_everything_is_configured(cli, home, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_ANTIGRAVITY", "on")
    monkeypatch.setenv("ANTIGRAVITY_OAUTH_CLIENT_ID", "ours")
    (home / "accounts.json").write_text(json.dumps(ACCOUNTS))
    assert cli("credentials", "import", "accounts.json", "--upstream", "antigravity").err == ""


def test_import_from_stdin(cli, stdin):
    stdin(json.dumps(SERVICE))
    done = cli("credentials", "import", "-", "--upstream", "vertex", "--json")
    assert json.loads(done.out)["credentials"][0]["label"] == "bot@example.com"


def test_one_bad_entry_is_said_and_the_others_are_stored(cli, home):
    (home / "accounts.json").write_text(json.dumps([{"x": 1}, ACCOUNTS[0]]))
    done = cli("credentials", "import", "accounts.json", "--upstream", "antigravity", "--json")
    report = json.loads(done.out)
    assert done.code == 1
    assert [row["id"] for row in report["credentials"]] == ["antigravity-1"]
    assert report["problems"][0].startswith("accounts.json: entry 1 ")


@pytest.mark.parametrize("raw", [b"", b'[{"refresh_token": "1//a', b"\xff\xfe{\0", b"not json"])
def test_a_broken_file_is_one_sentence_and_changes_nothing(cli, home, raw):
    (home / "accounts.json").write_bytes(raw)
    done = cli("credentials", "import", "accounts.json", "--upstream", "antigravity")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: accounts.json is ")
    assert done.err.count("\n") == 1
    assert listed(cli) == {}


def test_wrong_ways_to_import(cli, home):
    (home / "accounts.json").write_text(json.dumps(ACCOUNTS))
    assert cli("credentials", "import", "nowhere.json", "--upstream", "antigravity").code == 2
    done = cli("credentials", "import", "accounts.json")
    assert done.code == 2
    assert "--upstream antigravity" in done.err


# --- enable, disable, set, remove ------------------------------------------------------------------------------------


def test_disable_and_enable(cli, two, vault):
    assert cli("credentials", "disable", "gemini-1", "antigravity-1").code == 0
    assert [row["enabled"] for row in listed(cli).values()] == [False, False]
    done = cli("credentials", "enable", "gemini-1", "--json")
    assert json.loads(done.out)["credentials"][0]["state"] == "ready"
    assert [row["enabled"] for row in listed(cli).values()] == [True, False]
    assert [record.enabled for record in vault().records()] == [True, False]


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (State.DISABLED_BY_TERMS, "ready"),
        (State.NEEDS_VERIFICATION, "ready"),
        (State.NO_PROJECT, "ready"),
        (State.NEEDS_LOGIN, "needs_login"),
    ],
)
def test_enable_says_that_something_was_mended(cli, two, vault, state, after):
    vault().change("antigravity-1", state=state, message="no", link="https://x/")
    cli("credentials", "enable", "antigravity-1")
    row = listed(cli)["antigravity-1"]
    assert row["state"] == after
    assert bool(row["message"]) is (after != "ready")


def test_enable_mends_a_key_that_no_login_could(cli, two, vault):
    vault().change("gemini-1", state=State.NEEDS_LOGIN, message="API key expired.")
    cli("credentials", "enable", "gemini-1")
    row = listed(cli)["gemini-1"]
    assert (row["state"], row["message"]) == ("ready", "")


def test_set(cli, two, vault):
    vault().change("antigravity-1", state=State.NO_PROJECT, secret={"project_unverified": None})
    done = cli("credentials", "set", "antigravity-1", "--label", "mine", "--weight", "9", "--project", "other-project")
    assert done.code == 0
    row = listed(cli)["antigravity-1"]
    assert (row["label"], row["weight"], row["project"], row["state"]) == ("mine", 9, "other-project", "ready")
    assert row["project_checked"] is False
    assert vault().get("antigravity-1").secret[UNCHECKED] == NAMED, "the operator's word, not a file's"
    assert cli("credentials", "set", "gemini-1").code == 2
    assert cli("credentials", "set", "gemini-1", "--weight", "1000").code == 2


def test_remove(cli, two):
    done = cli("credentials", "remove", "gemini-1", "--yes", "--json")
    assert json.loads(done.out) == {"removed": ["gemini-1"]}
    assert list(listed(cli)) == ["antigravity-1"]


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_terminal_is_asked_first(cli, two, monkeypatch, answer, gone):
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    done = cli("credentials", "remove", "gemini-1")
    assert "cannot be undone" in done.err
    assert done.code == (0 if gone else 1)
    assert ("gemini-1" in listed(cli)) is not gone


@pytest.mark.parametrize("verb", ["enable", "disable", "remove", "set"])
def test_what_is_not_stored_cannot_be_changed(cli, two, monkeypatch, verb):
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-of-the-environment")
    more = ("--weight", "2") if verb == "set" else ()
    done = cli("credentials", verb, "gemini-2", *more)
    assert done.code == 2
    assert "comes from GEMINI_API_KEY" in done.err
    done = cli("credentials", verb, "gemini-x", *more)
    assert done.code == 2
    assert "Did you mean gemini-" in done.err


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_export_takes_json_as_every_command_that_prints_data(cli, two):
    done = cli("credentials", "export", "gemini-1", "--yes", "--json")
    assert (done.code, json.loads(done.out)["upstream"]) == (0, "gemini")


def test_export_only_on_purpose_and_in_a_form_that_import_reads(cli, two, home):
    refused = cli("credentials", "export", "gemini-1")
    assert (refused.code, refused.out) == (2, "")
    done = cli("credentials", "export", "gemini-1", "antigravity-1", "--yes")
    entries = json.loads(done.out)
    assert entries[0]["secret"] == {"key": KEY}
    (home / "export.json").write_text(done.out)
    before = listed(cli)
    cli("credentials", "remove", "gemini-1", "antigravity-1", "--yes")
    assert cli("credentials", "import", "export.json").code == 0
    assert [row["label"] for row in listed(cli).values()] == [row["label"] for row in before.values()]


def test_rotate_the_key_of_a_file(cli, two, data):
    before = (data / "secret.key").read_text()
    done = cli("credentials", "rotate-key", "--json")
    assert (done.code, json.loads(done.out)) == (0, {"encrypted": 2, "problems": []})
    assert (data / "secret.key").read_text() != before
    assert "old key" in done.err
    assert cli("credentials", "list").code == 0
    assert len(listed(cli)) == 2


def test_rotate_a_configured_key(cli, home, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_SECRET_KEY", "the-first-passphrase")
    (home / "key").write_text(KEY)
    (home / "new").write_text("the-second-passphrase\n")
    cli("credentials", "add", "--upstream", "gemini", "--key-file", "key")
    refused = cli("credentials", "rotate-key")
    assert refused.code == 2
    assert "--new-key-file" in refused.err
    done = cli("credentials", "rotate-key", "--new-key-file", "new")
    assert done.code == 0
    assert "ANTIGRAVITY2API_SECRET_KEY (environment)" in done.err
    old = cli("credentials", "list")
    assert old.code == 1
    assert "gemini-1 cannot be read" in old.err
    monkeypatch.setenv("ANTIGRAVITY2API_SECRET_KEY", "the-second-passphrase")
    assert cli("credentials", "list").code == 0


def test_rotate_a_configured_key_of_a_file(cli, home, monkeypatch):
    (home / "configured").write_text("the-first-passphrase\n")
    monkeypatch.setenv("ANTIGRAVITY2API_SECRET_KEY_FILE", "configured")
    (home / "key").write_text(KEY)
    (home / "new").write_text("the-second-passphrase\n")
    cli("credentials", "add", "--upstream", "gemini", "--key-file", "key")
    running = open_vault(load({}, {"HOME": str(home), "ANTIGRAVITY2API_SECRET_KEY_FILE": "configured"}, home))
    (known,) = running.records()
    done = cli("credentials", "rotate-key", "--new-key-file", "new")
    assert done.code == 0
    assert "takes it up by itself" in done.err
    assert running.records() == [known]
    (home / "new").rename(home / "configured")
    assert running.change("gemini-1", label="changed").label == "changed"
    assert running.problems() == []
    running.close()
    assert listed(cli)["gemini-1"]["label"] == "changed"


def test_from_a_key_file_to_a_configured_key(cli, two, data, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_SECRET_KEY", "a-passphrase-of-some-length")
    assert cli("credentials", "rotate-key").code == 0
    (data / "secret.key").unlink()
    assert cli("credentials", "list").code == 0


def test_rotation_of_nothing(cli, data):
    done = cli("credentials", "rotate-key")
    assert done.code == 0
    assert "Nothing is stored" in done.err
    assert not data.exists()


@pytest.mark.parametrize("content", [b"short", b"has blanks in it but is long", b"\xff\xfe" * 20])
def test_a_new_key_that_is_none(cli, two, home, content):
    (home / "new").write_bytes(content)
    assert cli("credentials", "rotate-key", "--new-key-file", "new").code == 2
    assert cli("credentials", "rotate-key", "--new-key-file", "nowhere").code == 2


def test_a_short_configured_key_is_refused(cli, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_SECRET_KEY", "short")
    done = cli("credentials", "list")
    assert done.code == 2
    assert "16 or more characters" in done.err


def test_a_key_file_that_others_can_read_is_refused(cli, two, data, monkeypatch):
    (data / "secret.key").chmod(0o644)
    done = cli("credentials", "list")
    assert done.code == 2
    assert "chmod 600" in done.err
    monkeypatch.setenv("ANTIGRAVITY2API_OPEN_SECRET_FILES", "on")
    assert cli("credentials", "list").code == 0


def test_an_unreadable_credential_is_named_and_can_be_removed(cli, two, data):
    (data / "secret.key").unlink()
    done = cli("credentials", "list")
    assert done.code == 1
    assert "gemini-1 cannot be read" in done.err
    assert "is missing" in done.err
    assert cli("credentials", "disable", "gemini-1").code == 2
    assert cli("credentials", "remove", "gemini-1", "antigravity-1", "--yes").code == 0
    assert cli("credentials", "list").code == 0


def test_the_snapshot_can_be_imported(cli, two, data, home):
    snapshot = data / "antigravity2api.db.credentials.bak"
    copy = home / "copy.bak"
    copy.write_bytes(snapshot.read_bytes())
    cli("credentials", "remove", "gemini-1", "--yes")
    done = cli("credentials", "import", str(copy))
    assert done.code == 0
    assert done.out == "gemini-1: added (API key first)\nantigravity-1: is there already (OAuth user)\n"
    copy.write_bytes(copy.read_bytes()[:-10])
    assert cli("credentials", "import", str(copy)).code == 1


def test_a_damaged_database_gives_its_credentials_to_a_new_one(cli, two, data):
    path = data / "antigravity2api.db"
    path.write_bytes(b"damaged" * 1000)
    done = cli("credentials", "list")
    assert done.code == 0
    assert "gemini-1" in done.out
    assert "2 stored credentials were taken over" in done.err


def test_a_new_database_says_that_it_begins_with_the_snapshot(cli, two, data):
    for file in data.glob("antigravity2api.db*"):
        if not file.name.endswith(".bak"):
            file.unlink()
    assert "begins with the credentials in" in cli("db", "upgrade").err
    assert list(listed(cli)) == ["gemini-1", "antigravity-1"]


def test_a_backup_holds_the_credentials(cli, two, data, home):
    assert cli("db", "backup", "copy.db").code == 0
    for file in data.glob("antigravity2api.db*"):
        file.unlink()
    (home / "copy.db").rename(data / "antigravity2api.db")
    assert list(listed(cli)) == ["gemini-1", "antigravity-1"]


# --- asking the upstreams --------------------------------------------------------------------------------------------


@dataclass
class Finding:
    ok: bool
    state: State
    message: str = ""
    link: str = ""
    project: str | None = None
    seconds: float = 0.25
    tier: str = ""


@dataclass
class Quota:
    id: str
    remaining: float | None = None
    reset: float | None = None
    amount: int | None = None
    unit: str = ""
    title: str = ""


@dataclass
class QuotaView:
    rows: tuple[Quota, ...]
    source: str
    fetched_at: float
    failed: bool = False


@pytest.fixture
def probes(monkeypatch):
    """The upstreams' answers, by credential."""
    findings: dict[str, Finding] = {}
    views: dict[str, QuotaView] = {}

    async def probe(settings, record):
        await asyncio.sleep(0)
        return findings[record.id]

    async def quota(settings, record):
        await asyncio.sleep(0)
        return views[record.id]

    module = types.ModuleType("antigravity2api.probe")
    vars(module).update(probe=probe, quota=quota, Finding=Finding, QuotaView=QuotaView)
    monkeypatch.setitem(sys.modules, "antigravity2api.probe", module)
    return findings, views


def test_credentials_are_tested(cli, two, probes):
    findings, _ = probes
    findings["gemini-1"] = Finding(ok=True, state=State.READY)
    findings["antigravity-1"] = Finding(False, State.NEEDS_VERIFICATION, "Verify it", "https://verify.example/", "p")
    done = cli("credentials", "test")
    assert done.code == 1
    assert "gemini-1       works" in done.out
    assert "needs verification" in done.out
    assert "https://verify.example/" in done.out
    done = cli("credentials", "test", "gemini-1", "--json")
    assert done.code == 0
    assert json.loads(done.out)["credentials"] == [
        {
            "id": "gemini-1",
            "upstream": "gemini",
            "ok": True,
            "state": "ready",
            "message": "",
            "link": "",
            "project": None,
            "tier": "",
            "seconds": 0.25,
        }
    ]
    assert cli("credentials", "test", "nobody").code == 2
    assert listed(cli)["antigravity-1"]["state"] == "needs_verification"
    findings["antigravity-1"] = Finding(ok=True, state=State.READY)
    assert cli("credentials", "test").code == 0
    assert listed(cli)["antigravity-1"]["state"] == "ready"


@pytest.mark.parametrize("identity", ["gemini-1", "antigravity-1"])
def test_a_refusal_that_may_pass_is_shown_and_not_stored(cli, two, probes, identity):
    """A state keeps a credential from being asked while others can; a test of one moment is no reason for that. That
    a login is dead is written down by who asked for its token."""
    findings, _ = probes
    findings[identity] = Finding(ok=False, state=State.NEEDS_LOGIN, message="API key not valid.")
    done = cli("credentials", "test", identity)
    assert done.code == 1
    assert "needs login" in done.out
    assert listed(cli)[identity]["state"] == "ready"


def test_what_cannot_be_read_cannot_be_tested(cli, two, probes, data):
    (data / "secret.key").unlink()
    for verb in ("test", "quota"):
        done = cli("credentials", verb)
        assert done.code == 1
        assert "gemini-1 cannot be read" in done.err and "secret.key is missing" in done.err
        assert "no credential" not in done.err


def test_one_that_cannot_be_read_is_told_beside_the_others(cli, two, probes, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-of-the-environment")
    monkeypatch.setenv("ANTIGRAVITY2API_SECRET_KEY", "another-key-of-somebody")
    Path(".local/share/antigravity2api/secret.key").unlink()
    probes[0]["gemini-1"] = Finding(ok=True, state=State.READY)
    done = cli("credentials", "test", "--json")
    assert done.code == 1
    told = json.loads(done.out)
    assert [row["ok"] for row in told["credentials"]] == [True]
    assert (
        len(told["problems"]) == 2 and "another key than the one in ANTIGRAVITY2API_SECRET_KEY" in told["problems"][0]
    )


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("list", {"credentials": [], "problems": []}),
        ("test", {"credentials": [], "problems": []}),
        ("quota", {"credentials": [], "problems": []}),
        ("rotate-key", {"encrypted": 0, "problems": []}),
    ],
)
def test_a_program_gets_json_where_there_is_nothing_too(cli, probes, verb, told):
    assert json.loads(cli("credentials", verb, "--json").out) == told


def test_nothing_to_test(cli, probes):
    assert cli("credentials", "test").code == 1


def test_quota_with_its_source_and_age(cli, two, probes):
    _, views = probes
    views["gemini-1"] = QuotaView((), "none", 0.0)
    rows = (Quota("gemini-3-pro", 0.5, 1e9), Quota("claude", None, None, 7, "requests"))
    views["antigravity-1"] = QuotaView(rows, "fetchAvailableModels", 1e9)
    done = cli("credentials", "quota")
    assert done.code == 0
    assert "50%" in done.out
    assert "2001-09-09T01:46:40Z" in done.out
    assert "fetchAvailableModels" in done.out
    assert "not told by this upstream" in done.out
    report = json.loads(cli("credentials", "quota", "antigravity-1", "--json").out)
    assert report["credentials"][0]["quota"][0]["remaining"] == 0.5
    views["gemini-1"] = QuotaView((), "could not be asked: no network", 1e9, failed=True)
    done = cli("credentials", "quota")
    assert done.code == 1
    assert "could not be asked: no network" in done.out


@pytest.mark.parametrize(
    "words", [(), ("frobnicate",), ("enable",), ("set",), ("list", "extra"), ("add",), ("import",)]
)
def test_wrong_use(cli, words):
    assert cli("credentials", *words).code == 2


def test_no_verb_takes_a_secret_as_an_argument(cli):
    for verb in ("add", "import", "set", "rotate-key"):
        shown = cli("credentials", verb, "--help")
        assert shown.code == 0
        assert "--key " not in shown.out
        assert "--token" not in shown.out
    assert Path.cwd().is_dir()
