#include "forward.h"

#include <errno.h>
#include <stdlib.h>

#include "control.h"
#include "gate.h"
#include "known.h"
#include "relay.h"
#include "restart.h"
#include "tokens.h"
#include "transfers.h"

/* Attributes change with these requests and again with their answers. Of what a change of a name does to the inode
 * behind it Python tells. */
void forward_note_change(struct holder *holder, uint32_t opcode, uint64_t nodeid)
{
    switch (opcode) {
    case FUSE_SETXATTR:
        served_xattr_changed(holder->served, nodeid);
        hot_changed(holder->hot, nodeid);
        break;
    case FUSE_SETATTR:
    case FUSE_WRITE:
    case FUSE_FALLOCATE:
    case FUSE_REMOVEXATTR:
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
        hot_changed(holder->hot, nodeid);
        break;
    default:
        break;
    }
}

/* Changes in place what Python would not understand or what would not fit a packet. False: malformed. */
static bool prepare(struct fuse_in_header *header)
{
    if (header->opcode == FUSE_READDIR || header->opcode == FUSE_READDIRPLUS) {
        struct fuse_read_in *in = (void *)(header + 1);
        if (wire_argument(header, sizeof *in) == NULL)
            return false;
        if (in->size > PAYLOAD_MAX_BYTES)
            in->size = PAYLOAD_MAX_BYTES;
    }
    if (header->opcode == FUSE_READ || header->opcode == FUSE_WRITE) {
        struct fuse_read_in *in = (void *)(header + 1); /* of WRITE, too */
        if (wire_argument(header, sizeof *in) == NULL)
            return false;
        size_t data_bytes = header->opcode == FUSE_WRITE ? in->size : 0;
        if (in->size > TRANSFER_MAX_BYTES || wire_argument(header, sizeof *in + data_bytes) == NULL)
            return false;
        if (header->opcode == FUSE_WRITE && (in->read_flags & FUSE_WRITE_CACHE))
            in->fh |= WRITEBACK_FH;
    }
    if (header->opcode == FUSE_SETATTR) {
        struct fuse_setattr_in *in = (void *)(header + 1);
        if (wire_argument(header, sizeof *in) == NULL)
            return false;
        if ((in->valid & FATTR_FH) && (in->fh & HOLDER_FH))
            in->valid &= ~FATTR_FH;
    }
    size_t call_bytes = wire_call_bytes(header->opcode);
    return call_bytes == 0 || wire_argument(header, call_bytes) != NULL;
}

/* Requests that may wait for the store: their gate, else NULL. */
static struct gate *gate_of(struct holder *holder, uint32_t opcode)
{
    switch (opcode) {
    case FUSE_OPEN:
        return holder->opens;
    case FUSE_READ:
        return holder->reads;
    case FUSE_WRITE: /* for room */
        return holder->writes;
    default:
        return NULL;
    }
}

/* A request that no gate holds any more. */
static int send_packet(struct holder *holder, const struct fuse_in_header *header)
{
    return transfer_is_long(header) ? transfer_begin(holder, header)
                                    : packets_send(holder->packets, header, header->len);
}

/* One less is with Python: whoever waits at the gate takes the place, but for those that were interrupted there. */
void forward_let_in_next(struct holder *holder, uint32_t opcode)
{
    struct gate *gate = gate_of(holder, opcode);
    struct waiting request;
    struct fuse_in_header *header;
    bool is_in = false;
    while (gate != NULL && !is_in && (header = gate_next(gate)) != NULL) {
        int result = -EINTR;
        if (inflight_look(holder->inflight, header->unique, &request) && !request.abandoned)
            result = send_packet(holder, header);
        is_in = result == 0;
        if (!is_in && inflight_take(holder->inflight, header->unique, &request) && !request.abandoned)
            relay_refuse(holder, request.unique, result);
        free(header);
    }
}

