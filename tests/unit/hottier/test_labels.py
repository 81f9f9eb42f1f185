"""Labels are read as they were written, and nothing else is taken for one."""

import json
import os
import zlib
from pathlib import Path

import pytest
from attrs import evolve

from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles
from tierfs.hottier.labels import ATTRIBUTE, LABEL_MAX_BYTES, Label, decode_label, encode_label

LABEL = Label(1 << 62, 7, "dir/ä\udcff", 0o100640, 1000, 100, '"etag"', 5, whole=True)


@pytest.mark.parametrize("label", [LABEL, Label(0, 0, "", 0, 0, 0, "", 0, whole=False)])
def test_round_trip(label: Label) -> None:
    assert decode_label(encode_label(label)) == label


def test_a_path_that_does_not_fit_is_left_out_and_the_rest_kept() -> None:
    longest = evolve(LABEL, path="\x01" * 1024)
    raw = encode_label(longest)
    assert len(raw) <= LABEL_MAX_BYTES
    assert decode_label(raw) == evolve(longest, path="")


def sealed(text: bytes) -> bytes:
    return b"%08x " % zlib.crc32(text) + text


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"rubbish",
        encode_label(LABEL)[:-1],
        encode_label(LABEL).replace(b"1000", b"1001"),
        sealed(b"[]"),
        sealed(b"\xff"),
        sealed(json.dumps({"version": 2, "path": "x"}).encode()),
        sealed(json.dumps({"version": 1, "path": "x"}).encode()),
    ],
)
def test_what_is_none(raw: bytes) -> None:
    assert decode_label(raw) is None


def test_files_have_them_until_they_are_taken_off(tmp_path: Path) -> None:
    hot = HotFiles(Disk(), tmp_path)
    hot.prepare()
    for ino in (5, 6):
        hot.open(ino, create=True).close()
    raw = encode_label(LABEL)
    hot.put_labels({5: raw, 6: None, 7: raw, 8: None})
    assert hot.label(hot.place(5)) == LABEL
    assert [hot.label(hot.place(ino)) for ino in (6, 7)] == [None, None]
    moved = hot.set_aside(hot.place(5))
    assert moved is not None and hot.label(moved) == LABEL, "it goes with the file"
    backing = hot.open(6, create=False)
    hot.put_labels({6: raw})
    backing.unlabel()
    backing.unlabel()
    assert ATTRIBUTE not in os.listxattr(hot.path(6))
    backing.close()


def test_a_label_that_is_right_is_not_written_again(tmp_path: Path) -> None:
    hot = HotFiles(Disk(), tmp_path)
    hot.prepare()
    hot.open(5, create=True).close()
    raw = encode_label(LABEL)
    hot.put_labels({5: raw})
    before = Path(hot.path(5)).stat().st_ctime_ns
    hot.put_labels({5: raw})
    assert Path(hot.path(5)).stat().st_ctime_ns == before, "an upload that reads it would begin anew"
