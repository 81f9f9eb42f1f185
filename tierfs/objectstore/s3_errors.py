"""What S3, botocore and obstore say when something fails, as one `StoreError`.

Pure functions. Messages are made of S3's code and text only: neither client's own text is passed
on, since it carries URLs, stack traces and, for a credential helper, whatever that printed.

A request that changes something and whose answer got lost is UNCLEAR. UNAVAILABLE and THROTTLED
promise that the server did not act.
"""

import enum
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import botocore.exceptions as boto_errors
import obstore.exceptions as obstore_errors

from tierfs.errors import StoreError, StoreErrorKind

Kind = StoreErrorKind


class Effect(enum.Enum):
    """Whether a request may have changed the bucket although its answer never came."""

    READS = enum.auto()
    WRITES = enum.auto()


# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_KIND_OF_CODE: Final = {
    "NoSuchKey": Kind.NOT_FOUND,
    "NoSuchVersion": Kind.NOT_FOUND,
    "NoSuchUpload": Kind.NOT_FOUND,
    "NoSuchBucket": Kind.NO_SUCH_BUCKET,
    "PreconditionFailed": Kind.PRECONDITION_FAILED,
    "ConditionalRequestConflict": Kind.PRECONDITION_FAILED,
    "InvalidAccessKeyId": Kind.BAD_CREDENTIALS,
    "SignatureDoesNotMatch": Kind.BAD_CREDENTIALS,
    "ExpiredToken": Kind.BAD_CREDENTIALS,
    "InvalidToken": Kind.BAD_CREDENTIALS,
    "TokenRefreshRequired": Kind.BAD_CREDENTIALS,
    "InvalidSecurity": Kind.BAD_CREDENTIALS,
    "NotSignedUp": Kind.BAD_CREDENTIALS,
    "AuthorizationHeaderMalformed": Kind.BAD_CREDENTIALS,
    "RequestTimeTooSkewed": Kind.BAD_CREDENTIALS,
    "AccessDenied": Kind.ACCESS_DENIED,
    "AllAccessDisabled": Kind.ACCESS_DENIED,
    "AccountProblem": Kind.ACCESS_DENIED,
    "InvalidObjectState": Kind.ARCHIVED,
    "ObjectNotInActiveTierError": Kind.ARCHIVED,  # of a copy's source
    "KeyTooLongError": Kind.KEY_TOO_LONG,
    "EntityTooLarge": Kind.TOO_LARGE,
    "MethodNotAllowed": Kind.UNSUPPORTED,
    "NotImplemented": Kind.UNSUPPORTED,
    "BadDigest": Kind.CORRUPT,
    "InvalidDigest": Kind.CORRUPT,
    "IncompleteBody": Kind.CORRUPT,
    "XAmzContentSHA256Mismatch": Kind.CORRUPT,
    "XAmzContentChecksumMismatch": Kind.CORRUPT,
    "SlowDown": Kind.THROTTLED,
    "SlowDownRead": Kind.THROTTLED,
    "SlowDownWrite": Kind.THROTTLED,
    "Throttling": Kind.THROTTLED,
    "ThrottlingException": Kind.THROTTLED,
    "RequestLimitExceeded": Kind.THROTTLED,
    "RequestThrottled": Kind.THROTTLED,
    "TooManyRequests": Kind.THROTTLED,
    "BandwidthLimitExceeded": Kind.THROTTLED,
    # a 503 that says nothing of the server: all other requests go on
    "GlacierExpeditedRetrievalNotAvailable": Kind.THROTTLED,
    "RequestTimeout": Kind.TIMEOUT,
    "ServiceUnavailable": Kind.UNAVAILABLE,
    "PermanentRedirect": Kind.INVALID,
    "TemporaryRedirect": Kind.UNAVAILABLE,
    "EntityTooSmall": Kind.INVALID,
    "MetadataTooLarge": Kind.INVALID,
}
_KIND_OF_STATUS: Final = {
    304: Kind.PRECONDITION_FAILED,
    400: Kind.INVALID,
    401: Kind.BAD_CREDENTIALS,
    403: Kind.ACCESS_DENIED,
    404: Kind.NOT_FOUND,
    405: Kind.UNSUPPORTED,
    408: Kind.TIMEOUT,
    409: Kind.PRECONDITION_FAILED,
    411: Kind.INVALID,
    412: Kind.PRECONDITION_FAILED,
    413: Kind.TOO_LARGE,
    416: Kind.INVALID,
    429: Kind.THROTTLED,
    501: Kind.UNSUPPORTED,
    503: Kind.UNAVAILABLE,
}
_HINTS: Final = {
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "PermanentRedirect": "the bucket is in another region or behind another endpoint: set store.region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set store.region",
    "InvalidAccessKeyId": "the access key is not known to this server",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
    "ExpiredToken": "the session has expired: renew the credentials",
    "InvalidObjectState": "the object is archived: restore it first",
}
_ELEMENT: Final = re.compile(r"<(Code|Message|RequestId)>(.*?)</\1>", re.DOTALL)
_OBSTORE_STATUS: Final = re.compile(r"Server returned (?:non-2xx|error) (?:status code|response)[^0-9]*([0-9]{3})")
_OBSTORE_TRANSPORT: Final = re.compile(r"HttpError \{\s*kind: ([A-Za-z]+)")
_CUT_SHORT: Final = re.compile(r"IncompleteMessage|UnexpectedEof|end of file before|IncompleteBody|error decoding")
_CERTIFICATE: Final = re.compile(r"certificate|InvalidCertificate|UnknownIssuer", re.IGNORECASE)


