"""Open files and their bytes: what a file handle reads and writes, wherever the bytes are.

It promises:

- A reader sees one version of an object. Absent bytes are fetched with If-Match of the inode's base; a body
  of the wrong length or checksum is refused and fetched once more; nothing stale is ever published.
- One request a range, however many readers wait for it. A reader that is cancelled leaves the others alone,
  and what nobody waits for any more is cancelled. A failure reaches all who waited and is not remembered.
- A written byte is in the backing file, and what the index says of the file leads to it, before `write`
  answers: it survives SIGKILL. After `fsync` it survives power loss.
- What is absent is never shown as zeros: bytes are published (extents in the index) after they are in the
  backing file, and where a file is `synced` for the index, only after they are synced, too.
- The tier's ceiling holds (hottier.space): clean bytes are evicted, oldest access first; writers wait; a
  reader for whom there is no room is answered from memory.

Invariants of a backing file: it has exactly the size of the file; FULL means that all of it is valid;
PARTIAL, that the extents are; what is in neither is in the base object or in a spill.

Tasks share one `LiveFile` for each inode that is in use (live.py). Its rules:

- `ledger.py` is the only module that changes what is present: every such change of memory, disk and index
  is one plain function there, so no checkpoint can fall between them.
- Whoever changes bytes in a worker thread (a big write, the landing of a fetch) holds `LiveFile.mutate`
  from before it decides what to write until it has told the ledger. A small write does all that without a
  checkpoint and only has to see that the lock is free. Truncation, spilling and the start of a snapshot hold
  it, too. Eviction does not need it: it passes over files whose lock is taken, and has no checkpoint.
- Whoever reads in a worker thread guards the range (`LiveFile.guarded`): it is not evicted meanwhile.
- After every await: is the file still there (`is_dead`), and is its base still the one that was asked?

Order of locks: `mutate` of one file, then room in `Space`. Reclaiming never waits for a `mutate`, so who
holds one may wait for room.
"""
