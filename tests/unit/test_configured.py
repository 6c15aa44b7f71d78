"""The credentials of the configuration, alone and beside stored ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from antigravity2api.configured import all_records, configured_records, merged, open_vault, origin
from antigravity2api.credentials import Record, Sort
from antigravity2api.settings import Settings, load
from antigravity2api.store.database import DatabaseRefused
from fakes import programs


def read(tmp_path: Path, **environ: str) -> Settings:
    return load({}, {"HOME": str(tmp_path), **environ}, tmp_path)


def ids(records) -> list[str]:
    return [record.id for record in records]


def test_nothing_configured(tmp_path):
    assert configured_records(read(tmp_path)) == []


def test_keys_are_numbered_by_their_place(tmp_path):
    settings = read(tmp_path, GEMINI_API_KEY="one,two")
    records = configured_records(settings)
    assert ids(records) == ["gemini-1", "gemini-2"]
    assert [record.secret["key"] for record in records] == ["one", "two"]
    assert {record.sort for record in records} == {Sort.API_KEY}
    assert not any(record.stored for record in records)
    assert origin(settings, records[0]) == "GEMINI_API_KEY (environment)"


def test_an_antigravity_token(tmp_path):
    settings = read(tmp_path, ANTIGRAVITY_ACCESS_TOKEN="ya29.x", ANTIGRAVITY_PROJECT="mine")
    (record,) = configured_records(settings)
    assert (record.id, record.sort, record.project) == ("antigravity-1", Sort.ACCESS_TOKEN, "mine")
    assert origin(settings, record) == "ANTIGRAVITY_ACCESS_TOKEN (environment)"


def test_vertex_with_a_file(tmp_path):
    (tmp_path / "sa.json").write_text('{"type": "service_account", "project_id": "from-file"}')
    settings = read(tmp_path, GOOGLE_GENAI_USE_VERTEXAI="true", GOOGLE_APPLICATION_CREDENTIALS="sa.json")
    (record,) = configured_records(settings)
    assert (record.id, record.sort, record.project) == ("vertex-1", Sort.DEFAULT, "from-file")
    assert record.secret == {"file": str(tmp_path / "sa.json")}
    assert origin(settings, record) == "GOOGLE_APPLICATION_CREDENTIALS (environment)"


def test_vertex_with_the_machines_own(tmp_path):
    settings = read(tmp_path, GOOGLE_GENAI_USE_VERTEXAI="true", GOOGLE_CLOUD_PROJECT="p", GOOGLE_API_KEY="AIza")
    records = configured_records(settings)
    assert ids(records) == ["gemini-1", "vertex-1"]
    assert (records[1].sort, records[1].project, records[1].secret) == (Sort.DEFAULT, "p", {})
    assert origin(settings, records[1]) == "GOOGLE_GENAI_USE_VERTEXAI (environment)"


def test_vertex_with_an_express_key(tmp_path):
    settings = read(tmp_path, GOOGLE_GENAI_USE_VERTEXAI="true", GOOGLE_API_KEY="AIza")
    (record,) = configured_records(settings)
    assert (record.id, record.upstream, record.sort) == ("vertex-1", "vertex", Sort.EXPRESS_KEY)
    assert origin(settings, record) == "GOOGLE_API_KEY"


def test_vertex_off_is_no_vertex(tmp_path):
    assert configured_records(read(tmp_path, GOOGLE_CLOUD_PROJECT="p")) == []


def test_stored_ones_keep_their_ids_and_configured_ones_make_room(tmp_path):
    settings = read(tmp_path, GEMINI_API_KEY="one,two,three")
    stored = [
        Record(id="gemini-1", upstream="gemini", sort=Sort.API_KEY, secret={"key": "stored"}, stored=True),
        Record(id="gemini-4", upstream="gemini", sort=Sort.API_KEY, secret={"key": "other"}, stored=True),
    ]
    records = merged(configured_records(settings), stored)
    assert len(set(ids(records))) == 5
    assert records[-2:] == stored
    assert [record.secret["key"] for record in records[:3]] == ["one", "two", "three"]


def test_what_is_stored_and_configured_is_one(tmp_path):
    settings = read(tmp_path, GEMINI_API_KEY="one,two")
    vault = open_vault(settings)
    settings.data_dir.mkdir(parents=True)
    made = vault.add(Record(id="", upstream="gemini", sort=Sort.API_KEY, secret={"key": "two"}))
    records = all_records(settings, vault)
    assert [record.secret["key"] for record in records] == ["one", "two"]
    assert records[1] == made
    assert ids(records) == ["gemini-2", "gemini-1"]
    vault.close()


def test_without_a_store(tmp_path):
    settings = read(tmp_path, GEMINI_API_KEY="one")
    assert ids(all_records(settings, None)) == ["gemini-1"]
    assert ids(all_records(settings, open_vault(settings))) == ["gemini-1"]
    assert not settings.data_dir.exists()


def test_postgres_is_refused(tmp_path):
    with pytest.raises(DatabaseRefused):
        open_vault(read(tmp_path, ANTIGRAVITY2API_DATABASE_URL="postgresql://host/x"))


def test_configured_keys_alone_load_no_store_and_no_cryptography(tmp_path):
    code = f"""
import sys
from pathlib import Path
from antigravity2api.configured import all_records, configured_records, open_vault
from antigravity2api.settings import load
settings = load({{}}, {{"HOME": {str(tmp_path)!r}, "GEMINI_API_KEY": "one"}}, Path({str(tmp_path)!r}))
print(len(all_records(settings, None)), "sqlite3" in sys.modules)
print(len(all_records(settings, open_vault(settings))), "cryptography" in sys.modules)
"""
    assert programs.run(code) == "1 False\n1 False\n"
