"""Secrets at rest: AES-256-GCM with a key from the environment or from a file that its owner alone can read.

An envelope is ``version (1 byte), key id (8), nonce (12), ciphertext with its tag``, bound to the id of the credential
it belongs to. The library behind it is loaded with the first envelope: a gateway without stored credentials has none.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from antigravity2api.store.files import open_to_others, replace_file, sync_directory

VARIABLE = "ANTIGRAVITY2API_SECRET_KEY"
FILE = "secret.key"
SHORTEST = 16
"""Characters of a key; a random text is meant, not a password that can be guessed."""
_VERSION = 1
_ID = slice(1, 9)
_NONCE = slice(9, 21)
_SMALLEST = 21 + 16
_SALT = b"antigravity2api"
_HALF_WRITTEN = 1.0
"""Seconds that another process may take to fill a key file on a file system without hard links."""


class SecretsError(Exception):
    """The key cannot be used, or does not fit; the message is a sentence for the operator."""


class _Key:
    """One key, derived from its text, and the id that envelopes name it by (it tells nothing about the key)."""

    __slots__ = ("cipher", "id")

    def __init__(self, text: str) -> None:
        # Late: only who has stored credentials needs it, and it costs memory and start time.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

        def derive(length: int, purpose: bytes) -> bytes:
            return HKDF(SHA256(), length, _SALT, purpose).derive(text.encode())

        self.id = derive(8, b"key id")
        self.cipher = AESGCM(derive(32, b"credentials at rest"))


class Secrets:
    """Seals and opens. The key is looked up with the first use, and again when its file was replaced meanwhile.

    ``text`` is a configured key and ``where`` its place in words; without it the key is in ``file``, which the first
    ``seal`` makes. A key file beside a configured key is read too, so that what it sealed can be moved over.
    ``text_file`` is where the operator keeps ``text``: a new key there is taken up once something is sealed with it.
    """

    def __init__(
        self,
        file: Path,
        *,
        text: str | None = None,
        text_file: Path | None = None,
        where: str = VARIABLE,
        open_to_others: bool = False,
    ) -> None:
        self._file = file
        self._text = text
        self._text_file = text_file
        self._where = where if text is not None else str(file)
        self._lenient = open_to_others
        self._keys: list[_Key] = []
        self._seen: tuple[int, ...] | None = None
        self._loaded = False

    @property
    def where(self) -> str:
        """Where the key is, in words."""
        return self._where

    @property
    def configured(self) -> bool:
        """Whether the key comes from the configuration, and not from a file of ours."""
        return self._text is not None

    @property
    def follows(self) -> bool:
        """Whether another key is taken up by a running process."""
        return self._text is None or self._text_file is not None

    def seal(self, name: str, plain: bytes) -> bytes:
        """Encrypt for the credential ``name``. Makes the key file where there is no key yet. Raises SecretsError."""
        self._refresh()
        if not self._keys:
            self._make()
        key = self._keys[0]
        head = bytes([_VERSION]) + key.id
        nonce = os.urandom(12)  # random each time; 2^32 envelopes a key are safe, and there are thousands
        return head + nonce + key.cipher.encrypt(nonce, plain, head + name.encode())

    def open(self, name: str, envelope: bytes) -> bytes:
        """Decrypt. Raises SecretsError: without the right key, for a damaged envelope and for another credential's."""
        if len(envelope) < _SMALLEST or envelope[0] != _VERSION:
            raise SecretsError("its entry is damaged")
        key = self._key(envelope)
        if key is None:
            if not self._keys:
                raise SecretsError(f"there is no key: {self._where} is missing")
            raise SecretsError(f"it was encrypted with another key than the one in {self._where}")
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

        try:
            plain: bytes = key.cipher.decrypt(envelope[_NONCE], envelope[21:], envelope[:9] + name.encode())
        except InvalidTag:
            raise SecretsError("its entry is damaged") from None
        return plain

    def knows(self, envelope: bytes) -> bool:
        """Whether the key of an envelope is at hand. Raises SecretsError when no key can be read."""
        return self._key(envelope) is not None

    def is_current(self, envelope: bytes) -> bool:
        """Whether an envelope was made with the key that new ones are made with. Raises SecretsError."""
        self._refresh()
        return bool(self._keys) and envelope[_ID] == self._keys[0].id

    def check(self) -> None:
        """Raises SecretsError when there is a key that cannot be used. Loads no library."""
        _texts_of(self._text, self._file, lenient=self._lenient)

    # -- another key -----------------------------------------------------------------------------------------------

    @contextmanager
    def rotation(self, text: str | None = None) -> Iterator[Secrets]:
        """A new key for a key file, ``text`` or a random one. Raises SecretsError and OSError.

        Until the block ends the file holds the new key and the old ones, and only the new one afterwards: whatever
        stops it in between, all envelopes can be read and the rotation can be begun again.
        """
        with _one_at_a_time(self._file.with_name(f".{FILE}.lock")):
            older = _texts_of(None, self._file, lenient=self._lenient)
            if not older:
                raise SecretsError(f"there is no key to replace: {self._file} is missing.")
            new = text if text is not None else _random()
            _checked(new, "the new key")
            _write(self._file, [new, *(old for old in older if old != new)])
            yield Secrets(self._file, open_to_others=self._lenient)
            _write(self._file, [new])

    # -- keys ------------------------------------------------------------------------------------------------------

    def _key(self, envelope: bytes) -> _Key | None:
        wanted = envelope[_ID]
        found = next((key for key in self._keys if key.id == wanted), None)
        if found is None:  # or it is a new key, which another process made
            self._refresh()
            found = next((key for key in self._keys if key.id == wanted), None) or self._replaced(wanted)
        return found

    def _replaced(self, wanted: bytes) -> _Key | None:
        """The key that the operator has put in the place of ours, if it is the one that is wanted: any other one may
        be a mistake, and what it sealed would be lost with the next start."""
        if self._text_file is None:
            return None
        try:
            text = key_from_file(self._text_file)
            key = _Key(text)
        except (SecretsError, OSError):  # half-written, or gone: ours will do until it is there
            return None
        if key.id != wanted:
            return None
        self._text = text
        self._keys = [key, *self._keys]
        return key

    def _refresh(self) -> None:
        """Read the keys, unless nothing can have changed since."""
        seen = _stamp(self._file)
        if self._loaded and seen == self._seen:
            return
        texts = _texts_of(self._text, self._file, lenient=self._lenient)
        if self._keys and not texts:
            raise SecretsError(f"the key file {self._file} is gone: put it back, this process still needs it.")
        self._keys = [_Key(text) for text in dict.fromkeys(texts)]
        self._seen = seen
        self._loaded = True

    def _make(self) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _create(self._file, _random())
        except OSError as error:
            raise SecretsError(f"the key file {self._file} cannot be made: {error.strerror}") from error
        self._loaded = False
        end = time.monotonic() + _HALF_WRITTEN
        while True:
            try:
                return self._refresh()
            except SecretsError:  # another process is writing it
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)


