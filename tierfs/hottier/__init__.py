"""The local tier: one backing file for each inode that has bytes here, and the account of the room they take.

It knows nothing of the index or of the bucket. `extents` is a pure value; `disk` is the only module that
touches the cache directory; `files` names the backing files; `space` is the tier's ceiling.

Shared by tasks: the descriptors of `BackingFile` (reference-counted, all methods may run at the same time)
and the counters of `Space`. Checkpoints: only methods that are `async`; everything else is atomic.
"""
