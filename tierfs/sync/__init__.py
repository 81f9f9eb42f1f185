"""Index and bucket brought together: import (bucket to index) and export (index to bucket).

Promises: what the index says is pending reaches the bucket in the end, whatever fails meanwhile, and
never over a version that was not seen here (every write is conditional). What the bucket says reaches
the index through one idempotent function. When both sides changed, both versions are kept.

State-based: an export looks at what an inode is *now* and at what the bucket agreed to last (its base),
not at the history of operations. An intent only says "look at this". So it may be repeated, merged with
another, or found after a crash at any point.

Long work that people ask for (`tasks`, `jobs`) uses both and adds nothing to what they promise.

Shared between tasks: the index (each change one transaction, in sync code), `activity` (which keys were
touched while a listing ran) and `claims` (which keys and inodes have a worker). Checkpoints: every
request to the store, every read of a file's bytes; after each of them the inode is read again, and a
result is recorded only against the write_seq that it was made from.
"""
