"""Names and values; those of the index itself are out of reach."""

import pytest

from tierfs.index import settings
from tierfs.index.env import Index


def test_settings(index: Index) -> None:
    with index.transaction() as txn:
        settings.put(txn, "source", b"s3://bucket")
        with pytest.raises(ValueError, match="no name"):
            settings.put(txn, "\0state", b"")
    assert settings.get(index, "source") == b"s3://bucket"
    assert settings.get(index, "other") is None
    with pytest.raises(ValueError, match="no name"):
        settings.get(index, "")
