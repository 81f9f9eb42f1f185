"""Where files lie, hot or in which class, and what that costs: rules of placement, moves, the way back from archives.

Promises: what has to stay on the local disk (dirty, open, pinned, kept by a rule) is never evicted here; a rule that
cannot be used is refused as a whole, and those in force stay; a wall clock that jumps evicts nothing. Moves stay within
their budgets, wait for nobody who reads, and stop by rule where they fail; what was asked back from an archive is known
over a restart, and reaches whoever waits for it, with its bytes or with a reason.

Decisions are those of `policy`; what has to outlive the daemon is in the index. Shared between tasks, in sync code: the
rules in force (`Rulebook`), replaced at once; the breakers and hints of `Admission`; the tables in memory of `Mover`
and `Restorer`. Checkpoints: in `Engine.run`, where budgets are waited for, and the requests. A `View` of the tree is
made and used without one.
"""
