"""Encryption at rest: envelopes, where the key comes from, and another key."""

from __future__ import annotations

import stat
import sys
from contextlib import ExitStack

import pytest

from antigravity2api.store.secrets import Secrets, SecretsError, key_from_file
from fakes import programs

TEXT = "a passphrase-of-some-length".replace(" ", "-")
OTHER = "another-passphrase-of-some-length"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "secret.key"


@pytest.fixture
def secrets(file):
    return Secrets(file, text=TEXT)


def test_what_is_sealed_can_be_opened(secrets):
    envelope = secrets.seal("gemini-1", b"the secret")
    assert b"the secret" not in envelope
    assert secrets.open("gemini-1", envelope) == b"the secret"
    assert secrets.is_current(envelope)


def test_two_envelopes_of_one_secret_differ_in_nonce_and_text(secrets):
    made = {secrets.seal("gemini-1", b"the secret") for _ in range(200)}
    assert len({envelope[9:21] for envelope in made}) == 200
    assert len({envelope[21:] for envelope in made}) == 200


def test_an_envelope_belongs_to_one_credential(secrets):
    envelope = secrets.seal("gemini-1", b"the secret")
    with pytest.raises(SecretsError, match="damaged"):
        secrets.open("gemini-2", envelope)


def test_every_changed_or_missing_byte_is_noticed(secrets):
    envelope = secrets.seal("gemini-1", b"the secret")
    for place in range(len(envelope)):
        changed = envelope[:place] + bytes([envelope[place] ^ 1]) + envelope[place + 1 :]
        for wrong in (changed, envelope[:place]):
            with pytest.raises(SecretsError):
                secrets.open("gemini-1", wrong)


def test_another_key_opens_nothing(file, secrets):
    envelope = secrets.seal("gemini-1", b"the secret")
    other = Secrets(file, text=OTHER, where="ELSEWHERE")
    assert not other.knows(envelope)
    with pytest.raises(SecretsError, match="another key than the one in ELSEWHERE"):
        other.open("gemini-1", envelope)


@pytest.mark.parametrize("text", ["", "short", "fifteen-letters", "has a blank in its middle", "naïve-but-long-enough"])
def test_a_weak_key_is_refused(file, text):
    with pytest.raises(SecretsError, match="16 or more characters"):
        Secrets(file, text=text).seal("gemini-1", b"x")
    with pytest.raises(SecretsError, match="openssl"):
        Secrets(file, text=text).check()


