"""Notifications as each sender writes them, and what nobody sends."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.notifications import MINIO_PUT, eventbridge, in_sns, record, records
from tierfs.sync import events
from tierfs.sync.events import EventKind, ObjectEvent, Parsed, parse

TIME = "2026-01-02T03:04:05.678Z"
TIME_NS = 1_767_323_045_678_000_000
TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": TIME, "Bucket": "b", "HostId": "x"}


def test_a_record_of_s3() -> None:
    one = record("ObjectCreated:Put", "b", "a b/é+%", etag="abc", size=7, sequencer="00A1", versionId="v1", time=TIME)
    assert "a+b/%C3%A9%2B%25" in json.dumps(one)
    expected = ObjectEvent(EventKind.CREATED, "b", "a b/é+%", "abc", "v1", "00A1", 7, TIME_NS)
    assert parse(records(one)) == Parsed((expected,))


def test_an_event_of_eventbridge_has_its_key_as_it_is() -> None:
    body = eventbridge("Object Deleted", "b", "a+b%20c", etag="abc", sequencer="1", **{"version-id": "v"}, time=TIME)
    assert parse(body) == Parsed((ObjectEvent(EventKind.REMOVED, "b", "a+b%20c", "abc", "v", "1", 0, TIME_NS),))


def test_what_minio_posts() -> None:
    (event,) = parse(MINIO_PUT).events
    assert event.kind is EventKind.CREATED
    assert (event.bucket, event.key, event.size_bytes) == ("bucket", "some dir/file+1.txt", 5)
    assert event.etag == "5d41402abc4b2a76b9719d911017c592"


@pytest.mark.parametrize("wraps", [1, 2])
def test_wrapped_in_sns(wraps: int) -> None:
    body = records(record("ObjectCreated:Put", "b", "k"))
    for _ in range(wraps):
        body = in_sns(body)
    assert [event.key for event in parse(body).events] == ["k"]
    assert parse(in_sns(eventbridge("Object Created", "b", "k"))).events[0].key == "k"


def test_wrapped_without_end() -> None:
    body = records(record("ObjectCreated:Put", "b", "k"))
    for _ in range(5):
        body = in_sns(body)
    assert parse(body) == Parsed(malformed=("wrapped too often",))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:CompleteMultipartUpload", EventKind.CREATED),
        ("s3:ObjectCreated:Copy", EventKind.CREATED),
        ("ObjectRemoved:DeleteMarkerCreated", EventKind.REMOVED),
        ("LifecycleExpiration:Delete", EventKind.REMOVED),
        ("LifecycleTransition", EventKind.CHANGED),
        ("ObjectRestore:Completed", EventKind.CHANGED),
        ("ObjectTagging:Put", None),
        ("s3:ObjectAccessed:Get", None),
        ("", None),
    ],
)
def test_kinds(name: str, kind: EventKind | None) -> None:
    parsed = parse(records(record(name, "b", "k")))
    assert [event.kind for event in parsed.events] == ([kind] if kind else [])
    assert (parsed.ignored, parsed.malformed) == (0 if kind else 1, ())


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(TEST_EVENT),
        in_sns(json.dumps(TEST_EVENT)),
        json.dumps({"Type": "SubscriptionConfirmation", "Message": "You have chosen"}),
        eventbridge("Object Tags Added", "b", "k"),
        eventbridge("Object Created", "b", "k", source="my.own"),
    ],
)
def test_what_says_nothing_to_us(body: str) -> None:
    assert parse(body) == Parsed(ignored=1)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        b"\xff\xfe{",
        "[]",
        "null",
        '{"Records": 3}',
        '{"Type": "Notification", "Message": 3}',
        "[" * 100_000,
        '{"Records": [' + "9" * 5000 + "]}",
        " " * (events.BODY_MAX_BYTES + 1),
        json.dumps({"detail-type": "Object Created", "detail": {"bucket": {}}}),
    ],
)
def test_what_nobody_sends_is_told(body: str | bytes) -> None:
    parsed = parse(body)
    assert len(parsed.malformed) == 1
    assert not parsed.events


@pytest.mark.parametrize("key", ["", None, 3, "%FF", "\ud800"])
def test_a_bad_record_does_not_hide_the_good_ones(key: Any) -> None:
    bad = record("ObjectCreated:Put", "b", "x")
    bad["s3"]["object"]["key"] = key
    parsed = parse(records(record("ObjectCreated:Put", "b", "1"), bad, 3, record("ObjectRemoved:Delete", "b", "2")))
    assert [event.key for event in parsed.events] == ["1", "2"]
    assert len(parsed.malformed) == 2


@pytest.mark.parametrize("time", [None, "", "yesterday", "0001-01-01T00:00:00Z", 5, "9999-12-31T23:59:59-23:59"])
def test_a_time_that_is_none_fails_nothing(time: Any) -> None:
    assert len(parse(records(record("ObjectCreated:Put", "b", "k", time=time))).events) == 1


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
# JSON with the names that the parser looks for in it
NAMES = st.sampled_from(
    [
        "Records",
        "s3",
        "bucket",
        "object",
        "key",
        "name",
        "eventName",
        "eTag",
        "detail",
        "detail-type",
        "Message",
        "Type",
    ]
)
NEARLY = st.recursive(
    JSON | st.sampled_from(["Notification", "ObjectCreated:Put", "Object Created"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=30,
)


@given(st.one_of(st.text(), st.binary(), JSON.map(json.dumps), NEARLY.map(json.dumps)))
@example('{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "%"}}}]}')
def test_nothing_raises(body: str | bytes) -> None:
    parsed = parse(body)
    assert all(event.key and event.key.encode() for event in parsed.events)


@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=5), st.booleans())
def test_every_key_comes_back(wanted: list[tuple[str, bool]], is_wrapped: bool) -> None:
    names = {True: "ObjectCreated:Put", False: "ObjectRemoved:Delete"}
    body = records(*(record(names[created], "b", key) for key, created in wanted))
    parsed = parse(in_sns(body) if is_wrapped else body)
    assert [(event.key, event.kind is EventKind.CREATED) for event in parsed.events] == wanted
    for key, _created in wanted:
        assert parse(eventbridge("Object Created", "b", key)).events[0].key == key
