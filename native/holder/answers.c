#include "answers.h"

#include <errno.h>
#include <string.h>

#include "control.h"
#include "relay.h"

enum { DISK_MAX = 4 }; /* less than there are reader threads: names are answered while the disk is slow */

/* each: true when it did */

static bool answer_open(struct holder *holder, const struct fuse_in_header *header)
{
    const struct fuse_open_in *in = wire_argument(header, sizeof *in);
    struct fuse_open_out out;
    if (in == NULL || !hot_open(holder->hot, header->nodeid, in->flags, &out))
        return false;
    if (relay_reply(holder, header->unique, 0, &out, sizeof out) != 0)
        hot_release(holder->hot, header->nodeid, out.fh, in->flags);
    return true;
}

static bool answer_release(struct holder *holder, const struct fuse_in_header *header)
{
    const struct fuse_release_in *in = wire_argument(header, sizeof *in);
    if (in == NULL)
        return false;
    hot_release(holder->hot, header->nodeid, in->fh, in->flags);
    if (!(in->fh & HOLDER_FH))
        return false;
    relay_refuse(holder, header->unique, 0);
    return true;
}

/* A read of absent bytes waits here until Python has brought them. False: it does not. */
static bool park(struct holder *holder, const struct fuse_in_header *header, const struct fuse_read_in *in)
{
    struct waiting request = {.unique = header->unique, .nodeid = header->nodeid, .opcode = FUSE_READ,
                              .pid = header->pid, .parked = true, .read = *in};
    if (!inflight_add(holder->inflight, &request))
        return false;
    if (control_forward(holder, FUSE_READ, header->unique, header->nodeid, in, sizeof *in) == 0)
        return true;
    /* whoever takes it answers it: also relay_python_gone() may have been here */
    return !inflight_take(holder->inflight, header->unique, &request);
}

static bool read_served(struct holder *holder, const struct fuse_in_header *header, const struct fuse_read_in *in,
                        char *payload)
{
    enum served_outcome outcome = SERVED_NOT;
    size_t got_bytes = 0;
    bool tell = false;
    if (atomic_fetch_add(&holder->disk_busy, 1) < DISK_MAX)
        outcome = served_read(holder->served, header->nodeid, payload, in->size, in->offset, &got_bytes, &tell);
    atomic_fetch_sub(&holder->disk_busy, 1);
    if (outcome == SERVED_ABSENT)
        return park(holder, header, in);
    if (outcome == SERVED_NOT)
        return false;
    relay_reply(holder, header->unique, 0, payload, got_bytes);
    if (tell)
        (void)control_forward(holder, FUSE_READ, 0, header->nodeid, in, sizeof *in);
    return true;
}

static bool answer_read(struct holder *holder, const struct fuse_in_header *header, char *payload)
{
    const struct fuse_read_in *in = wire_argument(header, sizeof *in);
    if (in == NULL)
        return false;
    if (!(in->fh & HOLDER_FH))
        return in->size <= TRANSFER_MAX_BYTES && read_served(holder, header, in, payload);
    long got = in->size > TRANSFER_MAX_BYTES ? -EINVAL
                                             : hot_read(holder->hot, header->nodeid, payload, in->size, in->offset);
    relay_reply(holder, header->unique, got < 0 ? (int)got : 0, payload, got < 0 ? 0 : (size_t)got);
    return true;
}

static bool answer_write(struct holder *holder, const struct fuse_in_header *header)
{
    const struct fuse_read_in *in = wire_argument(header, sizeof *in); /* of WRITE, too */
    struct fuse_write_out out = {.size = in != NULL ? in->size : 0};
    enum served_outcome outcome = SERVED_NOT;
    if (in == NULL || wire_argument(header, sizeof *in + (size_t)in->size) == NULL)
        return false;
    if (atomic_fetch_add(&holder->disk_busy, 1) < DISK_MAX)
        outcome = served_write(holder->served, header->nodeid, in + 1, in->size, in->offset,
                               (in->read_flags & FUSE_WRITE_CACHE) != 0);
    atomic_fetch_sub(&holder->disk_busy, 1);
    if (outcome == SERVED_DONE)
        relay_reply(holder, header->unique, 0, &out, sizeof out);
    return outcome == SERVED_DONE;
}

