"""What an object says of its archive: is it readable, is it being restored, until when. Pure.

S3 tells of a restore in a header of HEAD and GET (`ObjectInfo.restore`), as
`ongoing-request="true"`, then `ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"`; an archive tier
of Intelligent-Tiering has the first form alone, and gives the object back for good.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

import re
from typing import Final

from attrs import frozen

from tierfs.objectstore.base import ObjectInfo
from tierfs.objectstore.s3_headers import parse_http_date_ns

_EXPIRY: Final = re.compile('expiry-date="([^"]*)"')


@frozen
class RestoreState:
    """`expires_ns`: until when a copy can be read; None while there is none, or where it stays."""

    is_ongoing: bool
    expires_ns: int | None = None


def restore_state(info: ObjectInfo) -> RestoreState | None:
    """None: nobody has asked for a restore, or its copy has expired. CORRUPT when the expiry is no date."""
    if not info.restore:
        return None
    expiry = _EXPIRY.search(info.restore)
    is_ongoing = 'ongoing-request="true"' in info.restore
    return RestoreState(is_ongoing, parse_http_date_ns(expiry[1]) if expiry else None)
