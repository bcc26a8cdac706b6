"""Rows that are built from the objects of folders."""

import unicodedata
from datetime import UTC, datetime

import pytest

from flows.batches import rows
from tasks.storage.listing import StoredObject

FOLDERS = {"video": "s3://media/faces/", "audio": "s3://media/said/"}


@pytest.fixture
def found(monkeypatch):
    """A function that gives the rows of folders with objects of these names."""

    def pair(**names):
        def listed(uri):
            for name in names[next(field for field, folder in FOLDERS.items() if folder == uri)]:
                yield StoredObject(uri + name, name.rpartition(".")[0], name, datetime.now(UTC))

        monkeypatch.setattr(rows, "list_folder", listed)
        return [one.row for one in rows.rows_from_folders("lip_sync", FOLDERS, {})]

    return pair


@pytest.mark.parametrize("name", ["a.amr", "a.caf", "a.au", "a.mka", "a.ac3", "a.sph", "a.WAV", "a.m2ts"])
def test_a_sound_of_every_accepted_format_is_a_row(found, name):
    [row] = found(video=["a.mp4"], audio=[name, "notes.txt"])
    assert row.job.audio == f"s3://media/said/{name}"


def test_names_in_either_unicode_form_are_one_name(found):
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    assert composed != decomposed

    [row] = found(video=[f"{composed}.mp4"], audio=[f"{decomposed}.wav"])
    assert not row.faults and row.job.audio.endswith(f"{decomposed}.wav")

    [row] = found(video=["é.mp4"], audio=[f"{composed}.wav", f"{decomposed}.wav"])
    assert "2 objects are named" in row.faults[0].detail
