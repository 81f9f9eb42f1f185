#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answers.h"
#include "control.h"
#include "forward.h"
#include "interrupts.h"
#include "known.h"
#include "latency.h"
#include "mount.h"
#include "notify.h"
#include "pieces.h"
#include "restart.h"
#include "tokens.h"
#include "transfers.h"

/* the kernel refuses to read requests into less than max_write and a page */
#define KERNEL_BUFFER_BYTES (TRANSFER_MAX_BYTES + 8192u)
#define SOCKET_BUFFER_BYTES (4 << 20)
#define PYTHON_BUFFER_BYTES (PAYLOAD_MAX_BYTES + 8192u)
#define INTERNAL_UNIQUE (UINT64_C(1) << 62)

int relay_write(struct holder *holder, struct iovec *parts, int count)
{
    for (;;) {
        if (writev(holder->kernel_fd, parts, count) >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

int relay_reply(struct holder *holder, uint64_t unique, int error, void *payload, size_t payload_bytes)
{
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof header + payload_bytes), .error = error, .unique = unique};
    struct iovec parts[2] = {{&header, sizeof header}, {payload, payload_bytes}};
    return relay_write(holder, parts, payload_bytes > 0 ? 2 : 1);
}

void relay_refuse(struct holder *holder, uint64_t unique, int error)
{
    (void)relay_reply(holder, unique, error, NULL, 0); /* it fails when nobody waits any more, which is as good */
}

/* ---- from the kernel ---- */

static void note_release(struct holder *holder, const struct fuse_in_header *header)
{
    const uint64_t *fh = wire_argument(header, sizeof *fh);
    if (fh != NULL && header->opcode == FUSE_RELEASE)
        known_released(holder->known, KNOWN_FILE, *fh);
    else if (fh != NULL && header->opcode == FUSE_RELEASEDIR)
        known_released(holder->known, KNOWN_DIRECTORY, *fh);
}

/*
 * A request that was read before the kernel was told to ask again, and the same one asked again. True: it is done.
 * `life`: of the daemon when the thread began to read; only a request of an earlier life may come twice.
 */
static bool is_repeated(struct holder *holder, const struct fuse_in_header *header, unsigned life)
{
    bool again = (header->unique & FUSE_UNIQUE_RESEND) != 0;
    if (!wire_has_reply(header->opcode) || (!again && life == atomic_load(&holder->restarts)))
        return false;
    if (again && (header->opcode == FUSE_RELEASE || header->opcode == FUSE_RELEASEDIR)) {
        relay_refuse(holder, header->unique, 0);
        return true;
    }
    if (again)
        tokens_note_again(holder->tokens, header->unique);
    return inflight_renew(holder->inflight, header->unique) ||
           (!again && tokens_came_again(holder->tokens, header->unique));
}

static void dispatch(struct holder *holder, char *packet, size_t size_bytes, char *payload, unsigned life)
{
    struct fuse_in_header *header = (void *)packet;
    if (wire_request(packet, size_bytes) == NULL) {
        atomic_fetch_add(&holder->counters.malformed, 1);
        return;
    }
    if (is_repeated(holder, header, life))
        return;
    const struct fuse_interrupt_in *interrupt;
    switch (header->opcode) {
    case FUSE_INIT:
        if (!atomic_exchange(&holder->init_seen, true) &&
            wire_patch_init_request(packet, size_bytes, &holder->session)) {
            if (holder->restart != NULL)
                restart_keep_init(holder->restart, header, (holder->session.kernel_flags & FUSE_HAS_RESEND) != 0);
            forward(holder, header);
        } else {
            relay_refuse(holder, header->unique, -EPROTO);
        }
        return;
    case FUSE_INTERRUPT:
        interrupt = wire_argument(header, sizeof *interrupt);
        if (interrupt != NULL)
            interrupts_add(holder->interrupts, interrupt->unique);
        return;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        forward_forget(holder, header);
        return;
    default:
        note_release(holder, header);
        if (answer_here(holder, header, payload))
            atomic_fetch_add(&holder->counters.answered_here, 1);
        else
            forward(holder, header);
    }
}

void *relay_kernel_thread(void *context)
{
    struct holder *holder = context;
    char *packet = malloc(KERNEL_BUFFER_BYTES), *payload = malloc(TRANSFER_MAX_BYTES);
    while (packet != NULL && payload != NULL) {
        unsigned life = atomic_load(&holder->restarts);
        ssize_t size_bytes = read(holder->kernel_fd, packet, KERNEL_BUFFER_BYTES);
        if (size_bytes > 0) {
            latency_note(holder->latency);
            pthread_rwlock_rdlock(&holder->switching);
            dispatch(holder, packet, (size_t)size_bytes, payload, life);
            pthread_rwlock_unlock(&holder->switching);
        } else if (size_bytes == 0 || (errno != EINTR && errno != EAGAIN && errno != ENOENT)) {
            break; /* ENODEV: unmounted; ECONNABORTED: aborted; ENOENT is a request that was taken back */
        }
    }
    free(packet);
    free(payload);
    return NULL;
}

/* ---- from Python ---- */

uint64_t relay_internal_unique(struct holder *holder)
{
    return INTERNAL_UNIQUE | (atomic_fetch_add(&holder->last_internal, 1) + 1) << 1;
}

/* A request of the holder's own, whose answer nobody sees. */
static void send_internal(struct holder *holder, uint32_t opcode, uint64_t nodeid, const void *argument,
                          size_t argument_bytes)
{
    char packet[sizeof(struct fuse_in_header) + sizeof(struct fuse_release_in)];
    struct fuse_in_header header = {
        .len = (uint32_t)(sizeof header + argument_bytes),
        .opcode = opcode,
        .unique = relay_internal_unique(holder),
        .nodeid = nodeid,
    };
    memcpy(packet, &header, sizeof header);
    memcpy(packet + sizeof header, argument, argument_bytes);
    struct waiting request = {.unique = header.unique, .nodeid = nodeid, .opcode = opcode, .internal = true};
    if (!inflight_add(holder->inflight, &request))
        return;
    if (packets_send(holder->packets, packet, header.len) != 0)
        (void)inflight_take(holder->inflight, request.unique, &request);
}

static void forget_one(void *context, uint64_t nodeid)
{
    packets_forget(((struct holder *)context)->packets, nodeid, 1);
}

/* The kernel did not take the answer: what it gave is given back. */
static void undo(struct holder *holder, const struct waiting *request, void *packet, size_t size_bytes)
{
    struct fuse_open_out *open = wire_open_out(request->opcode, packet, size_bytes);
    if (open != NULL) {
        uint64_t nodeid = request->nodeid;
        if (request->opcode == FUSE_CREATE)
            nodeid = ((const struct fuse_entry_out *)((char *)packet + sizeof(struct fuse_out_header)))->nodeid;
        struct fuse_release_in in = {.fh = open->fh, .flags = request->open_flags};
        send_internal(holder, request->opcode == FUSE_OPENDIR ? FUSE_RELEASEDIR : FUSE_RELEASE, nodeid, &in,
                      sizeof in);
    }
    wire_each_lookup(request->opcode, packet, size_bytes, forget_one, holder);
}

/* What Python does not know is put into its answer. Returns the new size, 0 when it must become an error. */
static size_t finish(struct holder *holder, const struct waiting *request, char *packet, size_t size_bytes,
                     int *error)
{
    uint64_t valid_ns;
    struct fuse_attr *attr;
    struct fuse_open_out *open;
    switch (request->opcode) {
    case FUSE_INIT:
        *error = -EPROTO;
        size_bytes = wire_patch_init_reply(packet, size_bytes, &holder->limits, &holder->session);
        atomic_store(&holder->kernel_minor, holder->session.kernel_minor);
        atomic_store(&holder->passthrough_agreed, holder->session.passthrough);
        hot_set_passthrough(holder->hot, holder->session.passthrough);
        return size_bytes;
    case FUSE_OPEN:
    case FUSE_CREATE:
        open = wire_open_out(request->opcode, packet, size_bytes);
        if (open == NULL)
            return size_bytes;
        *error = open->fh & HOLDER_FH ? -EIO : hot_opened(holder->hot, request->nodeid, request->open_flags, open);
        return *error == 0 ? size_bytes : 0;
    case FUSE_GETATTR:
        attr = wire_attributes(request->opcode, packet, size_bytes, &valid_ns);
        if (attr != NULL)
            hot_learn(holder->hot, request->nodeid, request->note, attr, valid_ns);
        return size_bytes;
    default:
        forward_note_change(holder, request->opcode, request->nodeid);
        if (request->sets_atime)
            hot_access_told(holder->hot, request->nodeid);
        return size_bytes;
    }
}

static enum known_kind kind_of_handle(uint32_t opcode)
{
    return opcode == FUSE_OPENDIR ? KNOWN_DIRECTORY : KNOWN_FILE;
}

static void looked_up(void *holder, uint64_t nodeid)
{
    known_looked_up(((struct holder *)holder)->known, nodeid);
}

static void not_looked_up(void *holder, uint64_t nodeid)
{
    known_forgotten(((struct holder *)holder)->known, nodeid, 1);
}

/* Before the kernel has it: another thread may read the end of it a moment later. */
static void note_given(struct holder *holder, const struct waiting *request, char *packet, size_t size_bytes)
{
    wire_each_lookup(request->opcode, packet, size_bytes, looked_up, holder);
    const struct fuse_open_out *open = wire_open_out(request->opcode, packet, size_bytes);
    if (open != NULL)
        known_opened(holder->known, kind_of_handle(request->opcode), open->fh, request->nodeid, request->open_flags);
}

static void note_not_given(struct holder *holder, const struct waiting *request, char *packet, size_t size_bytes)
{
    wire_each_lookup(request->opcode, packet, size_bytes, not_looked_up, holder);
    const struct fuse_open_out *open = wire_open_out(request->opcode, packet, size_bytes);
    if (open != NULL)
        known_released(holder->known, kind_of_handle(request->opcode), open->fh);
}

static void deliver(struct holder *holder, struct waiting *request, char *packet, size_t size_bytes)
{
    int error = -EIO;
    /* an answer that is longer than its request may be is found by the kernel, which then takes an error instead */
    if (request->opcode == FUSE_CREATE && wire_open_out(FUSE_CREATE, packet, size_bytes) != NULL)
        request->nodeid = ((const struct fuse_entry_out *)(packet + sizeof(struct fuse_out_header)))->nodeid;
    size_t finished_bytes = finish(holder, request, packet, size_bytes, &error);
    if (finished_bytes == 0) {
        undo(holder, request, packet, size_bytes);
        relay_refuse(holder, request->unique, error);
        return;
    }
    ((struct fuse_out_header *)(void *)packet)->unique = request->unique;
    struct iovec part = {packet, finished_bytes};
    note_given(holder, request, packet, finished_bytes);
    int result = relay_write(holder, &part, 1);
    if (result == 0) {
        if (request->opcode == FUSE_INIT)
            atomic_store(&holder->init_answered, true);
        if (request->opcode == FUSE_INIT && holder->mountpoint != NULL)
            mount_set_readahead(holder->mountpoint, holder->limits.max_readahead_bytes / 1024);
        return;
    }
    atomic_fetch_add(&holder->counters.undelivered, 1);
    note_not_given(holder, request, packet, finished_bytes);
    struct fuse_open_out *open = wire_open_out(request->opcode, packet, finished_bytes);
    if (open != NULL && request->opcode != FUSE_OPENDIR)
        hot_release(holder->hot, request->nodeid, open->fh, request->open_flags);
    undo(holder, request, packet, finished_bytes);
    if (result != -ENOENT)
        relay_refuse(holder, request->unique, -EIO);
}

static void answered_piece(struct holder *holder, const struct waiting *piece, const struct fuse_out_header *answer)
{
    uint32_t opcode = pieces_opcode(piece->pieces);
    if (transfer_go_on(holder, piece->pieces, answer))
        forward_let_in_next(holder, opcode);
}

static void from_python(struct holder *holder, char *packet, size_t size_bytes)
{
    const struct fuse_out_header *header = wire_reply(packet, size_bytes);
    struct waiting request;
    control_catch_up(holder);
    if (header != NULL && header->unique == 0) {
        if (header->error != TOLD_CODE)
            notify_queue_packet(holder->notifier, packet, size_bytes);
        else if (!directories_told(holder->directories, header))
            atomic_fetch_add(&holder->counters.malformed, 1);
        return;
    }
    if (header == NULL) {
        atomic_fetch_add(&holder->counters.malformed, 1);
        header = (void *)packet;
        /* whoever waits for it must not wait for ever */
        if (size_bytes < sizeof *header || !inflight_take(holder->inflight, header->unique, &request))
            return;
        if (request.pieces != NULL) {
            answered_piece(holder, &request, NULL);
            return;
        }
        directories_answered(holder->directories, request.opcode, request.nodeid, request.other);
        if (!request.internal && !request.abandoned)
            relay_refuse(holder, request.unique, -EIO);
        forward_let_in_next(holder, request.opcode);
        return;
    }
    if (!inflight_take(holder->inflight, header->unique, &request)) {
        atomic_fetch_add(&holder->counters.undelivered, 1);
        return;
    }
    if (request.pieces != NULL) {
        answered_piece(holder, &request, header);
        return;
    }
    directories_answered(holder->directories, request.opcode, request.nodeid, request.other);
    if (request.abandoned) {
        atomic_fetch_add(&holder->counters.swallowed, 1);
        forward_note_change(holder, request.opcode, request.nodeid);
        undo(holder, &request, packet, size_bytes);
    } else if (!request.internal) {
        deliver(holder, &request, packet, size_bytes);
    }
    forward_let_in_next(holder, request.opcode);
}

/* Python has done what it can for a read that waits: its bytes are here, or it has to be answered there. */
static void unpark(struct holder *holder, struct waiting *request)
{
    static char payload[TRANSFER_MAX_BYTES]; /* only the control thread comes here */
    struct {
        struct fuse_in_header header;
        struct fuse_read_in in;
    } packet = {.header = {.len = sizeof packet, .opcode = FUSE_READ, .unique = request->unique,
                           .nodeid = request->nodeid, .pid = request->pid},
                .in = request->read};
    size_t got_bytes;
    bool tell;
    if (served_read(holder->served, request->nodeid, payload, request->read.size, request->read.offset, &got_bytes,
                    &tell) == SERVED_DONE)
        relay_reply(holder, request->unique, 0, payload, got_bytes);
    else
        forward(holder, &packet.header);
}

void relay_called(struct holder *holder, uint64_t unique, uint64_t error, uint64_t value)
{
    struct waiting request;
    uint64_t payload;
    /* the rest waits for packets, with handles and lookups to give back */
    bool ours = inflight_look(holder->inflight, unique, &request) &&
                (request.parked || wire_call_bytes(request.opcode) != 0) &&
                inflight_take(holder->inflight, unique, &request);
    if (!ours || error >= ERRNO_END) {
        atomic_fetch_add(&holder->counters.malformed, 1);
        if (ours && !request.abandoned)
            relay_refuse(holder, unique, -EIO);
        return;
    }
    forward_note_change(holder, request.opcode, request.nodeid);
    if (request.abandoned)
        atomic_fetch_add(&holder->counters.swallowed, 1);
    else if (error != 0)
        relay_refuse(holder, unique, -(int)error);
    else if (request.parked)
        unpark(holder, &request);
    else
        relay_reply(holder, unique, 0, &payload, wire_call_answer(request.opcode, value, &payload));
}

void relay_size_link(int socket_fd)
{
    const int size_bytes = SOCKET_BUFFER_BYTES;
    if (setsockopt(socket_fd, SOL_SOCKET, SO_SNDBUFFORCE, &size_bytes, sizeof size_bytes) != 0)
        setsockopt(socket_fd, SOL_SOCKET, SO_SNDBUF, &size_bytes, sizeof size_bytes);
}

void relay_python_gone(struct holder *holder)
{
    struct waiting request;
    packets_shut(holder->packets);
    pthread_rwlock_wrlock(&holder->switching);
    bool known = atomic_exchange(&holder->python_gone, true);
    pthread_rwlock_unlock(&holder->switching);
    if (known)
        return;
    hot_brake(holder->hot, false); /* nobody is left to take it off */
    directories_clear(holder->directories);
    while (inflight_take_any(holder->inflight, &request)) {
        pieces_free(request.pieces);
        if (!request.internal && !request.abandoned)
            relay_refuse(holder, request.unique, -ENOTCONN);
    }
}

void *relay_python_thread(void *context)
{
    struct holder *holder = context;
    char *packet = malloc(PYTHON_BUFFER_BYTES);
    long size_bytes = 0;
    do {
        while (packet != NULL && (size_bytes = packets_receive(holder->packets, packet, PYTHON_BUFFER_BYTES)) != 0) {
            if (size_bytes > 0)
                from_python(holder, packet, (size_t)size_bytes);
            else if (size_bytes == -EMSGSIZE)
                /* too long for any answer; its start is here */
                from_python(holder, packet, PYTHON_BUFFER_BYTES);
        }
    } while (packet != NULL && restart_daemon(holder));
    free(packet);
    bool expected = atomic_load(&holder->ended);
    relay_python_gone(holder);
    if (!expected && holder->on_exit == ON_EXIT_UNMOUNT && holder->mountpoint != NULL) {
        say("the file system process has gone: unmounting %s", holder->mountpoint);
        mount_end(holder->mountpoint, true);
    }
    return NULL;
}
