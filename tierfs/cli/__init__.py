"""The commands: `tierfs` mounts and unmounts, `tierctl` speaks to running daemons.

Promises: one clear line on standard error and a documented exit code for each failure, no
traceback; what a name of a file holds cannot reach the terminal as a control code. `tierctl`
imports neither the daemon nor any third-party module.
"""
