"""Things that may not stand anywhere in the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(ROOT.glob("src/**/*.py")) + sorted(ROOT.glob("scripts/*.py"))
FORBIDDEN = {
    "runs text as code": r"(?<![\w.])(eval|exec)\(|\bpickle\b|yaml\.load\(",
    "starts a shell": r"shell=True|os\.system\(|os\.popen\(",
    "skips TLS checks": r"verify=False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified_context",
    "builds SQL from text": r"(?i)f[\"']+\s*(select|insert|update|delete)\s.*\{",
    "holds an OAuth client": r"[0-9]+-[a-z0-9]{20,}\.apps\.googleusercontent\.com|GOCSPX-[0-9A-Za-z_]",
    "holds a Google API key": r"AIza[0-9A-Za-z_-]{35}",
    "is unfinished": r"\b(TODO|FIXME|XXX)\b",
}


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_no_source_file(rule):
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(FORBIDDEN[rule], line)
    ]
    assert found == [], rule
