"""The in-memory store of the unit tests passes the suite that every object store passes."""

import pytest

from tests.conformance.test_objectstore import *  # noqa: F403 - the suite, over the backend below
from tests.support.backends import Backend
from tests.support.memstore import MemoryStore


@pytest.fixture
def backend() -> Backend:
    return Backend("memory", MemoryStore)
