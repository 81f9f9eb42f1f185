"""The slow store keeps to its figures and changes no byte."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.slow_store import Pace, SlowStore, Turns

FIRST_BYTE_S = 0.05
RATE_BYTES_S = 20e6
ANSWER_BYTES = 4_000_000


class Upstream:
    """Reads lines: `get N` is answered by N bytes, `put N` and N bytes by their SHA-256; `end 0` hangs up."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.body = os.urandom(ANSWER_BYTES)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as requests:
            for line in requests:
                verb, size = line.split()
                if verb == b"end":
                    return
                if verb == b"get":
                    connection.sendall(self.body[: int(size)])
                else:
                    connection.sendall(hashlib.sha256(requests.read(int(size))).digest())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


class Client:
    """One connection to a proxy."""

    def __init__(self, url: str) -> None:
        port = int(url.rpartition(":")[2])
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)

    def ask(self, request: bytes, answer_bytes: int) -> tuple[bytes, float, float]:
        """The answer, and the seconds to its first and to its last byte."""
        began = time.perf_counter()
        self._socket.sendall(request)
        answer = bytearray(self._socket.recv(65_536))
        first_s = time.perf_counter() - began
        while len(answer) < answer_bytes:
            answer += self._socket.recv(65_536)
        return bytes(answer), first_s, time.perf_counter() - began

    def close(self) -> None:
        self._socket.close()


def test_each_answer_of_a_connection_begins_late(upstream: Upstream) -> None:
    with SlowStore(upstream.url, first_byte_s=FIRST_BYTE_S) as slow:
        client = Client(slow.url)
        whole_s = []
        for _ in range(5):
            answer, first_s, last_s = client.ask(b"get 100000\n", 100_000)
            assert answer == upstream.body[:100_000]
            assert first_s >= FIRST_BYTE_S
            whole_s.append(last_s)
        client.close()
    # and not held for longer; the kernel holds a cork for 200 ms
    assert min(whole_s) < FIRST_BYTE_S + 0.1


def test_a_connection_carries_its_rate_and_no_more(upstream: Upstream) -> None:
    with SlowStore(upstream.url, first_byte_s=0, rate_bytes_s=RATE_BYTES_S) as slow:
        client = Client(slow.url)
        answer, _first_s, whole_s = client.ask(b"get %d\n" % ANSWER_BYTES, ANSWER_BYTES)
        client.close()
    assert answer == upstream.body
    # the last step is not waited for by its receiver
    assert whole_s >= (ANSWER_BYTES - 256 * 1024) / RATE_BYTES_S * 0.9


def test_what_is_sent_is_slowed_and_not_changed(upstream: Upstream) -> None:
    sent = upstream.body[: ANSWER_BYTES // 2]
    with SlowStore(upstream.url, first_byte_s=FIRST_BYTE_S, rate_bytes_s=RATE_BYTES_S) as slow:
        client = Client(slow.url)
        answer, _first_s, whole_s = client.ask(b"put %d\n" % len(sent) + sent, 32)
        client.close()
    assert answer == hashlib.sha256(sent).digest()
    assert whole_s >= (len(sent) - 256 * 1024) / RATE_BYTES_S * 0.9 + FIRST_BYTE_S


def test_connections_do_not_share_a_rate(upstream: Upstream) -> None:
    with SlowStore(upstream.url, first_byte_s=0, rate_bytes_s=RATE_BYTES_S) as slow:
        clients = [Client(slow.url) for _ in range(4)]
        began = time.perf_counter()
        threads = [
            threading.Thread(target=client.ask, args=(b"get %d\n" % ANSWER_BYTES, ANSWER_BYTES)) for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        together_s = time.perf_counter() - began
        for client in clients:
            client.close()
    # one after the other they would take four times as long
    assert together_s < 3 * ANSWER_BYTES / RATE_BYTES_S


def test_an_end_of_either_side_reaches_the_other(upstream: Upstream) -> None:
    with SlowStore(upstream.url, first_byte_s=0) as slow:
        client = Client(slow.url)
        client.ask(b"get 10\n", 10)
        assert client.ask(b"end 0\n", 0)[0] == b""
        client.close()


def test_only_the_first_bytes_of_an_answer_wait() -> None:
    turns = Turns(0.02)
    assert turns.answer_delay_s(5.0) == 0
    for began_s, ended_s in ((9.9, 10.0), (10.4, 10.5)):
        turns.asks(began_s)
        turns.asked(ended_s)  # the request's last bytes count
    assert turns.answer_delay_s(10.51) == pytest.approx(0.01)
    assert turns.answer_delay_s(10.52) == 0
    turns.asks(20.0)
    assert turns.answer_delay_s(20.1) == 0  # the server took longer by itself
    turns.asks(30.0)
    assert turns.answer_delay_s(30.01) == pytest.approx(0.01)  # it was quicker than who told of the request
    turns.asked(30.015)
    assert turns.answer_delay_s(30.02) == 0


def test_a_pace_makes_up_for_a_late_machine_and_not_for_a_pause() -> None:
    pace = Pace(1000.0)
    assert pace.delay_s(100, 50.0) == pytest.approx(0.1)
    assert pace.delay_s(100, 50.11) == pytest.approx(0.09)  # 10 ms late
    assert pace.delay_s(100, 90.0) == pytest.approx(0.1)
    assert Pace(0).delay_s(1 << 30, 1.0) == 0
