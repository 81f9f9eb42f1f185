"""When a writer whom the kernel serves by itself has really ended: a mapping may store after the last close."""

from typing import Final

from tierfs.content.lending import Lending
from tierfs.content.live import LiveFile

# the kernel closes its backing file a moment after the RELEASE
_PAUSE_S: Final = 0.001
_PAUSE_MAX_S: Final = 2.0


async def last_store(live: LiveFile, lending: Lending) -> None:
    """Returns when no mapping is left that could store, or when there is another writer to wait for."""
    pause_s = _PAUSE_S
    while live.writers == 1 and lending.has(live.ino) and not live.is_dead:
        if not live.mutate.locked() and not live.open_backing.has_other_writers():
            return
        await lending.wait(pause_s)
        pause_s = min(2 * pause_s, _PAUSE_MAX_S)
