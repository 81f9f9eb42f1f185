#include "fuse_wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static_assert(sizeof(struct fuse_in_header) == 40, "fuse_in_header");
static_assert(sizeof(struct fuse_out_header) == 16, "fuse_out_header");
static_assert(sizeof(struct fuse_attr) == 88, "fuse_attr");
static_assert(sizeof(struct fuse_entry_out) == 128, "fuse_entry_out");
static_assert(sizeof(struct fuse_attr_out) == 104, "fuse_attr_out");
static_assert(sizeof(struct fuse_init_in) == 64, "fuse_init_in");
static_assert(sizeof(struct fuse_init_out) == 64, "fuse_init_out");
static_assert(sizeof(struct fuse_open_out) == 16, "fuse_open_out");
static_assert(sizeof(struct fuse_release_in) == 24, "fuse_release_in");
static_assert(sizeof(struct fuse_read_in) == 40, "fuse_read_in");
static_assert(sizeof(struct fuse_lseek_in) == 24, "fuse_lseek_in");
static_assert(sizeof(struct fuse_fallocate_in) == 32, "fuse_fallocate_in");
static_assert(sizeof(struct fuse_copy_file_range_in) == 56, "fuse_copy_file_range_in");
static_assert(sizeof(struct fuse_backing_map) == 16, "fuse_backing_map");

enum {
    INIT_IN_OLD_BYTES = 16,
    INIT_OUT_MIN_BYTES = 24, /* up to max_write: replies of protocol 7.5 to 7.22 */
    OUR_MINOR = 45,
};

const struct fuse_in_header *wire_request(const void *packet, size_t size_bytes)
{
    const struct fuse_in_header *header = packet;
    if (size_bytes < sizeof *header || header->len != size_bytes)
        return NULL;
    if (header->total_extlen * (size_t)8 > size_bytes - sizeof *header)
        return NULL;
    return header;
}

const void *wire_argument(const struct fuse_in_header *header, size_t need_bytes)
{
    if (header->len - sizeof *header < need_bytes)
        return NULL;
    return header + 1;
}

const char *wire_name(const struct fuse_in_header *header, size_t skip_bytes)
{
    const char *name = (const char *)(header + 1) + skip_bytes;
    size_t left = header->len - sizeof *header;
    return left > skip_bytes && memchr(name, '\0', left - skip_bytes) != NULL ? name : NULL;
}

const struct fuse_out_header *wire_reply(const void *packet, size_t size_bytes)
{
    const struct fuse_out_header *header = packet;
    if (size_bytes < sizeof *header || header->len != size_bytes)
        return NULL;
    if (header->unique == 0) /* a notification: the field is its code */
        return header->error > 0 ? header : NULL;
    if (header->error > 0 || header->error <= -ERRNO_END)
        return NULL;
    if (header->error != 0 && size_bytes != sizeof *header)
        return NULL;
    return header;
}

bool wire_has_reply(uint32_t opcode)
{
    return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT &&
           opcode != FUSE_NOTIFY_REPLY;
}

bool wire_patch_init_request(void *packet, size_t size_bytes, struct wire_session *session)
{
    const struct fuse_in_header *header = wire_request(packet, size_bytes);
    if (header == NULL || header->opcode != FUSE_INIT || wire_argument(header, INIT_IN_OLD_BYTES) == NULL)
        return false;
    struct fuse_init_in in = {0};
    size_t in_bytes = size_bytes - sizeof *header;
    if (in_bytes > sizeof in)
        in_bytes = sizeof in;
    memcpy(&in, header + 1, in_bytes);

    session->kernel_minor = in.minor;
    session->kernel_flags = in.flags;
    if (in.flags & FUSE_INIT_EXT)
        session->kernel_flags |= (uint64_t)in.flags2 << 32;
    in.flags &= ~(uint32_t)(FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ);
    memcpy((char *)packet + sizeof *header, &in, in_bytes);
    return true;
}

size_t wire_patch_init_reply(void *packet, size_t size_bytes, const struct wire_limits *limits,
                             struct wire_session *session)
{
    struct fuse_out_header *header = packet;
    if (wire_reply(packet, size_bytes) == NULL)
        return 0;
    if (header->error != 0)
        return size_bytes;
    size_t out_bytes = size_bytes - sizeof *header;
    struct fuse_init_out out = {0};
    if (out_bytes < INIT_OUT_MIN_BYTES)
        return 0;
    if (out_bytes > sizeof out)
        out_bytes = sizeof out;
    memcpy(&out, header + 1, out_bytes);
    if (out.major != 7)
        return size_bytes; /* a version talk: the kernel starts over */

