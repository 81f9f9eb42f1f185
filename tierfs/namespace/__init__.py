"""The tree of names over the index: what POSIX says of links, renames and owners, and where each object is.

Promises: every change of the tree is one index transaction that carries the intents it causes, so
the bucket hears of exactly what the tree became. All functions are synchronous and therefore atomic
between tasks; nothing here waits, talks to a store or touches a backing file.

Shared between tasks: only the index, and the prefix cache of `locations`, which is dropped whole
whenever a directory moves.
"""
