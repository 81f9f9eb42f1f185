/*
 * Files that are open through Python while the holder answers their READs and WRITEs from the backing file all the
 * same: such that are being written, and large ones of which a part is still in the bucket. The kernel has them in its
 * cached mode and Python has their handles, so that Python may take them back at any time; the files of hot_table.h
 * are the kernel's until their last RELEASE.
 *
 * Ranges that are present only grow. Before any of them goes, Python withdraws the file, and is told when no read or
 * write of it is under way any more. A WRITE is taken within the limit of its file (beyond it Python spills) and the
 * budget of all files (room in the tier); every other one is Python's to answer.
 *
 * Any thread; one lock inside, held for no system call.
 */
#ifndef TIERFS_HOLDER_SERVED_H
#define TIERFS_HOLDER_SERVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum served_flags {
    SERVED_WRITABLE = 1,        /* only of a file that is whole; the descriptor allows it */
    SERVED_NO_CAPABILITIES = 2, /* it has no security.capability */
    SERVED_WHOLE = 4,           /* every byte is present, also those to come */
    SERVED_FORWARD_FLUSH = 8,   /* Python answers when a descriptor is closed */
};

enum served_outcome {
    SERVED_DONE,
    SERVED_ABSENT, /* Python has to bring it */
    SERVED_NOT,    /* Python has to answer */
};

struct served_range {
    uint64_t start, stop;
};

struct served_counts {
    uint64_t files, reads, writes, read_bytes, write_bytes;
};

struct served_table;

/* `gone(context, tag)`: a withdrawn file is not used any more; called by the thread that used it last. */
struct served_table *served_new(void (*gone)(void *context, uint32_t tag), void *context);

/* Takes over `fd`, in every case; what was known of the inode is replaced. 0, -EINVAL: bad ranges, -ENOMEM. */
int served_put(struct served_table *table, uint64_t ino, int fd, uint32_t flags, uint64_t limit_bytes,
               const struct served_range *ranges, size_t count);

/* [start, stop) is present, too; a stop of UINT64_MAX: the file is whole. Of an inode that is not served: nothing. */
void served_add(struct served_table *table, uint64_t ino, uint64_t start, uint64_t stop);

/*
 * True: it is not used any more, or was not served. False: `gone` is called with `tag` when it is so; until then
 * another withdrawal of this inode would not wait.
 */
bool served_withdraw(struct served_table *table, uint64_t ino, uint32_t tag);

/* As if each file were withdrawn with tag 0. */
void served_clear(struct served_table *table);

/* A descriptor of its own of the backing file of an inode that is served whole; negative: it is not, or -errno. */
int served_descriptor(struct served_table *table, uint64_t ino);

/* How many bytes all files together may be written from now on. */
void served_budget(struct served_table *table, uint64_t budget_bytes);

/*
 * READ. `got` is less than `size_bytes` at the end of the file. `tell`: Python should hear of this read, since it went
 * on to another part of a file of which something is absent.
 */
enum served_outcome served_read(struct served_table *table, uint64_t ino, void *buffer, size_t size_bytes,
                                uint64_t offset, size_t *got, bool *tell);

/*
 * WRITE, whole or not at all: SERVED_DONE or SERVED_NOT. After an error of the disk Python writes it again. What a
 * mapping stored (`writeback`) makes no file longer: the page may have been on its way while an O_TRUNC cut the file,
 * for which the kernel does not wait, and what lies behind the end is dropped then. Python withdraws the file before
 * it cuts it, so that nothing is written between the look at the size and the cut.
 */
enum served_outcome served_write(struct served_table *table, uint64_t ino, const void *data, size_t size_bytes,
                                 uint64_t offset, bool writeback);

/* Is it served, and nobody else has to hear of a FLUSH? */
bool served_takes_flush(struct served_table *table, uint64_t ino);
bool served_lacks_capabilities(struct served_table *table, uint64_t ino);
/* It may have some from now on. */
void served_xattr_changed(struct served_table *table, uint64_t ino);

struct served_counts served_count(struct served_table *table);

#endif
