/*
 * The FUSE protocol as far as the holder reads or writes it, and the checks of what comes over the wire.
 *
 * Source: include/uapi/linux/fuse.h of Linux 6.18 (protocol 7.45). Defined here because the headers of a
 * distribution are often older than its kernel (Debian 12: 7.38, without passthrough). All fields are in
 * host byte order. Nothing in this file or in fuse_wire.c does I/O or keeps state.
 */
#ifndef TIERFS_HOLDER_FUSE_WIRE_H
#define TIERFS_HOLDER_FUSE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

enum {
    FUSE_LOOKUP = 1,
    FUSE_FORGET = 2,
    FUSE_GETATTR = 3,
    FUSE_SETATTR = 4,
    FUSE_SYMLINK = 6,
    FUSE_MKNOD = 8,
    FUSE_MKDIR = 9,
    FUSE_UNLINK = 10,
    FUSE_RMDIR = 11,
    FUSE_RENAME = 12,
    FUSE_LINK = 13,
    FUSE_OPEN = 14,
    FUSE_READ = 15,
    FUSE_WRITE = 16,
    FUSE_STATFS = 17,
    FUSE_RELEASE = 18,
    FUSE_FSYNC = 20,
    FUSE_SETXATTR = 21,
    FUSE_GETXATTR = 22,
    FUSE_REMOVEXATTR = 24,
    FUSE_FLUSH = 25,
    FUSE_INIT = 26,
    FUSE_OPENDIR = 27,
    FUSE_READDIR = 28,
    FUSE_RELEASEDIR = 29,
    FUSE_CREATE = 35,
    FUSE_INTERRUPT = 36,
    FUSE_DESTROY = 38,
    FUSE_IOCTL = 39,
    FUSE_NOTIFY_REPLY = 41,
    FUSE_BATCH_FORGET = 42,
    FUSE_FALLOCATE = 43,
    FUSE_READDIRPLUS = 44,
    FUSE_RENAME2 = 45,
    FUSE_LSEEK = 46,
    FUSE_COPY_FILE_RANGE = 47,
    FUSE_TMPFILE = 51,
    FUSE_COPY_FILE_RANGE_64 = 53,
};

enum { FUSE_NOTIFY_INVAL_INODE = 2, FUSE_NOTIFY_INVAL_ENTRY = 3, FUSE_NOTIFY_RESEND = 7 };

enum { ERRNO_END = 512 }; /* the kernel refuses errors that are not in (-512, 0] */

/* INIT flags; those above bit 31 travel in flags2 */
#define FUSE_ASYNC_READ UINT64_C(1)
#define FUSE_DONT_MASK (UINT64_C(1) << 6)
#define FUSE_SPLICE_WRITE (UINT64_C(1) << 7)
#define FUSE_SPLICE_MOVE (UINT64_C(1) << 8)
#define FUSE_SPLICE_READ (UINT64_C(1) << 9)
#define FUSE_ASYNC_DIO (UINT64_C(1) << 15)
#define FUSE_WRITEBACK_CACHE (UINT64_C(1) << 16)
#define FUSE_MAX_PAGES (UINT64_C(1) << 22)
#define FUSE_HANDLE_KILLPRIV_V2 (UINT64_C(1) << 28)
#define FUSE_INIT_EXT (UINT64_C(1) << 30)
#define FUSE_PASSTHROUGH (UINT64_C(1) << 37)
#define FUSE_UNIQUE_RESEND (UINT64_C(1) << 63) /* in the id of a request that is asked again */
#define FUSE_HAS_RESEND (UINT64_C(1) << 39)

#define FOPEN_DIRECT_IO (1u << 0)
#define FOPEN_KEEP_CACHE (1u << 1)
#define FOPEN_NOFLUSH (1u << 5)
#define FOPEN_PARALLEL_DIRECT_WRITES (1u << 6)
#define FOPEN_PASSTHROUGH (1u << 7)

#define FATTR_ATIME (1u << 4)
#define FATTR_FH (1u << 6)
#define FATTR_ATIME_NOW (1u << 7)
#define FUSE_GETATTR_FH (1u << 0)
#define FUSE_WRITE_CACHE (1u << 0) /* what was stored by a mapping */

struct fuse_in_header {
    uint32_t len;
    uint32_t opcode;
    uint64_t unique;
    uint64_t nodeid;
    uint32_t uid;
    uint32_t gid;
    uint32_t pid;
    uint16_t total_extlen; /* in units of 8 bytes */
    uint16_t padding;
};

struct fuse_out_header {
    uint32_t len;
    int32_t error; /* 0 or -errno; a notification code when unique is 0 */
    uint64_t unique;
};

struct fuse_attr {
    uint64_t ino, size, blocks, atime, mtime, ctime;
    uint32_t atimensec, mtimensec, ctimensec;
    uint32_t mode, nlink, uid, gid, rdev, blksize, flags;
};

struct fuse_entry_out {
    uint64_t nodeid, generation, entry_valid, attr_valid;
    uint32_t entry_valid_nsec, attr_valid_nsec;
    struct fuse_attr attr;
};

struct fuse_attr_out {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec, dummy;
    struct fuse_attr attr;
};

struct fuse_init_in {
    uint32_t major, minor, max_readahead, flags; /* all that kernels before 5.17 send */
    uint32_t flags2, unused[11];
};

struct fuse_init_out {
    uint32_t major, minor, max_readahead, flags;
    uint16_t max_background, congestion_threshold;
    uint32_t max_write, time_gran;
    uint16_t max_pages, map_alignment;
    uint32_t flags2, max_stack_depth;
    uint16_t request_timeout, unused[11];
};

