"""The three ways to one bucket: boto3's client, obstore's store, and `Wire` between them.

`Wire` signs with botocore's signer and sends through botocore's HTTP session, without the rest of
boto3: for requests that are frequent and simple (HEAD, LIST, DELETE, odd keys). Seen for a HEAD:
1.1 ms of CPU against 2.7 ms with boto3, and all headers, where obstore (0.25 ms) hides Expires,
x-amz-restore and others.

Everything here blocks and is called in worker threads; all objects may be shared between them. No
client repeats a request: a repeat inside would report 412 on its own success (seen).
"""

import datetime
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote, urlsplit

import boto3
import botocore.session
import obstore.store
from attrs import evolve, frozen
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.s3_billing import Billing, Tell, tell_nobody
from tierfs.objectstore.s3_errors import Effect, from_body, translating
from tierfs.objectstore.s3_keys import quote_key
from tierfs.objectstore.settings import S3Settings

DEFAULT_REGION: Final = "us-east-1"
# botocore renews ten minutes before the end at the latest, and obstore asks again five minutes before
# the end that it is told: what it holds is always good
_CREDENTIAL_LIFE: Final = datetime.timedelta(minutes=10)
# obstore's limit for a whole request, body included; silence is bounded by read_timeout_s
_REQUEST_LIMIT_S: Final = 600
_EXPRESS_SUFFIX: Final = "--x-s3"
_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")

BotoClient: TypeAlias = Any
Credentials: TypeAlias = Any


@frozen
class Answer:
    """A successful answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RawHeaders:
    """Headers for the boto3 call that this thread makes next, as they are.

    boto3 takes Expires only as a date that it formats itself, but "0" is a common value.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    @contextmanager
    def __call__(self, headers: Mapping[str, str]) -> Any:
        self._of_thread.headers = headers
        try:
            yield
        finally:
            self._of_thread.headers = {}

    def before_call(self, params: dict[str, Any], **_event: object) -> None:
        params["headers"].update(getattr(self._of_thread, "headers", {}))


class Wire:
    """Single signed requests to one bucket."""

    def __init__(
        self,
        bucket_url: str,
        region: str,
        credentials: Credentials | None,
        session: URLLib3Session,
        billing: Billing,
    ) -> None:
        self._bucket_url = bucket_url
        self._region = region
        self._credentials = credentials
        self._session = session
        self._billing = billing

    def request(
        self,
        method: str,
        full: str,
        *,
        key: str,
        effect: Effect,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on the bucket (`full` == "") or an object; StoreError unless it answers 2xx.

        `key` is what errors show.
        """
        url = self._bucket_url + "/" + quote_key(full)
        if query:
            url += "?" + "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
        request = AWSRequest(method=method, url=url, headers=dict(headers or {}))
        with translating(key, effect):
            if self._credentials is not None:
                S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
            answer = self._session.send(request.prepare())
            body: bytes = answer.content
        found = {name.lower(): str(value) for name, value in answer.headers.items()}
        self._billing.wire(method, full, query or {}, answer.status_code, found, body)
        if 200 <= answer.status_code < 300:
            return Answer(answer.status_code, found, body)
        raise from_body(
            answer.status_code,
            body.decode(errors="replace"),
            key=key,
            effect=effect,
            request_id=found.get("x-amz-request-id", ""),
        )

    def server_time_s(self) -> float | None:
        """What the server's clock says; None where it does not tell.

        Not signed, and so refused by most: a wrong clock of ours would spoil a signature, and each answer is dated.
        """
        with translating("", Effect.READS):
            answer = self._session.send(AWSRequest(method="HEAD", url=self._bucket_url).prepare())
        try:
            return parsedate_to_datetime(str(answer.headers.get("date", ""))).timestamp()
        except ValueError:
            return None

    def close(self) -> None:
        self._session.close()


@frozen
class Connection:
    """An open way to a bucket. Credentials stay inside the clients; repr shows none."""

    settings: S3Settings
    client: BotoClient
    wire: Wire
    objects: obstore.store.S3Store
    raw_headers: RawHeaders
    billing: Billing
    is_tls: bool
    open_objects: Callable[[bool], obstore.store.S3Store]

    def __repr__(self) -> str:
        return f"Connection(s3://{self.settings.bucket}/{self.settings.prefix})"

    def with_checksums(self, wanted: bool) -> "Connection":
        """The same, with obstore sending the CRC-64 of each body or not."""
        return evolve(self, objects=self.open_objects(wanted))

    def close(self) -> None:
        self.wire.close()
        self.client.close()


def _credentials_of(session: botocore.session.Session, settings: S3Settings) -> Credentials | None:
    if settings.anonymous:
        return None
    credentials = session.get_credentials()
    if credentials is None:
        raise StoreError(
            StoreErrorKind.BAD_CREDENTIALS,
            "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or store.profile",
        )
    return credentials


def _botocore_config(settings: S3Settings, *, has_endpoint: bool) -> Config:
    addressing = settings.addressing
    if addressing == "auto" and has_endpoint:
        addressing = "path"
    return Config(
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        max_pool_connections=settings.connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        s3=cast(Any, {"addressing_style": addressing}),
        signature_version=UNSIGNED if settings.anonymous else "s3v4",
        # the checksums that S3 does not ask for are given by us, made in C
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra="tierfs",
    )


def _region_of_bucket(client: BotoClient, settings: S3Settings) -> str:
    """Where Amazon keeps the bucket; S3 says so even when it refuses."""
    with translating("", Effect.READS):
        try:
            answer = client.head_bucket(Bucket=settings.bucket)
        except client.exceptions.ClientError as error:
            answer = error.response
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region", ""))


class _UrlFound(Exception):
    pass


def _bucket_url(client: BotoClient, bucket: str) -> str:
    """Where botocore's rules put the bucket: in the path, or in the host. Sends nothing."""
    urls: list[str] = []

    def stop(request: Any, **_event: object) -> None:
        urls.append(request.url)
        raise _UrlFound

    client.meta.events.register("before-send.s3.HeadObject", stop)
    try:
        client.head_object(Bucket=bucket, Key="k")
    except _UrlFound:
        pass
    finally:
        client.meta.events.unregister("before-send.s3.HeadObject", stop)
    return urls[0].removesuffix("/k")


def _provider(credentials: Credentials) -> Callable[[], dict[str, Any]]:
    """What obstore calls, from a thread of its own, when the credentials that it holds run out."""

    def current() -> dict[str, Any]:
        frozen_now = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen_now.access_key,
            "secret_access_key": frozen_now.secret_key,
            "token": frozen_now.token,
            "expires_at": datetime.datetime.now(datetime.UTC) + _CREDENTIAL_LIFE,
        }

    return current


