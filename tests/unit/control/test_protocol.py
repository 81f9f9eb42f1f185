"""Lines of the protocol: what is refused, and that any path comes through unchanged."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfs.control import protocol
from tierfs.control.protocol import ErrorCode, ProtocolError


@given(st.integers(0, protocol.ID_MAX), st.text(max_size=20), st.binary(max_size=60))
def test_a_request_comes_through_with_any_bytes_as_path(request_id: int, verb: str, path: bytes) -> None:
    line = protocol.request(request_id, verb, {"path": protocol.path_to_json(path)})
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    request = protocol.parse_request(line)
    assert (request.id, request.verb) == (request_id, verb)
    assert protocol.path_from_json(request.args["path"]) == path


def test_args_may_be_missing_and_unknown_fields_are_passed_over() -> None:
    request = protocol.parse_request(b'{"v":1,"id":3,"verb":"status","later":true}')
    assert request == (3, "status", {})


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"", ErrorCode.BAD_REQUEST, None),
        (b"status", ErrorCode.BAD_REQUEST, None),
        (b"[1]", ErrorCode.BAD_REQUEST, None),
        (b'{"v":1,"verb":"status"}', ErrorCode.BAD_REQUEST, None),
        (b'{"v":1,"id":"7","verb":"status"}', ErrorCode.BAD_REQUEST, None),
        (b'{"v":1,"id":true,"verb":"status"}', ErrorCode.BAD_REQUEST, None),
        (b'{"v":1,"id":-1,"verb":"status"}', ErrorCode.BAD_REQUEST, None),
        (b'{"v":1,"id":9007199254740992,"verb":"status"}', ErrorCode.BAD_REQUEST, None),
        (b'{"v":1,"id":' + b"9" * 5000 + b',"verb":"status"}', ErrorCode.BAD_REQUEST, None),
        (b'{"v":2,"id":7,"verb":"status"}', ErrorCode.VERSION, 7),
        (b'{"id":7,"verb":"status"}', ErrorCode.VERSION, 7),
        (b'{"v":1,"id":7}', ErrorCode.BAD_REQUEST, 7),
        (b'{"v":1,"id":7,"verb":"info","args":["a"]}', ErrorCode.BAD_REQUEST, 7),
        (b'{"v":1,"id":7,"verb":"\xff"}', ErrorCode.BAD_REQUEST, None),
        ('{"v":1,"id":7,"verb":"status"}'.encode("utf-16"), ErrorCode.BAD_REQUEST, None),
        (b"[" * 60_000, ErrorCode.BAD_REQUEST, None),
    ],
)
def test_what_is_no_request_is_refused(line: bytes, code: ErrorCode, request_id: int | None) -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol.parse_request(line)
    assert (caught.value.code, caught.value.request_id) == (code, request_id)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_protocol_error(line: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        protocol.parse_request(line)


def test_an_answer_too_long_for_clients_becomes_a_failure() -> None:
    line = protocol.answer(5, {"x": "y" * protocol.ANSWER_LIMIT_BYTES})
    message = json.loads(line)
    assert len(line) < 1000
    assert (message["id"], message["ok"], message["error"]["code"]) == (5, False, "internal")


def test_a_failure_has_code_message_and_errno() -> None:
    assert json.loads(protocol.failure(None, ErrorCode.BUSY, "m" * 10_000, 16)) == {
        "v": 1,
        "id": None,
        "ok": False,
        "error": {"code": "busy", "message": "m" * 4096, "errno": 16},
    }
