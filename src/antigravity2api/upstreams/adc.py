"""Application default credentials: where they lie, and the kinds of them whose tokens google-auth makes.

The order is Google's (https://cloud.google.com/docs/authentication/application-default-credentials): the named file,
gcloud's own file, the metadata server. Users and service accounts among them are asked for by ``tokens`` itself, as
those of the store are; federated and impersonated ones are left to google-auth. No program is ever started for it.

Everything here reads files or waits, and belongs into a thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.upstreams.grants import CLOUD_SCOPE, LONGEST_LIFE, UNKNOWN_LIFE
from antigravity2api.upstreams.masking import mask

METADATA = "metadata"
USER = "authorized_user"
SERVICE_ACCOUNT = "service_account"
_MADE_BY_GOOGLE_AUTH = frozenset(
    {"external_account", "external_account_authorized_user", "impersonated_service_account"}
)
_AWS = "urn:ietf:params:aws:token-type:aws4_request"
_LARGEST = 1 << 20
_LINK_LOCAL = ("169.254.", "fd00:ec2::254", "metadata.google.internal", "metadata")


class Answer(NamedTuple):
    """What one call to a token service brought."""

    status: int
    headers: Mapping[str, str]
    data: bytes


Send = Callable[[str, str, bytes | None, Mapping[str, str]], Answer]
"""URL, method, body and headers → the answer, from a thread. Raises ``Fault``."""


@dataclass(frozen=True, slots=True)
class Found:
    """A default credential, before any token."""

    sort: str
    info: Mapping[str, Any] = field(repr=False)

    @property
    def project(self) -> str | None:
        """The project that it names, if it names one."""
        for key in ("project_id", "quota_project_id"):
            value = self.info.get(key)
            if isinstance(value, str) and value:
                return value
        return None


def find(file: str | None, environ: Mapping[str, str]) -> Found:
    """The credential that Google's own libraries would take. Raises ``Fault`` CREDENTIAL."""
    named = file or environ.get("GOOGLE_APPLICATION_CREDENTIALS", "").strip()
    path = Path(named) if named else _gcloud_file(environ)
    if path is None or not (named or path.is_file()):
        return Found(METADATA, {})
    info = _read(path)
    sort = info.get("type")
    if sort in (USER, SERVICE_ACCOUNT) or sort in _MADE_BY_GOOGLE_AUTH:
        return Found(str(sort), info)
    raise malformed(f"{path.name} is a credentials file of a kind that is not known here.")


def _gcloud_file(environ: Mapping[str, str]) -> Path | None:
    if folder := environ.get("CLOUDSDK_CONFIG"):
        return Path(folder, "application_default_credentials.json")
    if os.name == "nt":
        base = environ.get("APPDATA")
        return Path(base, "gcloud", "application_default_credentials.json") if base else None
    home = environ.get("HOME")
    return Path(home, ".config", "gcloud", "application_default_credentials.json") if home else None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        value = json.loads(text.decode("utf-8-sig")) if len(text) <= _LARGEST else None
    except OSError as error:
        raise malformed(f"{path.name} cannot be read: {error.strerror}.") from None
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    raise malformed(f"{path.name} is no JSON credentials file; it may be half-written.")


def metadata_root(environ: Mapping[str, str]) -> str | None:
    """The metadata server's address; None where the environment says that there is none."""
    if environ.get("NO_GCE_CHECK") == "true":
        return None
    return f"http://{environ.get('GCE_METADATA_HOST') or 'metadata.google.internal'}"


def is_metadata(host: str) -> bool:
    """Whether a host is the machine's own metadata service, which no proxy can reach."""
    return host.lower().startswith(_LINK_LOCAL)


def external_token(info: Mapping[str, Any], send: Send) -> tuple[str, float]:
    """Token and life of a federated or impersonated credential, made by google-auth. Raises ``Fault`` CREDENTIAL."""
    from google.auth import exceptions  # noqa: PLC0415 - only who has such a credential pays for the library

    try:
        credentials = _load(info)
        credentials.refresh(_request(send))
    except (exceptions.GoogleAuthError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        words = mask(str(error.args[0] if error.args else error)[:2000])
        raise Fault(
            Kind.CREDENTIAL,
            f"No token for the default credentials: {words}",
            retry=Retry.OTHER_CREDENTIAL,
            reason="DEFAULT_CREDENTIALS_FAILED",
        ) from None
    if not isinstance(credentials.token, str) or not credentials.token:
        raise malformed("The default credentials gave no token.")
    return credentials.token, _life(credentials.expiry)


def _life(expiry: datetime | None) -> float:
    if expiry is None:
        return UNKNOWN_LIFE
    left = expiry.replace(tzinfo=UTC).timestamp() - datetime.now(UTC).timestamp()  # google-auth counts in naive UTC
    return min(max(left, 1.0), LONGEST_LIFE)


def _load(info: Mapping[str, Any]) -> Any:
    """The google-auth object for a configuration, by its own kind: the generic loader is deprecated."""
    scopes = [CLOUD_SCOPE]
    make: Any  # google-auth's constructors carry no types
    if info["type"] == "impersonated_service_account":
        from google.auth import impersonated_credentials  # noqa: PLC0415 - as above

        make = impersonated_credentials.Credentials
        return make.from_impersonated_service_account_info(info, scopes=scopes)
    if info["type"] == "external_account_authorized_user":
        from google.auth import external_account_authorized_user  # noqa: PLC0415 - as above

        make = external_account_authorized_user.Credentials
        return make.from_info(dict(info))
    if info.get("subject_token_type") == _AWS:
        from google.auth import aws  # noqa: PLC0415 - as above

        make = aws.Credentials
        return make.from_info(dict(info), scopes=scopes)
    if isinstance(source := info.get("credential_source"), dict) and "executable" in source:
        raise ValueError("credentials that a program prints are not supported: no program is started for a token")
    from google.auth import identity_pool  # noqa: PLC0415 - as above

    make = identity_pool.Credentials
    return make.from_info(dict(info), scopes=scopes)


def _request(send: Send) -> Any:
    """google-auth's way to make a call, over our connections."""
    from google.auth import exceptions, transport  # noqa: PLC0415 - as above

    failed: Any = exceptions.TransportError  # without types, as all of it

    class Request(transport.Request):
        def __call__(
            self,
            url: str,
            method: str = "GET",
            body: bytes | str | None = None,
            headers: Mapping[str, str] | None = None,
            timeout: float | None = None,
            **_rest: Any,
        ) -> Answer:
            try:
                return send(url, method, body.encode() if isinstance(body, str) else body, headers or {})
            except Fault as fault:
                raise failed(fault.message) from fault

    return Request()


def malformed(text: str) -> Fault:
    """A credential that cannot be what it should be."""
    return Fault(Kind.CREDENTIAL, text, retry=Retry.OTHER_CREDENTIAL, reason="CREDENTIAL_MALFORMED")


def assertion(info: Mapping[str, Any], statement: Mapping[str, Any]) -> str:
    """A service account's signed statement. Raises ``Fault`` CREDENTIAL for a broken key file."""
    from google.auth import crypt, jwt  # noqa: PLC0415 - only who has a service account pays for the library

    make: Any = crypt.RSASigner
    encode: Any = jwt.encode
    try:
        signed: bytes = encode(make.from_service_account_info(dict(info)), dict(statement))
        return signed.decode("ascii")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise malformed("The service account's key file is not complete: its private key cannot be read.") from None
