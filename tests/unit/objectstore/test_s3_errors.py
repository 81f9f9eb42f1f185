"""Answers and broken connections as store errors. The texts of obstore are those that it was seen to raise."""

import botocore.exceptions as boto_errors
import obstore.exceptions as obstore_errors
import pytest

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.s3_errors import Effect, from_answer, from_body, from_botocore, from_obstore, translating

Kind = StoreErrorKind
READS, WRITES = Effect.READS, Effect.WRITES
SECRET = "wJalrXUtnFEMI"


def obstore_answer(status: int, body: str) -> str:
    return (
        f"Object at location k: Error performing GET http://127.0.0.1:1/b/k in 1.2ms - Server returned non-2xx "
        f"status code: {status} Some Reason: {body}\n\nDebug source:\nGeneric {{ retries: 0, body: Some(...) }}"
    )


def obstore_transport(kind: str, text: str = "") -> str:
    return (
        "Generic S3 error: Error performing GET http://127.0.0.1:1/b/k in 786µs - HTTP error: error sending request\n"
        f"\nDebug source:\nGeneric {{\n inner: Http(\n HttpError {{\n kind: {kind},\n source: {text} }} ) }}"
    )


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", Kind.NOT_FOUND),
        (404, "", Kind.NOT_FOUND),
        (404, "NoSuchBucket", Kind.NO_SUCH_BUCKET),
        (404, "NoSuchUpload", Kind.NOT_FOUND),
        (304, "", Kind.PRECONDITION_FAILED),
        (412, "PreconditionFailed", Kind.PRECONDITION_FAILED),
        (409, "ConditionalRequestConflict", Kind.PRECONDITION_FAILED),
        (409, "OperationAborted", Kind.PRECONDITION_FAILED),
        (403, "", Kind.ACCESS_DENIED),
        (403, "AccessDenied", Kind.ACCESS_DENIED),
        (403, "InvalidAccessKeyId", Kind.BAD_CREDENTIALS),
        (403, "SignatureDoesNotMatch", Kind.BAD_CREDENTIALS),
        (400, "ExpiredToken", Kind.BAD_CREDENTIALS),
        (403, "RequestTimeTooSkewed", Kind.BAD_CREDENTIALS),
        (403, "InvalidObjectState", Kind.ARCHIVED),
        (400, "KeyTooLongError", Kind.KEY_TOO_LONG),
        (400, "EntityTooLarge", Kind.TOO_LARGE),
        (400, "MetadataTooLarge", Kind.INVALID),
        (400, "BadDigest", Kind.CORRUPT),
        (400, "RequestTimeout", Kind.TIMEOUT),
        (416, "InvalidRange", Kind.INVALID),
        (501, "NotImplemented", Kind.UNSUPPORTED),
        (503, "SlowDown", Kind.THROTTLED),
        (429, "", Kind.THROTTLED),
        (503, "", Kind.UNAVAILABLE),
        (301, "", Kind.INVALID),
        (418, "Teapot", Kind.PERMANENT),
    ],
)
@pytest.mark.parametrize("effect", list(Effect))
def test_answers(status: int, code: str, kind: StoreErrorKind, effect: Effect) -> None:
    error = from_answer(status, code, "text", key="k", effect=effect, request_id="R1")
    assert (error.kind, error.key, error.request_id, error.http_status) == (kind, "k", "R1", status)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_that_fails_half_way_may_have_written(status: int) -> None:
    assert from_answer(status, "InternalError", "", key="k", effect=WRITES).kind is Kind.UNCLEAR
    assert from_answer(status, "InternalError", "", key="k", effect=READS).kind is Kind.UNAVAILABLE


def test_an_error_document() -> None:
    body = "<Error><Code>AccessDenied</Code><Message>Access\nDenied</Message><RequestId>4442</RequestId></Error>"
    error = from_body(403, body, key="a/b", effect=READS)
    assert (error.kind, error.request_id) == (Kind.ACCESS_DENIED, "4442")
    assert str(error) == "access denied: AccessDenied: Access\nDenied (key 'a/b') (request id 4442)"
    assert from_body(502, "<html>Bad Gateway</html>", key="k", effect=READS).kind is Kind.UNAVAILABLE


def test_hints_help_people() -> None:
    text = str(from_answer(403, "RequestTimeTooSkewed", "The difference is too large.", key="", effect=READS))
    assert "the clock of this machine is wrong" in text


