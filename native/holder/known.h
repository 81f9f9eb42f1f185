/*
 * What the kernel holds of Python's: lookups of inodes, and open handles. It outlives the daemon, and the next one
 * begins with it. Any thread; one lock, held for no system call but in known_write().
 */
#ifndef TIERFS_HOLDER_KNOWN_H
#define TIERFS_HOLDER_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum known_kind { KNOWN_LOOKUPS = 1, KNOWN_FILE = 2, KNOWN_DIRECTORY = 3, KNOWN_LENT = 4, KNOWN_TOKEN = 5 };

/* One thing that the next daemon is told; the twin is in tierfs/fuse/takeover.py. */
struct known_record {
    uint32_t kind, flags; /* flags: of the open */
    uint64_t id, value;   /* an inode and its lookups; a handle and its inode; a request token */
};

struct known;

struct known *known_new(void);

/* An answer that names the inode goes to the kernel; without memory the next daemon may lose the inode too early. */
void known_looked_up(struct known *known, uint64_t ino);
void known_forgotten(struct known *known, uint64_t ino, uint64_t lookups);

void known_opened(struct known *known, enum known_kind kind, uint64_t fh, uint64_t ino, uint32_t flags);
void known_released(struct known *known, enum known_kind kind, uint64_t fh);

/* Appends all as records to a file. 0 or -errno. */
int known_write(struct known *known, int fd);

#endif