    uint64_t flags = out.flags;
    if (out.flags & FUSE_INIT_EXT)
        flags |= (uint64_t)out.flags2 << 32;
    /* with ASYNC_DIO an O_DIRECT read waits beyond SIGKILL and sends no INTERRUPT (fuse_direct_IO, wait_for_completion) */
    flags &= ~(FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ | FUSE_ASYNC_DIO);
    flags &= ~FUSE_PASSTHROUGH; /* a newer libfuse asks for it by itself; it is ours to offer */
    /* the daemon applies the umask: it alone knows whether a default ACL takes its place */
    uint64_t wanted = FUSE_MAX_PAGES | FUSE_INIT_EXT | FUSE_DONT_MASK;
    if (limits->passthrough)
        wanted |= FUSE_PASSTHROUGH | FUSE_HANDLE_KILLPRIV_V2;
    flags |= wanted & session->kernel_flags;
    session->passthrough = (flags & FUSE_PASSTHROUGH) != 0;
    if (session->passthrough) {
        flags &= ~FUSE_WRITEBACK_CACHE; /* the kernel takes only one of the two */
        out.max_stack_depth = 1;
    }
    out.flags = (uint32_t)flags;
    out.flags2 = (uint32_t)(flags >> 32);
    out.minor = session->kernel_minor < OUR_MINOR ? session->kernel_minor : OUR_MINOR;
    out.max_readahead = limits->max_readahead_bytes;
    out.max_background = limits->max_background;
    out.congestion_threshold = (uint16_t)(limits->max_background / 4 * 3);
    out.max_write = limits->transfer_max_bytes;
    out.max_pages = (uint16_t)(limits->transfer_max_bytes / 4096);
    memcpy(header + 1, &out, sizeof out);
    header->len = sizeof *header + sizeof out;
    return header->len;
}

static size_t payload_bytes(const struct fuse_out_header *header)
{
    return header->error == 0 ? header->len - sizeof *header : 0;
}

static void each_direntplus(const struct fuse_out_header *header, void (*forget)(void *, uint64_t), void *context)
{
    const char *at = (const char *)(header + 1);
    size_t left = payload_bytes(header);
    const size_t fixed = sizeof(struct fuse_entry_out) + sizeof(struct fuse_dirent);
    while (left >= fixed) {
        struct fuse_entry_out entry;
        struct fuse_dirent dirent;
        memcpy(&entry, at, sizeof entry);
        memcpy(&dirent, at + sizeof entry, sizeof dirent);
        size_t whole = (fixed + (size_t)dirent.namelen + 7) & ~(size_t)7;
        if (whole > left)
            return;
        if (entry.nodeid != 0)
            forget(context, entry.nodeid);
        at += whole;
        left -= whole;
    }
}

void wire_each_lookup(uint32_t opcode, const void *packet, size_t size_bytes, void (*forget)(void *, uint64_t),
                      void *context)
{
    const struct fuse_out_header *header = wire_reply(packet, size_bytes);
    if (header == NULL)
        return;
    switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_LINK:
    case FUSE_CREATE:
    case FUSE_TMPFILE:
        if (payload_bytes(header) >= sizeof(struct fuse_entry_out)) {
            const struct fuse_entry_out *entry = (const void *)(header + 1);
            if (entry->nodeid != 0) /* 0: a negative entry */
                forget(context, entry->nodeid);
        }
        break;
    case FUSE_READDIRPLUS:
        each_direntplus(header, forget, context);
        break;
    default:
        break;
    }
}

size_t wire_call_bytes(uint32_t opcode)
{
    switch (opcode) {
    case FUSE_FALLOCATE:
        return sizeof(struct fuse_fallocate_in);
    case FUSE_LSEEK:
        return sizeof(struct fuse_lseek_in);
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
        return sizeof(struct fuse_copy_file_range_in);
    default:
        return 0;
    }
}

size_t wire_call_answer(uint32_t opcode, uint64_t value, void *payload)
{
    const struct fuse_write_out written = {.size = (uint32_t)value};
    if (opcode == FUSE_FALLOCATE)
        return 0;
    if (opcode == FUSE_COPY_FILE_RANGE)
        memcpy(payload, &written, sizeof written);
    else
        memcpy(payload, &value, sizeof value);
    return sizeof value;
}

struct fuse_open_out *wire_open_out(uint32_t opcode, void *packet, size_t size_bytes)
{
    size_t offset = sizeof(struct fuse_out_header);
    if (opcode == FUSE_CREATE || opcode == FUSE_TMPFILE)
        offset += sizeof(struct fuse_entry_out);
    else if (opcode != FUSE_OPEN && opcode != FUSE_OPENDIR)
        return NULL;
    const struct fuse_out_header *header = wire_reply(packet, size_bytes);
    if (header == NULL || header->error != 0 || size_bytes < offset + sizeof(struct fuse_open_out))
        return NULL;
    return (struct fuse_open_out *)((char *)packet + offset);
}

static uint64_t nanoseconds(uint64_t seconds, uint32_t nsec)
{
    const uint64_t most = UINT64_C(1) << 30; /* 34 years: no overflow below */
    return (seconds > most ? most : seconds) * UINT64_C(1000000000) + nsec;
}

struct fuse_attr *wire_attributes(uint32_t opcode, void *packet, size_t size_bytes, uint64_t *valid_ns)
{
    const struct fuse_out_header *header = wire_reply(packet, size_bytes);
    if (header == NULL || opcode != FUSE_GETATTR || payload_bytes(header) < sizeof(struct fuse_attr_out))
        return NULL;
    struct fuse_attr_out *out = (void *)((char *)packet + sizeof *header);
    *valid_ns = nanoseconds(out->attr_valid, out->attr_valid_nsec);
    return &out->attr;
}
