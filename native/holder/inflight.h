/*
 * The requests that Python has and the kernel waits for, by their unique id. Any thread; one lock inside, held for
 * no system call. Its size is bounded by the number of requests that the kernel keeps.
 */
#ifndef TIERFS_HOLDER_INFLIGHT_H
#define TIERFS_HOLDER_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fuse_wire.h"

struct pieces;

struct waiting {
    uint64_t unique;
    uint64_t nodeid;
    uint64_t note;  /* of the hot table: what it knew of the inode when the request came */
    uint64_t other; /* the directory in which it may make a name */
    uint32_t opcode;
    uint32_t open_flags; /* of OPEN and CREATE */
    bool sets_atime;     /* SETATTR */
    uint32_t pid;        /* the thread that waits, 0 when it is not visible from here */
    uint32_t token;      /* what Python has in its place, 0: the pid */
    bool abandoned;      /* the kernel has its answer: what Python answers is undone */
    bool internal;       /* made by the holder: the answer goes nowhere, or to `pieces` */
    bool parked;         /* a READ that waits until its bytes are in the backing file */
    struct fuse_read_in read;
    struct pieces *pieces; /* whose piece it is, else NULL */
};

struct inflight;

struct inflight *inflight_new(void);
bool inflight_add(struct inflight *table, const struct waiting *request); /* false: no memory */

/*
 * True: it is there already, since the kernel asks again for what was read a moment before; it is answered under the
 * id with FUSE_UNIQUE_RESEND, if one of the two has that.
 */
bool inflight_renew(struct inflight *table, uint64_t unique);

/* Takes the request out: the caller alone answers it now. */
bool inflight_take(struct inflight *table, uint64_t unique, struct waiting *request);

/* Looks without taking. */
bool inflight_look(struct inflight *table, uint64_t unique, struct waiting *request);

/* Marks it as abandoned; true once: the caller alone answers the kernel, and Python's answer is still to come. */
bool inflight_abandon(struct inflight *table, uint64_t unique);

/* Takes any one, false when there is none. */
bool inflight_take_any(struct inflight *table, struct waiting *request);

size_t inflight_count(struct inflight *table);

#endif
