/* The inside of the hot table, for its own files: one entry an inode, all under the table's lock. */
#ifndef TIERFS_HOLDER_HOT_ENTRY_H
#define TIERFS_HOLDER_HOT_ENTRY_H

#include <pthread.h>
#include <time.h>

#include "hot_table.h"

enum { BUCKETS = 1 << 16 };

enum mode { CLOSED, CACHED, PASSTHROUGH };

struct entry {
    struct entry *next;      /* in its bucket */
    struct entry *next_used; /* in the list of hot_drain */
    uint64_t ino;
    int fd;         /* -1: not registered, known only because it is open */
    int backing_id; /* 0: none */
    uint32_t flags;
    bool revoking, discarded, in_used;
    bool marked;  /* for the brake */
    bool written; /* was open for writing: a mapping may still change it unseen */
    enum mode mode;
    uint32_t open_here, open_in_python, writers; /* writers: of both */
    uint32_t readers_busy;                       /* preads under way outside the lock */
    struct hot_use use;
    bool attr_known;
    uint64_t attr_until_ns, attr_note, changes;
    struct timespec atime_told; /* of the backing file when Python last decided about it */
    struct fuse_attr attr;
};

struct hot_table {
    pthread_mutex_t lock;
    int kernel_fd;
    struct brake *brake;
    bool braking;
    bool passthrough_on;
    int passthrough_state;
    uint64_t changes; /* of all */
    struct hot_counts counts;
    struct entry *used;
    struct entry *buckets[BUCKETS];
};

/* Where the entry of the inode is, or would be. */
struct entry **hot_place_of(struct hot_table *table, uint64_t ino);

#endif
