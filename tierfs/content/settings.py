"""The [content] section of the configuration."""

from attrs import frozen

from tierfs.units import KIB, MIB


@frozen
class ContentSettings:
    """Limits of fetching, keeping and spilling. Every limit has its unit in its name."""

    # opened for reading, a cold file up to this size is fetched whole in one request
    small_file_bytes: int = MIB
    # the unit of random reads
    block_bytes: int = 64 * KIB
    max_window_bytes: int = 32 * MIB
    max_parts_in_flight: int = 16
    # bodies in memory, all files together; readahead may fill three quarters of it
    fetch_memory_bytes: int = 128 * MIB
    file_fetch_memory_bytes: int = 96 * MIB
    # bodies for which the tier had no room, kept for the reads that follow, all files together
    carry_bytes: int = 32 * MIB
    # checksums are verified where the bucket has them and all parts were fetched in one life of the file
    verify: bool = True
    # an open file that is written may hold this share of the tier before its ranges spill to the bucket
    spill_share: float = 0.25
    spill_quiet_s: float = 2.0
    spill_parallel: int = 4  # parts in memory, all files together
    # evicting frees at least so much at a time, or a 32nd of the tier if that is less
    evict_batch_bytes: int = 64 * MIB
    # oldest access first, whatever a file is worth (policy.ranking)
    evicts_by_age: bool = False
    # files that the kernel serves by itself (lending.py); each holds a descriptor in the holder
    lent_files_max: int = 16_384
    # how exact the time of the last use is, for eviction: a change is a write to the index
    last_use_step_s: int = 60
