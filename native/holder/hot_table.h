/*
 * What the holder knows of inodes: the backing file of those that Python registered as hot, and in which of the
 * kernel's two ways an inode is open. Any thread; one lock, under which only ioctls and fstat of backing files run.
 *
 * The kernel holds an inode either in *cached* or in *passthrough* mode while it is open, with one backing id; an
 * OPEN answered in the other way is EIO (fs/fuse/iomode.c). So every successful OPEN passes through here, also
 * those that Python answered, and the first one decides for all until the last RELEASE.
 */
#ifndef TIERFS_HOLDER_HOT_TABLE_H
#define TIERFS_HOLDER_HOT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fuse_wire.h"

/* File handles of opens that were answered here; Python's own stay below. The rest is the inode, which is below, too. */
#define HOLDER_FH (UINT64_C(1) << 63)

enum hot_flags {
    HOT_WRITABLE = 1,        /* an OPEN for writing that Python answered may become passthrough */
    HOT_NO_CAPABILITIES = 2, /* the file has no security.capability */
};

enum revoke_flags {
    REVOKE_WAIT = 1,      /* for the last RELEASE and for the lease */
    REVOKE_NO_WRITERS = 2 /* only when no writer and no writable mapping of the backing file is left */
};

struct brake;
struct hot_table;

struct hot_table *hot_new(int kernel_fd, struct brake *brake);

void hot_set_passthrough(struct hot_table *table, bool on);
/* 1: backing files are accepted, 0: not tried, -errno: why not. */
int hot_passthrough_state(struct hot_table *table);

/* Takes over `fd`, in every case. 0, or -EEXIST, -ENOMEM, -errno of reopening. */
int hot_register(struct hot_table *table, uint64_t ino, int fd, uint32_t flags);

/*
 * 0: no OPEN is answered here any more and the backing file is closed. -EBUSY: it is open (new ones go to Python
 * from now on only under REVOKE_WAIT, whose caller asks again). -EAGAIN: a writer or writable mapping is left.
 * -ENOENT: not registered.
 */
int hot_revoke(struct hot_table *table, uint64_t ino, uint32_t flags);
void hot_revoke_cancel(struct hot_table *table, uint64_t ino);
/* Of an inode that the kernel has forgotten: revoked, once a RELEASE that is still on its way has come. */
void hot_discard(struct hot_table *table, uint64_t ino);

/* An OPEN for reading: true if it is answered here, with *out filled and the open counted. */
bool hot_open(struct hot_table *table, uint64_t ino, uint32_t open_flags, struct fuse_open_out *out);

/* Python answered an OPEN or CREATE: puts the kernel's mode into it and counts it. -ETXTBSY: it cannot be had. */
int hot_opened(struct hot_table *table, uint64_t ino, uint32_t open_flags, struct fuse_open_out *out);

/* One RELEASE, whoever answers it, or an OPEN that the kernel did not take. */
void hot_release(struct hot_table *table, uint64_t ino, uint64_t fh, uint32_t open_flags);

/* pread of a file whose handle is ours; -EBADF when it is not. */
long hot_read(struct hot_table *table, uint64_t ino, void *buffer, size_t size_bytes, uint64_t offset);
long long hot_lseek(struct hot_table *table, uint64_t ino, uint64_t offset, uint32_t whence);

/*
 * Attributes. A passthrough read makes the kernel forget the access time, so that the next stat asks; what Python
 * said is kept as long as it holds, and given with the backing file's access time. hot_note() before a GETATTR is
 * forwarded, hot_learn() with its answer, into which it puts that time: what was changed in between is not used.
 * hot_changed(): attributes of `ino` (0: of all) may have changed. hot_access_told(): Python has set the access time.
 */
uint64_t hot_note(struct hot_table *table, uint64_t ino);
void hot_learn(struct hot_table *table, uint64_t ino, uint64_t note, struct fuse_attr *attr, uint64_t valid_ns);
void hot_access_told(struct hot_table *table, uint64_t ino);
void hot_changed(struct hot_table *table, uint64_t ino);
bool hot_attributes(struct hot_table *table, uint64_t ino, struct fuse_attr_out *out);
bool hot_lacks_capabilities(struct hot_table *table, uint64_t ino);

/* While on, whoever writes by passthrough waits; see brake.h. */
void hot_brake(struct hot_table *table, bool on);

/* Appends the registered files to the state for the next daemon (known.h). 0 or -errno. */
int hot_write(struct hot_table *table, int fd);

struct hot_use {
    uint64_t ino, opens, bytes, last_use_ns; /* opens and reads answered here; passthrough is out of sight */
};

/* Takes the uses since the last call, up to `capacity` of them; `more` says whether some are left. */
size_t hot_drain(struct hot_table *table, struct hot_use *uses, size_t capacity, bool *more);

struct hot_counts {
    uint64_t registered, open_here, open_in_python;
};
struct hot_counts hot_count(struct hot_table *table);

#endif