/* To pyfuse3, or what pyfuse3 does not know to the driver beside it. */
static int send_on(struct holder *holder, const struct fuse_in_header *header)
{
    size_t call_bytes = wire_call_bytes(header->opcode);
    if (atomic_load(&holder->python_gone))
        return -ENOTCONN;
    struct gate *gate = gate_of(holder, header->opcode);
    if (gate != NULL && !gate_enter(gate, header, header->len))
        return 0;
    if (call_bytes != 0)
        return control_forward(holder, header->opcode, header->unique, header->nodeid, header + 1, call_bytes);
    int result = send_packet(holder, header);
    if (result != 0)
        forward_let_in_next(holder, header->opcode);
    return result;
}

static struct waiting waiting_for(struct holder *holder, const struct fuse_in_header *header)
{
    struct waiting request = {
        .unique = header->unique, .nodeid = header->nodeid, .opcode = header->opcode, .pid = header->pid};
    const uint32_t *flags = wire_argument(header, sizeof *flags);
    const struct fuse_copy_file_range_in *copy = (const void *)(header + 1);
    switch (header->opcode) {
    case FUSE_OPEN:
    case FUSE_CREATE:
        if (flags != NULL)
            request.open_flags = *flags; /* the first field of both */
        break;
    case FUSE_SETATTR:
        request.sets_atime = (*flags & (FATTR_ATIME | FATTR_ATIME_NOW)) != 0; /* the first field is `valid` */
        break;
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
        request.nodeid = copy->nodeid_out;
        break;
    case FUSE_GETATTR:
        request.note = hot_note(holder->hot, header->nodeid);
        break;
    default:
        break;
    }
    if (restart_asks_again(holder) && tokens_wants(header->opcode, request.open_flags))
        request.token = tokens_give(holder->tokens, header->unique);
    return request;
}

void forward(struct holder *holder, struct fuse_in_header *header)
{
    if (!prepare(header)) {
        atomic_fetch_add(&holder->counters.malformed, 1);
        relay_refuse(holder, header->unique, -EIO);
        return;
    }
    struct waiting request = waiting_for(holder, header);
    if (request.token != 0)
        header->pid = request.token;
    forward_note_change(holder, header->opcode, request.nodeid);
    directories_asked(holder->directories, header, &request.other);

    bool has_reply = wire_has_reply(header->opcode);
    if (has_reply && !inflight_add(holder->inflight, &request)) {
        directories_answered(holder->directories, request.opcode, request.nodeid, request.other);
        relay_refuse(holder, header->unique, -ENOMEM);
        return;
    }
    atomic_fetch_add(&holder->counters.forwarded, 1);
    int result = send_on(holder, header);
    /* whoever takes it answers it: also relay_python_gone() may have been here */
    if (result == -ENOTCONN && holder->restart != NULL && !atomic_load(&holder->python_gone))
        return; /* the daemon has just died: the request waits for what becomes of it */
    if (result != 0 && has_reply && inflight_take(holder->inflight, request.unique, &request)) {
        directories_answered(holder->directories, request.opcode, request.nodeid, request.other);
        if (!request.abandoned)
            relay_refuse(holder, request.unique, result);
    }
}

static void forget(struct holder *holder, uint64_t nodeid, uint64_t lookups)
{
    known_forgotten(holder->known, nodeid, lookups);
    packets_forget(holder->packets, nodeid, lookups);
}

void forward_forget(struct holder *holder, const struct fuse_in_header *header)
{
    if (header->opcode == FUSE_FORGET) {
        const uint64_t *lookups = wire_argument(header, sizeof *lookups);
        if (lookups != NULL)
            forget(holder, header->nodeid, *lookups);
        return;
    }
    const struct fuse_batch_forget_in *in = wire_argument(header, sizeof *in);
    if (in == NULL || wire_argument(header, sizeof *in + in->count * sizeof(struct fuse_forget_one)) == NULL) {
        atomic_fetch_add(&holder->counters.malformed, 1);
        return;
    }
    const struct fuse_forget_one *one = (const void *)(in + 1);
    for (uint32_t i = 0; i < in->count; i++)
        forget(holder, one[i].nodeid, one[i].nlookup);
}
