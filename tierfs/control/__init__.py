"""The control plane: one Unix socket a mount, JSON lines, who-may-what by the peer's credentials.

Promises: nothing that a client sends can make the daemon use unbounded memory, wait without end or
end; a client learns nothing of files that are not its own. `service` decides and knows no socket,
`server` moves bytes and knows no verb, `client` and `registry` need neither and start fast: they
import no third-party module, which `tierctl` depends on.

Shared between tasks: the daemon behind `service`; each connection is one task with its own state.
"""
