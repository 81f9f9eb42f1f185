"""Bytes that come from outside, or from a disk that nobody can vouch for, changed at random in every parser.

A parser either understands what it gets or raises the one error that says it does not; any other exception would end a
task that nobody has foreseen to end. What it understands has to fit into the index. `corpus/<parser>/` holds what the
mutations begin from; whatever was found once is kept there, too. CI tries some thousands, the same each time; the long
form a hundred times as many. TIERFS_TEST_SEED makes others.
"""

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from tierfs.control import protocol
from tierfs.control.protocol import ProtocolError
from tierfs.errors import FsError, IndexDamageError, StoreError
from tierfs.index import codec
from tierfs.index.journal import decode_changes
from tierfs.index.state import StateRow
from tierfs.namespace import acl
from tierfs.objectstore import dialects, s3_xml
from tierfs.objectstore.base import ObjectInfo, ObjectMeta
from tierfs.sync import attributes, events

CORPUS = Path(__file__).parent / "corpus"
SEED = int(os.environ.get("TIERFS_TEST_SEED", "1"))
CI_TRIES, LONG_TRIES = 1_500, 150_000
# what breaks arithmetic and formats more often than chance does
WORDS = (
    b"-1", b"0", b"9223372036854775808", b"99999999999999999999999999", b"1e999", b"NaN", b"null", b"%00", b"..", b"/",
    b"\xff\xff\xff\xff", b"\x00", b"&lol;", b"<", b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59Z", b"\xed\xb2\x80",
    "\u0661".encode(),
)  # fmt: skip


@frozen
class Parser:
    """`read` may raise `error` and nothing else."""

    read: Callable[[bytes], object]
    error: type[Exception]


def read_listing(body: bytes) -> None:
    page = s3_xml.parse_listing(body, "p/")
    for info in page.objects:
        codec.encode_base(attributes.base_of(info))
        assert info.size_bytes >= 0


def read_metadata(body: bytes) -> None:
    """Lines of name: value, as headers are."""
    user = dict(line.split(":", 1) for line in body.decode("latin-1").split("\n") if ":" in line)
    info = ObjectInfo("a/b", 3, "e", 1, meta=ObjectMeta(user=user))
    view = dialects.read(info)
    for time_ns in (view.mtime_ns, view.atime_ns, view.btime_ns):
        assert time_ns is None or -(1 << 63) <= time_ns < 1 << 63
    for number in (view.uid, view.gid):
        assert number is None or 0 <= number < 1 << 32


PARSERS = {
    "listing": Parser(read_listing, StoreError),
    "versions": Parser(lambda body: s3_xml.parse_versions(body, "p/"), StoreError),
    "tags": Parser(s3_xml.parse_tags, StoreError),
    "metadata": Parser(read_metadata, StoreError),
    "request": Parser(protocol.parse_request, ProtocolError),
    "journal": Parser(decode_changes, IndexDamageError),
    "state": Parser(StateRow.decode, IndexDamageError),
    "inode": Parser(lambda row: codec.decode_inode(1, row), IndexDamageError),
    "base": Parser(codec.decode_base, IndexDamageError),
    "hot": Parser(codec.decode_hot, IndexDamageError),
    "intent": Parser(lambda row: codec.decode_intent(1, row), IndexDamageError),
    "spill": Parser(lambda row: codec.decode_spill(0, row), IndexDamageError),
    "acl": Parser(acl.decode, FsError),
    "event": Parser(events.parse, StoreError),
}


def mutated(sample: bytes, others: list[bytes], chooser: random.Random) -> bytes:
    """One to four changes: bits, cuts, repeats, words that mean trouble, and ends of other samples."""
    data = bytearray(sample)
    for _ in range(chooser.randrange(1, 5)):
        at = chooser.randrange(len(data) + 1)
        stop = min(len(data), at + chooser.choice((1, 2, 8, 64)))
        match chooser.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << chooser.randrange(8)
            case 1:
                del data[at:stop]
            case 2:
                data[at:at] = data[at:stop] * chooser.choice((1, 2, 50))
            case 3:
                data[at:stop] = chooser.choice(WORDS)
            case 4:
                data[at:at] = chooser.choice(WORDS)
            case _:
                other = chooser.choice(others)
                data[at:] = other[chooser.randrange(len(other) + 1) :]
    return bytes(data)


def try_all(name: str, tries: int) -> None:
    parser, chooser = PARSERS[name], random.Random(f"{name} {SEED}")
    samples = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    for sample in samples:
        with contextlib.suppress(parser.error):
            parser.read(sample)
    for _ in range(tries):
        data = mutated(chooser.choice(samples), samples, chooser)
        try:
            parser.read(data)
        except parser.error:
            pass
        except Exception as error:
            raise AssertionError(f"{name} of {data!r}: {error!r}") from error


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_understands_or_refuses(name: str) -> None:
    try_all(name, CI_TRIES)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_understands_or_refuses_for_long(name: str, summarize: Callable[[int, int, int], None]) -> None:
    try_all(name, LONG_TRIES)
    summarize(LONG_TRIES, LONG_TRIES, 0)


def test_entities_that_grow_are_refused() -> None:
    """A document of some hundred bytes would be gigabytes."""
    rows = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    body = f'<!DOCTYPE x [<!ENTITY l0 "lol">{rows}]><ListBucketResult><Prefix>&l11;</Prefix></ListBucketResult>'
    with pytest.raises(StoreError):
        s3_xml.parse_listing(body.encode(), "")


def test_a_document_cannot_name_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("TOP SECRET")
    body = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]><Tagging><TagSet><Tag><Key>&e;</Key></Tag></TagSet></Tagging>'
    with contextlib.suppress(StoreError):
        assert "SECRET" not in str(s3_xml.parse_tags(body.encode()))
