"""tierctl doctor: looks at the machine, the settings, the bucket and a running mount, and says what is wrong with them.

Promises: it changes nothing but a few small objects below `.tierfs/` of the bucket, which it deletes again; it ends,
whatever hangs; a bundle holds no secret. What it finds is judged by `policy.diagnosis`; this package only looks.

Loaded by `tierctl doctor` alone, and only when it runs: it needs what the daemon needs. One thread, no state.
"""
