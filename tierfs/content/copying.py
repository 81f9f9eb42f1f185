"""copy_file_range(2) among open files: through memory, as a program would."""

from typing import Final

from tierfs.content.handles import Files
from tierfs.errors import TierfsError

_PIECE_BYTES: Final = 1 << 20
_MAX_BYTES: Final = 16 << 20  # a program that was killed leaves no more than this to be copied after its end


async def copy_range(files: Files, fh_in: int, offset_in: int, fh_out: int, offset_out: int, length: int) -> int:
    """As many bytes as could be copied, at least one or an error of `read` or `write`; 0 at the end of the file."""
    done, length = 0, min(length, _MAX_BYTES)
    while done < length:
        try:
            data = await files.read(fh_in, offset_in + done, min(_PIECE_BYTES, length - done))
            if not data:
                break
            done += await files.write(fh_out, offset_out + done, data)
        except TierfsError:
            if not done:
                raise
            break
    return done
