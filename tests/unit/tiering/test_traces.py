"""Traces in each layout, and what is wrong with one is told with its line."""

import gzip
import lzma
from pathlib import Path

import pytest

from tierfs.errors import ConfigError
from tierfs.tiering import traces


def read(tmp_path: Path, text: str, name: str = "trace.csv") -> traces.Trace:
    path = tmp_path / name
    packed = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, lambda raw: raw)
    path.write_bytes(packed(text.encode()))
    return traces.read(path)


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz", "trace.csv.xz"])
def test_the_layout_of_tierfs(tmp_path: Path, name: str) -> None:
    text = 'time_s,op,key,size_bytes,start\n0.5,read,"a,b",10,0\n1,write,c,20,0\n2,read,"a,b",0,0\n'
    trace = read(tmp_path, text, name)
    assert trace.names == ["a,b", "c"]
    assert trace.accesses == [(0.5, 0, 10, False), (1.0, 1, 20, True), (2.0, 0, 10, False)]


def test_the_layout_of_cachelib(tmp_path: Path) -> None:
    text = "key,op,size,op_count,key_size\n1,GET,50,2,8\n2,SET,60,1,8\n1,DELETE,0,1,8\n2,GET_LEASE,0,1,8\n"
    trace = read(tmp_path, text)
    assert trace.accesses == [(2.0, 0, 50, False), (2.0, 0, 50, False), (3.0, 1, 60, True), (5.0, 1, 60, False)]


def test_the_layout_of_msr(tmp_path: Path) -> None:
    """A request touches each block that a byte of it is in."""
    text = "128166372000000000,usr,0,Read,65536,4096,1\n128166372010000000,usr,0,Write,131000,200,1\n"
    trace = read(tmp_path, text)
    assert trace.names == ["usr.0/1", "usr.0/2"]
    assert trace.accesses == [(0.0, 0, 65536, False), (1.0, 0, 65536, True), (1.0, 1, 65536, True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no access"),
        ("time_s,op,key,size_bytes\n", "no access"),
        ("a,b,c\n1,2,3\n", ":1: no layout"),
        ("op,key,size\nread,a,1\nread,a,x\n", ":3: "),
        ("op,key,size\nread,a\n", ":2: "),
        ("op,key,size\njump,a,1\n", ":2: 'jump'"),
        ("op,key,size\nread,a,-1\n", ":2: a size of -1"),
        ("128166372000000000,usr,0,Read,65536,4096,1\n1,2,3\n", ":2: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        read(tmp_path, text)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.gz").write_bytes(b"no gzip")
    for name in ("broken.gz", "missing.csv"):
        with pytest.raises(ConfigError, match=name):
            traces.read(tmp_path / name)