def key_from_file(path: Path) -> str:
    """The key that an operator wrote into a file. Raises SecretsError and OSError."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SecretsError(f"{path} is not text.") from None
    return _checked(text, str(path))


def _texts_of(text: str | None, file: Path, *, lenient: bool) -> list[str]:
    """The texts of all keys at hand, the one to seal with first; none where none was made yet."""
    if text is None:
        return _read(file, lenient=lenient)
    texts = [_checked(text, VARIABLE)]
    with contextlib.suppress(SecretsError):  # it is not the key that counts
        texts += _read(file, lenient=lenient)
    return texts


def _checked(text: str, where: str) -> str:
    if len(text) < SHORTEST or not re.fullmatch(r"[!-~]+", text):
        raise SecretsError(
            f"{where} is no good key: it takes {SHORTEST} or more characters of printable ASCII without blanks, best "
            "random ones (`openssl rand -base64 32`)."
        )
    return text


def _read(file: Path, *, lenient: bool) -> list[str]:
    try:
        found = file.stat()
        if open_to_others(found) and not lenient:
            raise SecretsError(
                f"{file} can be read by other users of this machine: chmod 600 it; "
                "ANTIGRAVITY2API_OPEN_SECRET_FILES=on uses it all the same."
            )
        lines = file.read_bytes()[: 1 << 16].decode("ascii", "replace").split()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SecretsError(f"the key file {file} cannot be read: {error.strerror}.") from error
    if not lines or any(len(line) < SHORTEST or not line.isprintable() for line in lines):
        raise SecretsError(
            f"{file} does not hold a key: put back the one that was there; if it is lost, remove the file and the "
            "credentials that were encrypted with it."
        )
    return lines


def _random() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _write(file: Path, texts: Sequence[str]) -> None:
    replace_file(file, "".join(f"{text}\n" for text in texts).encode())


def _create(file: Path, text: str) -> None:
    """Make the key file with all that belongs in it, unless somebody else was quicker."""
    import tempfile  # noqa: PLC0415 - with what it brings, 0.4 MB that few starts need

    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # 0600
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(f"{text}\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(draft, file)  # atomic, and never onto a file that is there
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            _create_slowly(file, text)
    finally:
        draft.unlink()
    sync_directory(file.parent)


def _create_slowly(file: Path, text: str) -> None:
    with contextlib.suppress(FileExistsError):
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(f"{text}\n")
            out.flush()
            os.fsync(out.fileno())


def _stamp(file: Path) -> tuple[int, ...] | None:
    """What changes whenever the key file is replaced."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[Any]:
    """A lock that ends with the process. Raises SecretsError when another process holds it."""
    try:
        import fcntl  # noqa: PLC0415 - only Unix has it
    except ImportError:
        yield None
        return
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SecretsError("another process is changing the key.") from None
        yield handle
    finally:
        os.close(handle)