def test_a_key_file_is_made_with_the_first_envelope_for_the_owner_alone(file):
    secrets = Secrets(file)
    secrets.check()
    assert not file.exists()
    with pytest.raises(SecretsError, match="is missing"):
        secrets.open("gemini-1", b"\1" + bytes(60))
    assert not file.exists()
    envelope = secrets.seal("gemini-1", b"x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["secret.key"]
    assert len(file.read_text().strip()) == 44
    assert Secrets(file).open("gemini-1", envelope) == b"x"


def test_the_content_of_the_key_file_may_move_to_the_environment(file):
    envelope = Secrets(file).seal("gemini-1", b"x")
    text = key_from_file(file)
    file.unlink()
    assert Secrets(file, text=text).open("gemini-1", envelope) == b"x"


def test_a_key_file_beside_a_configured_key_still_opens_what_it_sealed(file):
    envelope = Secrets(file).seal("gemini-1", b"x")
    both = Secrets(file, text=TEXT)
    assert both.open("gemini-1", envelope) == b"x"
    assert not both.is_current(envelope)
    assert both.is_current(both.seal("gemini-1", b"x"))


def test_a_configured_key_is_replaced_once_something_was_sealed_with_the_new_one(file):
    where = file.with_name("configured")
    where.write_text(f"{TEXT}\n")
    ours = Secrets(file, text=TEXT, text_file=where)
    old = ours.seal("gemini-1", b"x")
    new = Secrets(file, text=OTHER).seal("gemini-1", b"x")
    assert not ours.knows(new)
    where.write_text(f"{OTHER}\n")
    assert ours.is_current(ours.seal("gemini-1", b"x"))
    assert ours.is_current(old), "a file that changed may be a mistake"
    assert ours.open("gemini-1", new) == b"x"
    assert ours.is_current(new)
    assert ours.open("gemini-1", old) == b"x"
    assert Secrets(file, text=OTHER).open("gemini-1", ours.seal("gemini-1", b"y")) == b"y"


@pytest.mark.parametrize("content", ["", "short", "\xff", "a-third-passphrase-of-some-length"])
def test_what_is_in_the_file_of_a_configured_key_and_does_not_fit_changes_nothing(file, content):
    where = file.with_name("configured")
    ours = Secrets(file, text=TEXT, text_file=where)
    old = ours.seal("gemini-1", b"x")
    new = Secrets(file, text=OTHER).seal("gemini-1", b"x")
    for _ in range(2):
        with pytest.raises(SecretsError, match="another key"):
            ours.open("gemini-1", new)
        assert ours.open("gemini-1", old) == b"x"
        where.write_text(content, encoding="latin-1")


@pytest.mark.parametrize("content", ["", "\n", "short\n", "half-a-ke", "\0" * 45])
def test_a_key_file_without_a_key_is_named_and_left_alone(file, content):
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(SecretsError, match="does not hold a key"):
        Secrets(file).seal("gemini-1", b"x")
    assert file.read_text() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_file_that_others_can_read_is_refused_unless_allowed(file, mode):
    envelope = Secrets(file).seal("gemini-1", b"x")
    file.chmod(mode)
    with pytest.raises(SecretsError, match="chmod 600"):
        Secrets(file).open("gemini-1", envelope)
    assert Secrets(file, open_to_others=True).open("gemini-1", envelope) == b"x"


def test_a_key_that_vanishes_is_not_replaced_by_another(file):
    secrets = Secrets(file)
    envelope = secrets.seal("gemini-1", b"x")
    file.unlink()
    assert secrets.open("gemini-1", envelope) == b"x"
    with pytest.raises(SecretsError, match="is gone"):
        secrets.seal("gemini-1", b"y")
    assert not file.exists()


def test_where_hard_links_are_missing(file, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("os.link", refuse)
    envelope = Secrets(file).seal("gemini-1", b"x")
    assert Secrets(file).open("gemini-1", envelope) == b"x"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


MAKES = """
import sys
from pathlib import Path
from antigravity2api.store.secrets import Secrets
secrets = Secrets(Path(sys.argv[1]))
print(secrets.seal("gemini-1", b"x").hex())
"""


def test_processes_that_start_at_once_agree_on_one_key(file):
    running = [programs.start(MAKES, file) for _ in range(4)]
    made = [bytes.fromhex(programs.finish(one)) for one in running]
    secrets = Secrets(file)
    assert [secrets.open("gemini-1", envelope) for envelope in made] == [b"x"] * 4
    assert [one.name for one in file.parent.iterdir()] == ["secret.key"]


# --- another key -----------------------------------------------------------------------------------------------------


def test_a_rotation_keeps_both_keys_until_its_end(file):
    secrets = Secrets(file)
    old = secrets.seal("gemini-1", b"x")
    with secrets.rotation() as new:
        assert new.open("gemini-1", old) == b"x"
        assert Secrets(file).open("gemini-1", old) == b"x"
        fresh = new.seal("gemini-1", b"x")
        assert fresh[:9] != old[:9]
        late = secrets.seal("gemini-1", b"x")  # a process from before the rotation
        assert late[:9] == fresh[:9]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    later = Secrets(file)
    assert later.open("gemini-1", fresh) == b"x"
    assert not later.knows(old)


def test_a_rotation_that_fails_loses_nothing_and_can_be_begun_again(file):
    secrets = Secrets(file)
    old = secrets.seal("gemini-1", b"x")
    stack = ExitStack()
    new = stack.enter_context(secrets.rotation())
    fresh = new.seal("gemini-1", b"y")
    with pytest.raises(RuntimeError), stack:
        raise RuntimeError
    after = Secrets(file)
    assert (after.open("gemini-1", old), after.open("gemini-1", fresh)) == (b"x", b"y")
    with after.rotation(OTHER) as last:
        assert (last.open("gemini-1", old), last.open("gemini-1", fresh)) == (b"x", b"y")
    assert file.read_text() == f"{OTHER}\n"


def test_only_one_rotation_at_a_time(file):
    secrets = Secrets(file)
    secrets.seal("gemini-1", b"x")
    with secrets.rotation(), pytest.raises(SecretsError, match="another process"), Secrets(file).rotation():
        pass


def test_a_key_from_a_file_of_the_operator(tmp_path):
    (tmp_path / "new").write_text(f"\ufeff{TEXT}\n")
    assert key_from_file(tmp_path / "new") == TEXT
    (tmp_path / "new").write_bytes(b"\xff\xfe\0\0")
    with pytest.raises(SecretsError, match="not text"):
        key_from_file(tmp_path / "new")


def test_the_library_is_loaded_with_the_first_envelope_only(file):
    code = f"""
import sys
from pathlib import Path
from antigravity2api.store.secrets import Secrets
Secrets(Path({str(file)!r})).check()
print(any(name.startswith("cryptography") for name in sys.modules))
"""
    assert programs.run(code) == "False\n"
    assert "cryptography" in sys.modules