def from_answer(status: int, code: str, message: str, *, key: str, effect: Effect, request_id: str = "") -> StoreError:
    """The error for an HTTP answer; `code` and `message` are S3's, "" for an answer without a body."""
    kind = _KIND_OF_CODE.get(code) or _KIND_OF_STATUS.get(status)
    if kind is None:
        if status >= 500 or code == "InternalError":
            # the server failed half-way, or a proxy lost it
            kind = Kind.UNCLEAR if effect is Effect.WRITES else Kind.UNAVAILABLE
        elif 300 <= status < 400:
            kind, code = Kind.INVALID, code or "PermanentRedirect"
        else:
            kind = Kind.PERMANENT
    words = [part for part in (code, message or _HINTS.get(code, "")) if part] or [f"HTTP {status}"]
    text = ": ".join(words)
    hint = _HINTS.get(code)
    if hint and message:
        text += f" ({hint})"
    return StoreError(kind, text, key=key, request_id=request_id, http_status=status)


def from_body(status: int, body: str, *, key: str, effect: Effect, request_id: str = "") -> StoreError:
    """The error for an answer whose body, if any, is S3's <Error> document."""
    found = {name: text.strip() for name, text in _ELEMENT.findall(body[:8192])}
    return from_answer(
        status,
        found.get("Code", ""),
        found.get("Message", ""),
        key=key,
        effect=effect,
        request_id=request_id or found.get("RequestId", ""),
    )


def _lost(text: str, *, key: str, effect: Effect, kind: StoreErrorKind = Kind.UNAVAILABLE) -> StoreError:
    """The connection broke after the request may have been sent."""
    return StoreError(Kind.UNCLEAR if effect is Effect.WRITES else kind, text, key=key)


