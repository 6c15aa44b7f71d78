"""The one gate for client keys: every route of every dialect asks here, before a body is read."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

_KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")


class Keys:
    """The accepted client keys, held as SHA-256 digests (they are random, so no slow hash is needed)."""

    def __init__(self, keys: Iterable[str]) -> None:
        digests = [hashlib.sha256(key.encode()).digest() for key in keys]
        self._known = [(digest, digest.hex()[:8]) for digest in digests]

    def __len__(self) -> int:
        return len(self._known)

    def accepts(self, headers: Mapping[str, str]) -> str | None:
        """A short public name of the key that a request carries, or None when it carries no good one.

        Only the Bearer scheme; a second Authorization header makes the value one that no key equals. Unknown keys take
        the same path as known ones: one digest, one constant-time comparison with each.
        """
        presented = _presented(headers)
        if presented is None:
            return None
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        found = None
        for known, name in self._known:
            if hmac.compare_digest(digest, known):
                found = name
        return found


def _presented(headers: Mapping[str, str]) -> str | None:
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        return key.strip() if scheme.lower() == "bearer" and key.strip() else None
    for name in _KEY_HEADERS:
        if value := headers.get(name):
            return value
    return None
