"""The HTTP half of the S3 double: reads requests, decodes and verifies bodies, sends answers and faults."""

import base64
import contextlib
import hashlib
import http.server
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.s3double_state import CHECKSUMS, PUT_LIMIT_BYTES, Blob, S3Error, checksum

_HOLD_MAX_S: Final = 30.0


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    `applied` says whether the request takes effect all the same: a lost answer is
    `Fault(drop=True, applied=True)`. `hold` keeps the request back until the event is set, before it is
    looked at.
    """

    status: int = 0  # answer with this status and `code`
    code: str = ""
    drop: bool = False  # close the connection without an answer
    applied: bool = False
    late_error: str = ""  # a 200 with this error code in the body, as copies and completions can have
    truncate_body: bool = False  # the promised length, half of the bytes, then a closed connection
    corrupt_body: bool = False  # as many bytes, one of them wrong
    delay_s: float = 0.0
    hold: threading.Event | None = None


@dataclass
class Request:
    """One request as it arrived, with what was answered."""

    op: str
    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]  # lower-case names
    body: bytes = b""
    change_count: int = 0  # of the key when the request began
    status: int = 0
    sent_bytes: int = 0


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Blob = field(default_factory=lambda: Blob([]))
    # of a HEAD: what Content-Length says, there is no body
    declared_bytes: int | None = None


def error_reply(error: S3Error, request: Request, request_id: str) -> Reply:
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{error.code}</Code>'
        f"<Message>{escape(error.message)}</Message><Resource>{escape(_printable(request.key))}</Resource>"
        f"<RequestId>{request_id}</RequestId></Error>"
    )
    if error.status == 304:
        return Reply(304)
    return Reply(error.status, {"Content-Type": "application/xml"}, Blob([xml.encode()]))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def parse_query(text: str) -> dict[str, str]:
    """`a=1&uploads` as {"a": "1", "uploads": ""}; + is a space, as S3 reads it."""
    pairs = (part.replace("+", " ").partition("=") for part in text.split("&") if part)
    return {unquote(name): unquote(value) for name, _, value in pairs}


class Body:
    """Reads and verifies the body of one request."""

    def __init__(self, request: Request, stream: BufferedIOBase) -> None:
        self._request = request
        self._headers = request.headers
        self._stream = stream

    def read(self) -> bytes:
        data = self._transfer()
        sha256 = self._headers.get("x-amz-content-sha256", "")
        sums = {name: value for name, value in self._headers.items() if name.startswith("x-amz-checksum-")}
        if sha256.startswith("STREAMING-"):
            data, trailers = _decode_aws_chunked(data)
            promised = {name.strip().lower() for name in self._headers.get("x-amz-trailer", "").split(",") if name}
            if promised - trailers.keys():
                raise S3Error(
                    400, "MalformedTrailerError", "The request contained trailing data that was not well-formed"
                )
            sums |= trailers
            if int(self._headers.get("x-amz-decoded-content-length", "-1")) != len(data):
                raise S3Error(400, "IncompleteBody", "You did not provide the number of bytes specified")
        elif len(sha256) == 64 and hashlib.sha256(data).hexdigest() != sha256:
            raise S3Error(400, "XAmzContentSHA256Mismatch", "The provided x-amz-content-sha256 does not match the body")
        self._verify(data, sums)
        self._headers.update(sums)
        return data

    def _transfer(self) -> bytes:
        if "chunked" in self._headers.get("transfer-encoding", "").lower():
            return self._read_http_chunks()
        length = self._headers.get("content-length")
        if length is None:
            return b""
        if int(length) > PUT_LIMIT_BYTES:
            raise S3Error(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        data = self._stream.read(int(length))
        if len(data) != int(length):
            raise ConnectionResetError("the client went away in the middle of a body")
        return data

    def _read_http_chunks(self) -> bytes:
        data = b""
        while size := int(self._stream.readline().split(b";")[0], 16):
            data += self._stream.read(size)
            self._stream.readline()
        while self._stream.readline().strip():
            pass
        return data

    def _verify(self, data: bytes, sums: dict[str, str]) -> None:
        md5 = self._headers.get("content-md5")
        if md5 is not None and base64.b64encode(hashlib.md5(data).digest()).decode() != md5:
            raise S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
        if self._request.op == "CompleteMultipartUpload":
            return  # its checksum is that of the object, not of this document
        for name, value in sums.items():
            algorithm = name.removeprefix("x-amz-checksum-")
            if algorithm in CHECKSUMS and checksum(algorithm, data) != value:
                raise S3Error(400, "BadDigest", f"The {algorithm} you specified did not match what we received.")


def _decode_aws_chunked(data: bytes) -> tuple[bytes, dict[str, str]]:
    """The payload and the trailers of a body in `aws-chunked` encoding."""
    out = bytearray()
    at = 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end].split(b";")[0], 16)
        at = end + 2
        if size == 0:
            break
        out += data[at : at + size]
        if data[at + size : at + size + 2] != b"\r\n":
            raise S3Error(400, "IncompleteBody", "A chunk is shorter than it says")
        at += size + 2
    lines = data[at:].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return bytes(out), {name.strip().lower(): value.strip() for name, _, value in pairs}


# what the handler asks of the double
Identify = Callable[[str, str, str, dict[str, str], dict[str, str]], Request]
Serve = Callable[[Request], tuple[Reply, Fault | None]]


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server: "Server"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with contextlib.suppress(OSError):  # the client, or a fault, has closed it
            super().finish()

    def handle_expect_100(self) -> bool:
        done = super().handle_expect_100()
        self.wfile.flush()  # a client waits a second for it
        return done

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def _serve(self) -> None:
        target = urlsplit("http://host" + self.path)  # "//x" is a path here, not a host
        headers = {name.lower(): value for name, value in self.headers.items()}
        bucket, _, key = target.path[1:].partition("/")
        request = self.server.identify(self.command, unquote(bucket), unquote(key), parse_query(target.query), headers)
        request_id = self.server.new_request_id()
        try:
            request.body = Body(request, self.rfile).read()
            reply, fault = self.server.serve(request)
        except S3Error as error:
            reply, fault = error_reply(error, request, request_id), None
            self.close_connection = error.code == "EntityTooLarge"  # its body was not read
        if fault is not None and fault.drop:
            self._cut()
            return
        self._send(request, reply, fault, request_id)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _send(self, request: Request, reply: Reply, fault: Fault | None, request_id: str) -> None:
        body = b"" if self.command == "HEAD" else reply.body.read()
        declared = reply.declared_bytes if reply.declared_bytes is not None else reply.body.size_bytes
        request.status, request.sent_bytes = reply.status, len(body)
        self.send_response(reply.status)
        for name, value in {"x-amz-request-id": request_id, **reply.headers}.items():
            self.send_header(name, value)
        if reply.status not in (204, 304):
            self.send_header("Content-Length", str(declared))
        self.end_headers()
        if fault is not None and fault.corrupt_body and body:
            body = body[:-1] + bytes([body[-1] ^ 0xFF])
        if fault is not None and fault.truncate_body:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self._cut()
            return
        self.wfile.write(body)
        self.wfile.flush()

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Server(http.server.ThreadingHTTPServer):
    """The listening socket; threads are daemons, so that a held request does not hold the end of a test."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, identify: Identify, serve: Serve) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.identify = identify
        self.serve = serve
        self.connections: set[socket.socket] = set()
        self._request_count = 0
        self._count_lock = threading.Lock()

    def new_request_id(self) -> str:
        with self._count_lock:
            self._request_count += 1
            return f"DOUBLE{self._request_count:010d}"

    def server_bind(self) -> None:
        # HTTPServer asks the resolver for its own name, which can take seconds
        super(http.server.HTTPServer, self).server_bind()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def cut_all(self) -> None:
        """Closes every connection, as a server that dies does."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def wait_as_told(fault: Fault) -> None:
    if fault.hold is not None:
        fault.hold.wait(_HOLD_MAX_S)
    if fault.delay_s:
        threading.Event().wait(fault.delay_s)