def from_botocore(error: Exception, *, key: str, effect: Effect) -> StoreError:
    """The error for what a boto3 call raised."""
    if isinstance(error, boto_errors.ClientError):
        answer = cast(dict[str, Any], error.response)
        metadata = answer.get("ResponseMetadata", {})
        details = answer.get("Error", {})
        code = str(details.get("Code", ""))
        return from_answer(
            int(metadata.get("HTTPStatusCode", 0)),
            "" if code.isdigit() else code,  # HEAD has no body: botocore puts the status there
            str(details.get("Message", "")),
            key=key,
            effect=effect,
            request_id=str(metadata.get("RequestId", "")),
        )
    if isinstance(
        error,
        boto_errors.NoCredentialsError
        | boto_errors.PartialCredentialsError
        | boto_errors.CredentialRetrievalError
        | boto_errors.TokenRetrievalError
        | boto_errors.UnauthorizedSSOTokenError
        | boto_errors.SSOTokenLoadError,
    ):
        return StoreError(Kind.BAD_CREDENTIALS, f"no usable AWS credentials: {error}", key=key)
    if isinstance(error, boto_errors.ProfileNotFound):
        return StoreError(Kind.BAD_CREDENTIALS, str(error), key=key)
    if isinstance(error, boto_errors.SSLError):
        return StoreError(Kind.PERMANENT, f"TLS failed: {error} (set store.ca_bundle for a private CA)", key=key)
    if isinstance(error, boto_errors.ConnectTimeoutError):
        return StoreError(Kind.UNAVAILABLE, "connecting to the server took too long", key=key)
    if isinstance(error, boto_errors.EndpointConnectionError | boto_errors.ProxyConnectionError):
        return StoreError(Kind.UNAVAILABLE, f"cannot connect to the server: {error}", key=key)
    if isinstance(error, boto_errors.ReadTimeoutError):
        return _lost("the server did not answer in time", key=key, effect=effect, kind=Kind.TIMEOUT)
    if isinstance(error, boto_errors.IncompleteReadError | boto_errors.ResponseStreamingError):
        return _lost("the answer was cut short", key=key, effect=effect, kind=Kind.CORRUPT)
    if isinstance(error, boto_errors.ParamValidationError | boto_errors.InvalidEndpointConfigurationError):
        return StoreError(Kind.INVALID, str(error), key=key)
    if isinstance(error, boto_errors.HTTPClientError):
        return _lost(f"the connection broke: {type(error).__name__}", key=key, effect=effect)
    return StoreError(Kind.PERMANENT, f"{type(error).__name__}: {error}", key=key)


def from_obstore(error: BaseException, *, key: str, effect: Effect) -> StoreError:
    """The error for what obstore raised; its exception classes say less than its text does."""
    text = str(error)
    status = _OBSTORE_STATUS.search(text)
    if status:
        return from_body(int(status[1]), text, key=key, effect=effect)
    if isinstance(error, obstore_errors.UnauthenticatedError):
        return StoreError(Kind.BAD_CREDENTIALS, "no usable AWS credentials", key=key)
    transport = _OBSTORE_TRANSPORT.search(text)
    kind = transport[1] if transport else ""
    if kind == "Connect":
        if _CERTIFICATE.search(text):
            return StoreError(Kind.PERMANENT, "TLS failed (set store.ca_bundle for a private CA)", key=key)
        return StoreError(Kind.UNAVAILABLE, "cannot connect to the server", key=key)
    if kind == "Timeout":
        return _lost("the server did not answer in time", key=key, effect=effect, kind=Kind.TIMEOUT)
    if _CUT_SHORT.search(text):
        return _lost("the answer was cut short", key=key, effect=effect, kind=Kind.CORRUPT)
    if kind:
        return _lost("the connection broke", key=key, effect=effect)
    return StoreError(Kind.PERMANENT, text.partition("\n")[0][:300], key=key)


def _translated(error: BaseException, key: str, effect: Effect) -> StoreError | None:
    if isinstance(error, boto_errors.BotoCoreError | boto_errors.ClientError):
        return from_botocore(error, key=key, effect=effect)
    if isinstance(error, obstore_errors.BaseError | FileNotFoundError | PermissionError):
        return from_obstore(error, key=key, effect=effect)
    if isinstance(error, ValueError) and str(error).startswith("Could not parse path"):
        return StoreError(Kind.INVALID, "obstore cannot name this key", key=key)
    if type(error).__name__ == "PanicException":
        # a Rust panic derives from BaseException and would end the event loop; it is one failed request
        return StoreError(Kind.UNCLEAR if effect is Effect.WRITES else Kind.PERMANENT, "obstore panicked", key=key)
    return None


@contextmanager
def translating(key: str, effect: Effect) -> Iterator[None]:
    """Raises what the body raises, the clients' own exceptions turned into `StoreError`."""
    try:
        yield
    except BaseException as error:
        translated = _translated(error, key, effect)
        if translated is None:
            raise
        raise translated from error