@pytest.mark.parametrize(
    ("error", "reads", "writes"),
    [
        (boto_errors.EndpointConnectionError(endpoint_url="x"), Kind.UNAVAILABLE, Kind.UNAVAILABLE),
        (boto_errors.ConnectTimeoutError(endpoint_url="x"), Kind.UNAVAILABLE, Kind.UNAVAILABLE),
        (boto_errors.ReadTimeoutError(endpoint_url="x"), Kind.TIMEOUT, Kind.UNCLEAR),
        (boto_errors.ConnectionClosedError(endpoint_url="x"), Kind.UNAVAILABLE, Kind.UNCLEAR),
        (boto_errors.IncompleteReadError(actual_bytes=1, expected_bytes=2), Kind.CORRUPT, Kind.UNCLEAR),
        (boto_errors.SSLError(endpoint_url="x", error="e"), Kind.PERMANENT, Kind.PERMANENT),
        (boto_errors.NoCredentialsError(), Kind.BAD_CREDENTIALS, Kind.BAD_CREDENTIALS),
        (boto_errors.ProfileNotFound(profile="p"), Kind.BAD_CREDENTIALS, Kind.BAD_CREDENTIALS),
        (boto_errors.ParamValidationError(report="r"), Kind.INVALID, Kind.INVALID),
        (boto_errors.DataNotFoundError(data_path="d"), Kind.PERMANENT, Kind.PERMANENT),
    ],
)
def test_broken_connections_of_botocore(error: Exception, reads: StoreErrorKind, writes: StoreErrorKind) -> None:
    assert from_botocore(error, key="k", effect=READS).kind is reads
    assert from_botocore(error, key="k", effect=WRITES).kind is writes


def test_an_answer_of_botocore_without_a_body() -> None:
    answer = {"Error": {"Code": "404", "Message": "Not Found"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
    error = from_botocore(boto_errors.ClientError(answer, "HeadObject"), key="k", effect=READS)  # type: ignore[arg-type]
    assert (error.kind, error.http_status) == (Kind.NOT_FOUND, 404)


@pytest.mark.parametrize(
    ("text", "reads", "writes"),
    [
        (obstore_transport("Connect", "ConnectError(tcp connect error)"), Kind.UNAVAILABLE, Kind.UNAVAILABLE),
        (obstore_transport("Connect", "invalid peer certificate: UnknownIssuer"), Kind.PERMANENT, Kind.PERMANENT),
        (obstore_transport("Timeout"), Kind.TIMEOUT, Kind.UNCLEAR),
        (obstore_transport("Interrupted", "IncompleteMessage"), Kind.CORRUPT, Kind.UNCLEAR),
        (obstore_transport("Request"), Kind.UNAVAILABLE, Kind.UNCLEAR),
        ("Generic S3 error: something new", Kind.PERMANENT, Kind.PERMANENT),
    ],
)
def test_broken_connections_of_obstore(text: str, reads: StoreErrorKind, writes: StoreErrorKind) -> None:
    assert from_obstore(obstore_errors.GenericError(text), key="k", effect=READS).kind is reads
    assert from_obstore(obstore_errors.GenericError(text), key="k", effect=WRITES).kind is writes


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchBucket", Kind.NO_SUCH_BUCKET),
        (403, "SignatureDoesNotMatch", Kind.BAD_CREDENTIALS),
        (416, "InvalidRange", Kind.INVALID),
    ],
)
def test_answers_through_obstore_keep_code_and_request_id(status: int, code: str, kind: StoreErrorKind) -> None:
    body = f"<Error><Code>{code}</Code><Message>m</Message><RequestId>R2</RequestId></Error>"
    error = from_obstore(FileNotFoundError(obstore_answer(status, body)), key="k", effect=READS)
    assert (error.kind, error.request_id, error.http_status) == (kind, "R2", status)


def test_what_a_credential_helper_printed_is_not_passed_on() -> None:
    text = f"Unauthenticated: PyErr {{ value: RuntimeError('helper said {SECRET}') }}"
    error = from_obstore(obstore_errors.UnauthenticatedError(text), key="k", effect=READS)
    assert error.kind is Kind.BAD_CREDENTIALS
    assert SECRET not in str(error)


class PanicException(BaseException):
    """As pyo3 raises it: no Exception, and in no module that can be imported."""


@pytest.mark.parametrize(("effect", "kind"), [(READS, Kind.PERMANENT), (WRITES, Kind.UNCLEAR)])
def test_a_rust_panic_is_one_failed_request(effect: Effect, kind: StoreErrorKind) -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is kind), translating("k", effect):
        raise PanicException


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(ValueError, match="a bug"), translating("k", READS):
        raise ValueError("a bug")