static bool answer_lseek(struct holder *holder, const struct fuse_in_header *header)
{
    const struct fuse_lseek_in *in = wire_argument(header, sizeof *in);
    if (in == NULL || !(in->fh & HOLDER_FH))
        return false;
    long long at = hot_lseek(holder->hot, header->nodeid, in->offset, in->whence);
    struct fuse_lseek_out out = {.offset = (uint64_t)at};
    relay_reply(holder, header->unique, at < 0 ? (int)at : 0, &out, at < 0 ? 0 : sizeof out);
    return true;
}

static bool answer_flush(struct holder *holder, const struct fuse_in_header *header)
{
    const uint64_t *fh = wire_argument(header, sizeof *fh);
    if (fh == NULL || (!(*fh & HOLDER_FH) && !served_takes_flush(holder->served, header->nodeid)))
        return false;
    relay_refuse(holder, header->unique, 0);
    return true;
}

static bool answer_getattr(struct holder *holder, const struct fuse_in_header *header)
{
    struct fuse_attr_out out;
    if (!hot_attributes(holder->hot, header->nodeid, &out) &&
        !directories_attributes(holder->directories, header->nodeid, &out))
        return false;
    relay_reply(holder, header->unique, 0, &out, sizeof out);
    return true;
}

static bool answer_lookup(struct holder *holder, const struct fuse_in_header *header)
{
    struct fuse_entry_out out;
    const char *name = wire_name(header, 0);
    if (name == NULL || !directories_lack(holder->directories, header->nodeid, name, &out))
        return false;
    if (out.entry_valid == 0 && out.entry_valid_nsec == 0)
        relay_refuse(holder, header->unique, -ENOENT);
    else
        relay_reply(holder, header->unique, 0, &out, sizeof out);
    return true;
}

static bool answer_getxattr(struct holder *holder, const struct fuse_in_header *header)
{
    static const char name[] = "security.capability";
    const char *in = wire_argument(header, sizeof(struct fuse_getxattr_in) + sizeof name);
    if (in == NULL || memcmp(in + sizeof(struct fuse_getxattr_in), name, sizeof name) != 0 ||
        !(hot_lacks_capabilities(holder->hot, header->nodeid) ||
          served_lacks_capabilities(holder->served, header->nodeid)))
        return false;
    relay_refuse(holder, header->unique, -ENODATA);
    return true;
}

/* Python knows no handles of the holder; the kernel then copies by itself, from a file that it can read by itself. */
static bool refuse_copy(struct holder *holder, const struct fuse_in_header *header)
{
    const struct fuse_copy_file_range_in *in = wire_argument(header, sizeof *in);
    if (in == NULL || !(in->fh_in & HOLDER_FH))
        return false;
    relay_refuse(holder, header->unique, -EXDEV);
    return true;
}

bool answer_here(struct holder *holder, const struct fuse_in_header *header, char *payload)
{
    switch (header->opcode) {
    case FUSE_OPEN:
        return answer_open(holder, header);
    case FUSE_RELEASE:
        return answer_release(holder, header);
    case FUSE_READ:
        return answer_read(holder, header, payload);
    case FUSE_WRITE:
        return answer_write(holder, header);
    case FUSE_LSEEK:
        return answer_lseek(holder, header);
    case FUSE_FLUSH:
        return answer_flush(holder, header);
    case FUSE_LOOKUP:
        return answer_lookup(holder, header);
    case FUSE_GETATTR:
        return answer_getattr(holder, header);
    case FUSE_GETXATTR:
        return answer_getxattr(holder, header);
    case FUSE_IOCTL: /* nobody behind knows any; isatty(3) sends one for each file that Python programs open */
        relay_refuse(holder, header->unique, -ENOTTY);
        return true;
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
        return refuse_copy(holder, header);
    default:
        return false;
    }
}
