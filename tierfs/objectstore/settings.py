"""What a user or the probe decides about an object store. Frozen values, no I/O."""

from typing import Final

from attrs import field, frozen

from tierfs.units import GIB, MIB

S3_COPY_LIMIT_BYTES: Final = 5 * GIB


@frozen(kw_only=True)
class RetrySettings:
    """How `retrying.RetryingStore` repeats a call.

    A repeat costs one token of a bucket that all calls share: it refills by `tokens_per_s`, by
    `tokens_per_success` with each request that succeeds, up to `burst_tokens`. While it is empty a
    repeat waits for its token: an outage is met with a steady trickle, whatever the number of callers.
    """

    budget_s: float = 60.0  # of one call, from its beginning; 0 = nothing is repeated
    check_budget_s: float = 3.0  # of `check`, where a person waits
    first_backoff_s: float = 0.1  # ceiling of the first pause; doubles with each failure
    max_backoff_s: float = 5.0
    burst_tokens: float = 100.0
    tokens_per_s: float = 10.0
    tokens_per_success: float = 0.1
    corrupt_attempts: int = 3  # a body that is wrong this often is wrong in the bucket


@frozen(kw_only=True)
class S3Settings:
    """An S3 bucket and how to reach it. Holds no secret: credentials come from boto3's chain.

    Empty strings mean "as the environment and the AWS configuration files say".
    """

    bucket: str = ""
    prefix: str = ""  # "" or "a/b/"; opening.py brings a user's spelling into this form
    endpoint_url: str = ""
    region: str = ""
    addressing: str = "auto"  # path | virtual | auto: path where an endpoint is given
    verify_tls: bool = True
    ca_bundle: str = ""
    profile: str = ""
    anonymous: bool = False  # sends unsigned requests
    part_size_bytes: int = 16 * MIB
    connections: int = 32
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    # before a rewrite, one HEAD for the tags and headers that others put on the object
    keep_foreign: bool = True
    copy_limit_bytes: int = S3_COPY_LIMIT_BYTES  # larger objects are copied by parts
    copy_part_bytes: int = 512 * MIB
    retry: RetrySettings = field(factory=RetrySettings)
