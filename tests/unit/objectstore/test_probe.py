"""What the probe concludes from servers that can less, and what it leaves behind."""

from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve

from tests.support.memstore import MemoryStore
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import (
    Always,
    Capabilities,
    Condition,
    IfAbsent,
    ListPage,
    ObjectMeta,
    ObjectStore,
    Written,
)
from tierfs.objectstore.probe import Probed, probe
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.settings import RetrySettings

Kind = StoreErrorKind


class Server(MemoryStore):
    """A server that lacks what `lacks` names, and a store that adopts what was found."""

    def __init__(self, *lacks: str) -> None:
        super().__init__()
        self.lacks = lacks
        self.adopted: list[Capabilities] = []

    def adopt(self, capabilities: Capabilities) -> None:
        self.adopted.append(capabilities)

    async def probe_extras(self, key: str, op_id: str) -> Mapping[str, bool]:
        await super().put(key, b"", ObjectMeta(), Always())
        return {"checksums": True, "tags": False, "storage_classes": True}

    async def put(self, key: str, data: Any, meta: ObjectMeta, condition: Condition, **named: Any) -> Written:
        if "read_only" in self.lacks:
            raise StoreError(Kind.ACCESS_DENIED, "no", key=key)
        if "if_none_match" in self.lacks and isinstance(condition, IfAbsent):
            raise StoreError(Kind.UNSUPPORTED, "not implemented", http_status=501)
        if "conditional_put" in self.lacks:
            condition = Always()
        if "marker_metadata" in self.lacks and key.endswith("/"):
            meta = ObjectMeta()
        return await super().put(key, data, meta, condition, **named)

    async def copy(self, source_key: str, key: str, *, condition: Condition, **named: Any) -> Written:
        if "conditional_copy" in self.lacks:
            condition = Always()
        return await super().copy(source_key, key, condition=condition, **named)

    async def list(self, prefix: str, **named: Any) -> ListPage:
        page = await super().list(prefix, **named)
        if "live_prefixes" in self.lacks and named["delimited"]:
            return evolve(page, prefixes=[*page.prefixes, f"{prefix}below/"])
        if "ordered_listing" in self.lacks:
            return evolve(page, objects=sorted(page.objects, key=lambda info: info.key.split("/")))
        return page

    async def delete(self, key: str, *, if_match: str) -> None:
        await super().delete(key, if_match="" if "conditional_delete" in self.lacks else if_match)

    async def begin_upload(self, key: str, meta: ObjectMeta, *, storage_class: str = "") -> Any:
        if "upload_part_copy" in self.lacks:
            raise StoreError(Kind.UNSUPPORTED, "not implemented", http_status=501)
        return await super().begin_upload(key, meta, storage_class=storage_class)


def run(store: ObjectStore, *, timeout_s: float = 30) -> Capabilities:
    async def main() -> Capabilities:
        return await probe(store, "1-2-3", timeout_s=timeout_s)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_server_that_does_everything() -> None:
    server = Server()
    assert isinstance(server, Probed)
    found = run(server)
    assert found == Capabilities(tags=False, warnings=[])
    assert server.adopted == [Capabilities(), found]
    assert server.objects == {}


@pytest.mark.parametrize(
    "lack",
    [
        "conditional_put",
        "conditional_copy",
        "conditional_delete",
        "upload_part_copy",
        "marker_metadata",
        "live_prefixes",
        "ordered_listing",
    ],
)
def test_one_thing_that_is_missing_is_found_alone_and_told(lack: str) -> None:
    server = Server(lack)
    found = run(server)
    assert evolve(found, warnings=[]) == evolve(Capabilities(tags=False, warnings=[]), **{lack: False})  # type: ignore[arg-type]
    (warning,) = found.warnings
    assert warning.startswith(f"no {lack.replace('_', ' ')}: ")
    assert server.adopted[-1] == found
    assert server.objects == {}


def test_a_server_that_refuses_the_precondition_itself() -> None:
    found = run(Server("if_none_match"))
    assert not found.conditional_put
    assert not found.read_only


def test_a_bucket_that_cannot_be_written() -> None:
    server = Server("read_only")
    found = run(server)
    assert found.read_only
    assert not any((found.conditional_put, found.conditional_copy, found.upload_part_copy, found.marker_metadata))
    assert found.warnings[0].startswith("the bucket cannot be written: access denied")
    assert server.adopted[-1] == found


def test_a_store_without_more_to_ask_answers_for_itself() -> None:
    store = MemoryStore()
    assert run(store) == evolve(store.capabilities, warnings=[])
    assert store.objects == {}


def test_the_probe_reaches_the_store_behind_the_repeats() -> None:
    server = Server("conditional_delete")
    found = run(RetryingStore(server, RetrySettings()))
    assert (
        server.adopted[-1]
        == found
        == evolve(Capabilities(conditional_delete=False, tags=False), warnings=found.warnings)
    )


def test_what_a_slow_server_did_not_answer_counts_as_missing() -> None:
    server = Server()
    server.hold("copy")
    found = run(server, timeout_s=5)
    assert found.conditional_put
    assert not (found.conditional_copy or found.upload_part_copy or found.conditional_delete)
    assert "more than 5 s" in found.warnings[0]
    assert server.objects == {}


def test_a_server_that_fails_is_an_error_and_nothing_is_believed() -> None:
    server = Server()
    server.fail_next("copy", Kind.UNAVAILABLE)
    with pytest.raises(StoreError, check=lambda error: error.kind is Kind.UNAVAILABLE):
        run(server)
    assert not server.adopted[-1].conditional_copy
    assert server.objects == {}


def test_a_refused_cleanup_does_not_hide_the_result() -> None:
    server = Server()
    server.fail_next("delete_many", Kind.ACCESS_DENIED)
    assert run(server).conditional_put


def counted(store: MemoryStore) -> int:
    return sum(store.requests.values())


def test_the_probe_is_small() -> None:
    server = Server()
    run(server)
    assert counted(server) <= 30
