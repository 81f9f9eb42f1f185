"""The index: what tierfs knows of every file, in LMDB behind a redo journal.

It promises:

- An acknowledged mutation survives SIGKILL of the process at once: before `transaction()` returns,
  its redo record has been written to the journal, and the page cache keeps it. It survives power loss
  after `await index.durable()`, after `commit()`, or after `durability_interval_s` while `run()` runs.
- A transaction happens as a whole or not at all, over any crash. What is found after a crash is the
  state after some acknowledged transaction, with every one that was durable in it.
- A start needs no walk over the entries: it replays at most the journal (64 MiB by default).
- A full disk loses nothing that was acknowledged: journal segments are allocated beforehand. While
  LMDB cannot commit, the index is STALLED and takes mutations until the journal is full, then ENOSPC.
- A record that cannot be understood is an `IndexDamageError`, never a guess.

One thread owns an `Index`: the one of the event loop. Every read and every mutation is a plain
function call on it: nothing in here can interleave with them. LMDB's commit is a plain call too, a few
times a second, and blocks the loop for its fdatasync; `run()` spaces commits so that they take at
most a twentieth of the time. Reads return lists and bytes; no cursor and no read transaction outlives
a call.

Tasks share: the open LMDB transaction, the journal, the counters behind `next_ino`, `next_seq` and
`next_op_id`, all of them touched in sync code only. The only checkpoints are `Index.durable()` and
`Index.run()`; they await nothing but a timer, an event, and the thread that runs fdatasync. That
thread touches only journal descriptors, under the journal's lock.

`env` has the Index, `txn` its transactions, `options` its settings and states; `lmdbenv` is the one file that
knows LMDB, `journal` the ring before it, `state` the index's own row, `answers` what a request that is asked
again must not repeat, `lock` keeps other processes out; `schema` has the tables, `codec` the records;
`inodes`, `dirents`, `links`, `xattrs`, `residency`, `intents`, `locations`, `foreign`, `settings`,
`orphans`, `conflicts` and `tasks` are functions over a `Reader` or a `Txn`; `check` proves that the tables agree.
"""
