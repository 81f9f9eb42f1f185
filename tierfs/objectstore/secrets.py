"""Which texts on this machine are secrets of a store: so that they can be taken out of what is shown to others."""

import re
from collections.abc import Mapping
from typing import Any, Final

import botocore.exceptions
import botocore.session

_SECRET: Final = re.compile(r"secret|token|password|passwd|key|credential", re.IGNORECASE)
_LEAST_CHARS: Final = 4  # shorter ones cannot be told from words


def secret_values(named: Mapping[str, str]) -> set[str]:
    """The values of names that speak of secrets, as in an environment: AWS_SECRET_ACCESS_KEY, API_TOKEN."""
    return {value for name, value in named.items() if _SECRET.search(name) and len(value) >= _LEAST_CHARS}


def configured_secrets() -> set[str]:
    """Those in the AWS configuration files of this user. Reads files only: nobody is asked for credentials."""
    try:
        profiles: Mapping[str, Any] = botocore.session.Session().full_config.get("profiles", {})
    except botocore.exceptions.BotoCoreError:
        return set()
    found: set[str] = set()
    for profile in profiles.values():
        found |= secret_values({name: value for name, value in profile.items() if isinstance(value, str)})
    return found
