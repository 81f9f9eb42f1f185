/*
 * The brake: programs that write by passthrough are out of sight, and the hot tier must not overflow. Backing files
 * with such writers carry a fanotify pre-content mark (Linux 6.14), which asks before each read and write. While the
 * brake is off the mark ignores its own event (10 to 20 ns a write); while it is on, who asks waits, and may be killed.
 *
 * A mark works only on files opened while it stands, so it is set before an OPEN for writing is answered and stays
 * until the last writer has gone: when the kernel has opened the backing file cannot be seen from here. It stops
 * readers that opened meanwhile as well, and no mapping. The kernel keeps the inode locked while a writer waits:
 * truncate, fsync and other writers of this file wait behind it, and those only for it, not for a signal.
 *
 * Any thread; one lock inside, held for no system call that waits.
 */
#ifndef TIERFS_HOLDER_BRAKE_H
#define TIERFS_HOLDER_BRAKE_H

#include <stdbool.h>
#include <stddef.h>

struct brake;

/* `daemon`: the process that is never stopped, besides this one. It has to read what shall make room. */
struct brake *brake_new(int daemon_pid);
void brake_set_daemon(struct brake *brake, int daemon_pid); /* the next one */
bool brake_start(struct brake *brake);

/* 1: files can be marked, 0: not tried, -errno: why not (EPERM: privilege; EINVAL: kernel; EOPNOTSUPP: file system) */
int brake_state(struct brake *brake);
size_t brake_waiting(struct brake *brake);

/* Whether this file can be marked; sets the state once. */
void brake_try(struct brake *brake, int fd);
void brake_mark(struct brake *brake, int fd, bool ignored);
void brake_ignore(struct brake *brake, int fd, bool ignored); /* of a marked file */
void brake_unmark(struct brake *brake, int fd);

/* Off: all who wait go on. */
void brake_switch(struct brake *brake, bool on);

#endif