def tls_of(session: botocore.session.Session, settings: S3Settings) -> tuple[bool | str, str]:
    """What to verify with: for botocore (True, False or a file), and a file of extra roots or ""."""
    if not settings.verify_tls:
        return False, ""
    bundle = settings.ca_bundle or str(session.get_config_variable("ca_bundle") or "")
    return bundle or True, bundle


def _objects_opener(
    settings: S3Settings, *, bucket_url: str, region: str, credentials: Credentials | None, ca_file: str
) -> Callable[[bool], obstore.store.S3Store]:
    url = urlsplit(bucket_url)
    is_tls = url.scheme == "https"
    is_virtual = url.path in ("", "/")
    options: dict[str, Any] = {
        "allow_http": not is_tls,
        "allow_invalid_certificates": not settings.verify_tls,
        "connect_timeout": datetime.timedelta(seconds=settings.connect_timeout_s),
        "read_timeout": datetime.timedelta(seconds=settings.read_timeout_s),
        "timeout": datetime.timedelta(seconds=_REQUEST_LIMIT_S),
        "pool_idle_timeout": datetime.timedelta(seconds=20),
        "user_agent": "tierfs",
    }
    if ca_file:
        options["root_certificate"] = Path(ca_file).read_bytes()

    def open_objects(checksums: bool) -> obstore.store.S3Store:
        endpoint = bucket_url if is_virtual else f"{url.scheme}://{url.netloc}"
        config: dict[str, Any] = {
            "region": region,
            "endpoint": endpoint,
            "aws_endpoint_url_s3": endpoint,  # else AWS_ENDPOINT_URL_S3 of the environment would win
            "virtual_hosted_style_request": is_virtual,
            # TLS and a checksum do what the SHA-256 in the signature does, at a sixth of its cost
            "unsigned_payload": is_tls and checksums,
            "skip_signature": credentials is None,
        }
        if checksums:
            config["checksum_algorithm"] = "CRC64NVME"
        return obstore.store.S3Store(
            settings.bucket,
            config=cast(Any, config),
            client_options=cast(Any, options),
            retry_config={"max_retries": 0},
            credential_provider=cast(Any, _provider(credentials)) if credentials is not None else None,
        )

    return open_objects


def connect(settings: S3Settings, tell: Tell = tell_nobody) -> Connection:
    """Finds credentials, endpoint and region, and opens the clients. Blocks; no request is sent but,
    for a bucket of Amazon's whose region nobody gave, one HEAD. BAD_CREDENTIALS, INVALID."""
    if settings.bucket.endswith(_EXPRESS_SUFFIX):
        raise StoreError(StoreErrorKind.UNSUPPORTED, "directory buckets (S3 Express) sign in a way of their own")
    with translating("", Effect.READS):
        session = botocore.session.Session(profile=settings.profile or None)
        credentials = _credentials_of(session, settings)
        verify, ca_file = tls_of(session, settings)
        region = settings.region or str(session.get_config_variable("region") or DEFAULT_REGION)
        boto = boto3.Session(botocore_session=session)

        def open_client(region: str, *, has_endpoint: bool) -> BotoClient:
            return boto.client(
                "s3",
                region_name=region,
                endpoint_url=settings.endpoint_url or None,
                verify=verify,
                config=_botocore_config(settings, has_endpoint=has_endpoint),
            )

        client = open_client(region, has_endpoint=bool(settings.endpoint_url))
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        if not host.endswith(_AMAZON):
            # the environment or a profile may name the endpoint, too
            client = open_client(region, has_endpoint=True)
        elif not settings.region:
            actual = _region_of_bucket(client, settings)
            if actual and actual != region:
                region = actual
                client = open_client(region, has_endpoint=bool(settings.endpoint_url))

        raw_headers = RawHeaders()
        client.meta.events.register("before-call.s3", raw_headers.before_call)
        bucket_url = _bucket_url(client, settings.bucket)
        billing = Billing(tell, settings.prefix)
        billing.watch(client)
        open_objects = _objects_opener(
            settings, bucket_url=bucket_url, region=region, credentials=credentials, ca_file=ca_file
        )
        http = URLLib3Session(
            verify=cast(Any, verify),  # a file name is fine, the stubs say bool
            proxies=get_environ_proxies(bucket_url),
            timeout=cast(Any, (settings.connect_timeout_s, settings.read_timeout_s)),
            max_pool_connections=settings.connections,
        )
        return Connection(
            settings=settings,
            client=client,
            wire=Wire(bucket_url, region, credentials, http, billing),
            objects=open_objects(True),
            raw_headers=raw_headers,
            billing=billing,
            is_tls=bucket_url.startswith("https:"),
            open_objects=open_objects,
        )