struct fuse_forget_one {
    uint64_t nodeid, nlookup;
};

struct fuse_batch_forget_in {
    uint32_t count, dummy;
};

struct fuse_interrupt_in {
    uint64_t unique;
};

struct fuse_open_in {
    uint32_t flags, open_flags;
};

struct fuse_open_out {
    uint64_t fh;
    uint32_t open_flags;
    int32_t backing_id;
};

struct fuse_release_in {
    uint64_t fh;
    uint32_t flags, release_flags;
    uint64_t lock_owner;
};

struct fuse_read_in { /* also of WRITE (without padding), READDIR and READDIRPLUS */
    uint64_t fh, offset;
    uint32_t size, read_flags;
    uint64_t lock_owner;
    uint32_t flags, padding;
};

struct fuse_getattr_in {
    uint32_t getattr_flags, dummy;
    uint64_t fh;
};

struct fuse_setattr_in {
    uint32_t valid, padding;
    uint64_t fh; /* the values follow */
};

struct fuse_lseek_in {
    uint64_t fh, offset;
    uint32_t whence, padding;
};

struct fuse_fallocate_in {
    uint64_t fh, offset, length;
    uint32_t mode, padding;
};

struct fuse_copy_file_range_in { /* the header has the inode that is read */
    uint64_t fh_in, off_in, nodeid_out, fh_out, off_out, len, flags;
};

struct fuse_write_out { /* also of COPY_FILE_RANGE; that of COPY_FILE_RANGE_64 is as that of LSEEK */
    uint32_t size, padding;
};

struct fuse_lseek_out {
    uint64_t offset;
};

struct fuse_getxattr_in {
    uint32_t size, padding; /* the name follows */
};

struct fuse_dirent {
    uint64_t ino, off;
    uint32_t namelen, type; /* the name follows, padded to 8 bytes */
};

struct fuse_notify_inval_inode_out {
    uint64_t ino;
    int64_t off, len;
};

struct fuse_notify_inval_entry_out {
    uint64_t parent;
    uint32_t namelen, flags; /* the name and a NUL follow */
};

struct fuse_backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};

#define FUSE_DEV_IOC_BACKING_OPEN _IOW(229, 1, struct fuse_backing_map)
#define FUSE_DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

/*
 * A packet in either direction carries at most this much payload: larger packets need contiguous memory from the
 * kernel (1 MiB: an order-8 allocation, which fails on a fragmented machine). Longer requests go in pieces.
 */
#define PAYLOAD_MAX_BYTES 65536u
#define PACKET_MAX_BYTES (PAYLOAD_MAX_BYTES + 4096u)
/* the most that one READ or WRITE of the kernel may carry, by setting; most of them are answered here */
#define TRANSFER_MAX_BYTES (1024u * 1024u)

struct wire_limits {
    uint32_t max_readahead_bytes;
    uint32_t transfer_max_bytes; /* what one READ or WRITE may carry */
    uint16_t max_background;
    bool passthrough; /* asked for; given only where the kernel offers it */
};

struct wire_session { /* what INIT agreed */
    uint32_t kernel_minor;
    uint64_t kernel_flags;
    bool passthrough;
};

/* The header of a request of `size_bytes` bytes if it is whole and consistent, else NULL. */
const struct fuse_in_header *wire_request(const void *packet, size_t size_bytes);

/* The argument after the header if at least `need_bytes` of it are there, else NULL. */
const void *wire_argument(const struct fuse_in_header *header, size_t need_bytes);

/* The name in the argument, `skip_bytes` behind its start, if it is there with its NUL, else NULL. */
const char *wire_name(const struct fuse_in_header *header, size_t skip_bytes);

/* The header of a reply or notification if its lengths agree and its error is one the kernel takes, else NULL. */
const struct fuse_out_header *wire_reply(const void *packet, size_t size_bytes);

/* True if a request of this kind gets an answer. */
bool wire_has_reply(uint32_t opcode);

/* Takes out of an INIT request what a socket cannot do (splice) and notes what the kernel offers. False: malformed. */
bool wire_patch_init_request(void *packet, size_t size_bytes, struct wire_session *session);

/* Puts into the INIT reply what libfuse does not know. `packet` has room for a full reply; the new size, 0: malformed. */
size_t wire_patch_init_reply(void *packet, size_t size_bytes, const struct wire_limits *limits,
                             struct wire_session *session);

/*
 * The lookups that a successful reply gave to the kernel: calls `forget(context, nodeid)` once for each.
 * For a reply that nobody will deliver.
 */
void wire_each_lookup(uint32_t opcode, const void *packet, size_t size_bytes, void (*forget)(void *, uint64_t),
                      void *context);

/* The bytes of the argument if Python has to answer it over the control link, since pyfuse3 does not know it, else 0. */
size_t wire_call_bytes(uint32_t opcode);

/* The payload of a successful answer to such a request, in `payload` of 8 bytes; its size. */
size_t wire_call_answer(uint32_t opcode, uint64_t value, void *payload);

/* The place of the fuse_open_out in a successful reply to OPEN, OPENDIR or CREATE, else NULL. */
struct fuse_open_out *wire_open_out(uint32_t opcode, void *packet, size_t size_bytes);

/* The attributes in a successful reply, with how long they hold, else NULL. */
struct fuse_attr *wire_attributes(uint32_t opcode, void *packet, size_t size_bytes, uint64_t *valid_ns);

#endif
