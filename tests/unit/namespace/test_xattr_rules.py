"""Extended attributes: names and values that there may be, and who sees which."""

import errno

import pytest

from tierfs.errors import FsError
from tierfs.namespace import xattr_rules
from tierfs.namespace.verbs import Caller


@pytest.mark.parametrize("name", [b"user.a", b"trusted.a", b"security.capability", b"system.posix_acl_access"])
def test_namespaces_that_there_are(name: bytes) -> None:
    xattr_rules.check_name(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"system.nfs4_acl", errno.EOPNOTSUPP),
        (b"other.a", errno.EOPNOTSUPP),
        (b"", errno.EOPNOTSUPP),
        (b"user." + b"a" * 251, errno.ERANGE),
    ],
)
def test_names_that_are_refused(name: bytes, code: int) -> None:
    with pytest.raises(FsError) as refused:
        xattr_rules.check_name(name)
    assert refused.value.errno == code


def test_the_longest_name_and_value() -> None:
    xattr_rules.check_name(b"user." + b"a" * 250)
    xattr_rules.check_value(b"user.a", bytes(65_536))
    with pytest.raises(FsError) as refused:
        xattr_rules.check_value(b"user.a", bytes(65_537))
    assert refused.value.errno == errno.E2BIG


def test_a_rule_of_tiering_is_one_that_can_be_understood() -> None:
    xattr_rules.check_value(b"user.tierfs.tiering", b'hot_at_most_s = "7d"')
    for value in (b"pinn = true", b"\xff", b"", b'path = "a"\npin = true'):
        with pytest.raises(FsError) as refused:
            xattr_rules.check_value(b"user.tierfs.tiering", value)
        assert refused.value.errno == errno.EINVAL


def test_only_root_sees_trusted_names() -> None:
    names = [b"trusted.a", b"user.b"]
    assert xattr_rules.visible(names, Caller(uid=0, gid=0)) == names
    assert xattr_rules.visible(names, Caller(uid=7, gid=0)) == [b"user.b"]
