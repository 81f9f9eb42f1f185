/*
 * What Python told of directories, so that what the kernel asks around each change of a name need not come to it: a
 * directory's attributes, and, where all of its names are known, which names it has not.
 *
 * Python speaks on the packet link, on which its answers come, too, and says what a change made of a directory before
 * it answers it; what changes otherwise it takes back there. So whoever has seen an answer asks after what it changed.
 * Of names more may be known than there are, never fewer: those of requests that may make one are added when they pass
 * on their way to Python, and a list is taken only while none of them is on its way.
 *
 * Any thread; one lock, held for no system call.
 */
#ifndef TIERFS_HOLDER_DIRECTORIES_H
#define TIERFS_HOLDER_DIRECTORIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fuse_wire.h"

/* In the place of a notification's code: the packet is for the holder. The kernel's codes are below it. */
#define TOLD_CODE (1 << 16)

enum told_kind {
    TOLD_NOTHING,    /* what was told of the inode is not true any more */
    TOLD_ATTRIBUTES, /* one struct fuse_attr follows, true for `valid_ns` */
    TOLD_NAMES,      /* all names follow, each as its length in one byte and its bytes; nobody has to ask for others */
    TOLD_STILL,      /* the names that were told are all, for `valid_ns` more */
};

struct told { /* behind the header; the twin is in tierfs/fuse/directories.py */
    uint32_t kind, padding;
    uint64_t ino, valid_ns;
    uint64_t negative_ns; /* of TOLD_NAMES: how long the kernel may remember that there is no such name */
};

struct directories;

struct directories *directories_new(void);

/* A packet of Python's; false: malformed. */
bool directories_told(struct directories *table, const struct fuse_out_header *header);

/* A request on its way to Python, before it is sent, and once it is answered or will not be. `other`: of RENAME. */
void directories_asked(struct directories *table, const struct fuse_in_header *request, uint64_t *other);
void directories_answered(struct directories *table, uint32_t opcode, uint64_t nodeid, uint64_t other);

/* The daemon and its requests are gone. */
void directories_clear(struct directories *table);

/* True: `out` is the answer to GETATTR. */
bool directories_attributes(struct directories *table, uint64_t ino, struct fuse_attr_out *out);

/* True: there is no such name; `out` is the answer to its LOOKUP, or the error ENOENT where its entry_valid is 0. */
bool directories_lack(struct directories *table, uint64_t ino, const char *name, struct fuse_entry_out *out);

struct directory_counts {
    uint64_t attributes, names;
};

struct directory_counts directories_count(struct directories *table);

#endif
