#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "brake.h"
#include "clocks.h"
#include "gate.h"
#include "holder.h"
#include "latency.h"
#include "mount.h"
#include "notify.h"
#include "relay.h"

enum { REVOKES_WAITING_MAX = 1024, LOOK_MS = 10, DRAIN_USES = 1024, DESCRIPTORS_MAX = 4 };

struct revoke {
    uint32_t tag, flags;
    uint64_t ino, until_ms;
};

struct unmounting {
    struct holder *holder;
    uint32_t tag;
    bool lazy;
};

static int send_answer(struct holder *holder, const struct control_answer *answer, const void *payload,
                       size_t payload_bytes, int flags)
{
    struct iovec parts[2] = {{(void *)answer, sizeof *answer}, {(void *)payload, payload_bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = payload_bytes > 0 ? 2 : 1};
    while (sendmsg(holder->control_fd, &message, MSG_NOSIGNAL | flags) < 0)
        if (errno != EINTR)
            return errno == EPIPE || errno == ECONNRESET ? -ENOTCONN : -ENOMEM;
    return 0;
}

void control_answer(struct holder *holder, uint32_t tag, int status, uint64_t a, uint64_t b, const void *payload,
                    size_t payload_bytes)
{
    struct control_answer answer = {.tag = tag, .status = status, .a = a, .b = b};
    send_answer(holder, &answer, payload, payload_bytes, 0);
}

void control_event(struct holder *holder, enum control_kind kind, int status, uint64_t a)
{
    struct control_answer answer = {.kind = kind, .status = status, .a = a};
    send_answer(holder, &answer, NULL, 0, MSG_DONTWAIT);
}

int control_forward(struct holder *holder, uint32_t opcode, uint64_t unique, uint64_t ino, const void *argument,
                    size_t argument_bytes)
{
    struct control_answer event = {.kind = CONTROL_REQUEST, .status = (int32_t)opcode, .a = unique, .b = ino};
    return send_answer(holder, &event, argument, argument_bytes, MSG_DONTWAIT);
}

static void answer_status(struct holder *holder, uint32_t tag)
{
    char text[2048];
    struct hot_counts counts = hot_count(holder->hot);
    struct served_counts served = served_count(holder->served);
    struct directory_counts told = directories_count(holder->directories);
    struct counters *c = &holder->counters;
    int size_bytes = snprintf(
        text, sizeof text,
        "{\"pid\": %d, \"kernel_minor\": %u, \"passthrough_agreed\": %s, \"passthrough_state\": %d, "
        "\"waiting\": %zu, \"queued_bytes\": %zu, \"forwarded\": %" PRIuFAST64 ", \"answered_here\": %" PRIuFAST64
        ", \"interrupted\": %" PRIuFAST64 ", \"swallowed\": %" PRIuFAST64 ", \"malformed\": %" PRIuFAST64
        ", \"undelivered\": %" PRIuFAST64 ", \"notified\": %" PRIuFAST64 ", \"notify_failed\": %" PRIuFAST64
        ", \"notify_dropped\": %" PRIuFAST64 ", \"registered\": %" PRIu64 ", \"open_here\": %" PRIu64
        ", \"open_in_python\": %" PRIu64 ", \"served\": %" PRIu64 ", \"served_reads\": %" PRIu64
        ", \"served_writes\": %" PRIu64 ", \"served_read_bytes\": %" PRIu64 ", \"served_write_bytes\": %" PRIu64
        ", \"brake_state\": %d, \"braked\": %zu, \"latency_state\": %d, "
        "\"at_gates\": %zu, \"restarts\": %u, \"told_attributes\": %" PRIu64 ", \"told_names\": %" PRIu64 "}",
        (int)getpid(), atomic_load(&holder->kernel_minor),
        atomic_load(&holder->passthrough_agreed) ? "true" : "false",
        hot_passthrough_state(holder->hot), inflight_count(holder->inflight),
        packets_queued_bytes(holder->packets), atomic_load(&c->forwarded), atomic_load(&c->answered_here),
        atomic_load(&c->interrupted), atomic_load(&c->swallowed), atomic_load(&c->malformed),
        atomic_load(&c->undelivered), atomic_load(&c->notified), atomic_load(&c->notify_failed),
        atomic_load(&c->notify_dropped), counts.registered, counts.open_here, counts.open_in_python,
        served.files, served.reads, served.writes, served.read_bytes, served.write_bytes,
        brake_state(holder->brake), brake_waiting(holder->brake), latency_state(holder->latency),
        gate_waiting(holder->opens) + gate_waiting(holder->reads) + gate_waiting(holder->writes),
        atomic_load(&holder->restarts), told.attributes, told.names);
    control_answer(holder, tag, 0, 0, 0, text, (size_t)size_bytes);
}

static void answer_drain(struct holder *holder, uint32_t tag)
{
    static struct hot_use uses[DRAIN_USES]; /* under the link's lock */
    bool more;
    size_t count = hot_drain(holder->hot, uses, DRAIN_USES, &more);
    control_answer(holder, tag, 0, more, 0, uses, count * sizeof *uses);
}

static void *unmount_thread(void *context)
{
    struct unmounting *order = context;
    int result = order->holder->mountpoint != NULL ? mount_end(order->holder->mountpoint, order->lazy) : -EINVAL;
    control_answer(order->holder, order->tag, result, 0, 0, NULL, 0);
    free(order);
    return NULL;
}

/* Unmounting waits for requests that Python must answer, and for this link as well as the next order. */
static void unmount(struct holder *holder, uint32_t tag, bool lazy)
{
    pthread_t thread;
    struct unmounting *order = malloc(sizeof *order);
    if (order != NULL) {
        *order = (struct unmounting){holder, tag, lazy};
        if (pthread_create(&thread, NULL, unmount_thread, order) == 0) {
            pthread_detach(thread);
            return;
        }
        free(order);
    }
    control_answer(holder, tag, -ENOMEM, 0, 0, NULL, 0);
}

/* True when it is answered; else it is to be asked again. */
static bool try_revoke(struct holder *holder, const struct revoke *order)
{
    int result = hot_revoke(holder->hot, order->ino, order->flags);
    bool wait = (order->flags & REVOKE_WAIT) && (result == -EBUSY || result == -EAGAIN);
    if (wait && monotonic_ms() < order->until_ms)
        return false;
    if (wait)
        hot_revoke_cancel(holder->hot, order->ino);
    control_answer(holder, order->tag, result, 0, 0, NULL, 0);
    return true;
}

struct control_link {
    struct holder *holder;
    int wake_fd; /* the control thread has to look at the revokes: it has not seen who brought them */
    pthread_mutex_t lock; /* of all below, and of what carry_out() uses */
    char packet[CONTROL_PACKET_MAX_BYTES];
    struct revoke revokes[REVOKES_WAITING_MAX];
    size_t revoke_count;
};

static void begin_revoke(struct control_link *link, const struct control_request *in)
{
    const uint64_t most_ms = UINT64_C(3600) * 1000;
    struct revoke order = {.tag = in->tag,
                           .flags = (uint32_t)in->a,
                           .ino = in->ino,
                           .until_ms = monotonic_ms() + (in->b < most_ms ? in->b : most_ms)};
    if (link->revoke_count == REVOKES_WAITING_MAX)
        order.flags &= ~(uint32_t)REVOKE_WAIT;
    if (!try_revoke(link->holder, &order))
        link->revokes[link->revoke_count++] = order;
}

/* The attributes that may come with a file. */
static void learn(struct holder *holder, const struct control_request *in, const char *payload, size_t payload_bytes)
{
    struct fuse_attr attr;
    if (payload_bytes != sizeof attr)
        return;
    memcpy(&attr, payload, sizeof attr);
    hot_learn(holder->hot, in->ino, hot_note(holder->hot, in->ino), &attr, in->b);
}

/* The list shrinks in place to those that are open. */
static void revoke_idle(struct holder *holder, uint32_t tag, char *list, size_t list_bytes)
{
    size_t kept_bytes = 0;
    for (size_t at = 0; at + sizeof(uint64_t) <= list_bytes; at += sizeof(uint64_t)) {
        uint64_t ino;
        memcpy(&ino, list + at, sizeof ino);
        if (hot_revoke(holder->hot, ino, 0) == -EBUSY) {
            memcpy(list + kept_bytes, &ino, sizeof ino);
            kept_bytes += sizeof ino;
        }
    }
    control_answer(holder, tag, 0, 0, 0, list, kept_bytes);
}

static void carry_out(struct control_link *link, const struct control_request *in, char *payload,
                      size_t payload_bytes, int fd)
{
    struct holder *holder = link->holder;
    int result = -ENOSYS;
    switch (in->kind) {
    case CONTROL_STATUS:
        answer_status(holder, in->tag);
        return;
    case CONTROL_DRAIN:
        answer_drain(holder, in->tag);
        return;
    case CONTROL_REVOKE:
        begin_revoke(link, in);
        return;
    case CONTROL_REVOKE_IDLE:
        revoke_idle(holder, in->tag, payload, payload_bytes);
        return;
    case CONTROL_UNMOUNT:
        unmount(holder, in->tag, in->a != 0);
        return;
    case CONTROL_REPLY:
        relay_called(holder, in->ino, in->a, in->b);
        return;
    case CONTROL_SERVE:
        if (fd >= 0)
            (void)served_put(holder->served, in->ino, dup(fd), (uint32_t)in->a, in->b, (const void *)payload,
                             payload_bytes / sizeof(struct served_range));
        return;
    case CONTROL_PRESENT:
        served_add(holder->served, in->ino, in->a, in->b);
        return;
    case CONTROL_BUDGET:
        served_budget(holder->served, in->a);
        return;
    case CONTROL_WITHDRAW:
        if (!served_withdraw(holder->served, in->ino, in->tag) || in->tag == 0)
            return; /* whoever uses it last answers, or nobody asks */
        result = 0;
        break;
    case CONTROL_LEAVE:
        atomic_store(&holder->leaving, true);
        result = 0;
        break;
    case CONTROL_BRAKE:
        hot_brake(holder->hot, in->a != 0);
        result = brake_state(holder->brake) < 0 ? brake_state(holder->brake) : 0;
        break;
    case CONTROL_REGISTER:
        result = fd >= 0 ? hot_register(holder->hot, in->ino, dup(fd), (uint32_t)in->a) : -EBADF;
        learn(holder, in, payload, result == 0 ? payload_bytes : 0);
        if (in->tag == 0)
            return;
        break;
    case CONTROL_KEEP:
        fd = served_descriptor(holder->served, in->ino);
        if (fd >= 0 && hot_register(holder->hot, in->ino, fd, (uint32_t)in->a) == 0)
            learn(holder, in, payload, payload_bytes);
        (void)served_withdraw(holder->served, in->ino, 0);
        return;
    case CONTROL_DISCARD:
        hot_discard(holder->hot, in->ino);
        return;
    case CONTROL_CHANGED:
        hot_changed(holder->hot, in->ino);
        return;
    case CONTROL_INVAL_INODE:
        result = notify_queue_inode(holder->notifier, in->tag, in->ino, (int64_t)in->a, (int64_t)in->b);
        if (result == 0)
            return; /* the notifier answers */
        break;
    case CONTROL_INVAL_ENTRY:
        result = notify_queue_entry(holder->notifier, in->tag, in->ino, payload, payload_bytes);
        if (result == 0)
            return;
        break;
    default:
        break;
    }
    control_answer(holder, in->tag, result, 0, 0, NULL, 0);
}

enum received { RECEIVED, NOTHING_THERE, CLOSED_BY_PYTHON };

/* One message, if there is one. With the link's lock held. */
static enum received receive(struct control_link *link)
{
    union {
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        struct cmsghdr align;
    } ancillary;
    struct iovec part = {link->packet, sizeof link->packet};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = ancillary.bytes,
                             .msg_controllen = sizeof ancillary.bytes};
    ssize_t size_bytes = recvmsg(link->holder->control_fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size_bytes < 0)
        return errno == EINTR || errno == EAGAIN ? NOTHING_THERE : CLOSED_BY_PYTHON;
    if (size_bytes == 0)
        return CLOSED_BY_PYTHON;
    int fds[DESCRIPTORS_MAX], count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        for (size_t i = 0; i + sizeof(int) <= bytes && count < DESCRIPTORS_MAX; i += sizeof(int))
            memcpy(&fds[count++], CMSG_DATA(c) + i, sizeof(int));
    }
    struct control_request in;
    if ((size_t)size_bytes >= sizeof in && !(message.msg_flags & MSG_TRUNC)) {
        memcpy(&in, link->packet, sizeof in);
        carry_out(link, &in, link->packet + sizeof in, (size_t)size_bytes - sizeof in, count == 1 ? fds[0] : -1);
    } else {
        atomic_fetch_add(&link->holder->counters.malformed, 1);
    }
    for (int i = 0; i < count; i++)
        close(fds[i]);
    return RECEIVED;
}

void control_catch_up(struct holder *holder)
{
    struct control_link *link = holder->control;
    pthread_mutex_lock(&link->lock);
    while (receive(link) == RECEIVED)
        ;
    if (link->revoke_count > 0)
        eventfd_write(link->wake_fd, 1);
    pthread_mutex_unlock(&link->lock);
}

static void *control_thread(void *context)
{
    struct control_link *link = context;
    bool open = true;
    int wait_ms = -1;
    while (open) {
        struct pollfd ready[2] = {{.fd = link->holder->control_fd, .events = POLLIN},
                                  {.fd = link->wake_fd, .events = POLLIN}};
        eventfd_t woken;
        if (poll(ready, 2, wait_ms) > 0 && ready[1].revents != 0)
            (void)eventfd_read(link->wake_fd, &woken);
        pthread_mutex_lock(&link->lock);
        open = receive(link) != CLOSED_BY_PYTHON;
        for (size_t i = 0; i < link->revoke_count;) {
            if (try_revoke(link->holder, &link->revokes[i]))
                link->revokes[i] = link->revokes[--link->revoke_count];
            else
                i++;
        }
        wait_ms = link->revoke_count > 0 ? LOOK_MS : -1;
        pthread_mutex_unlock(&link->lock);
    }
    return NULL;
}

bool control_start(struct holder *holder)
{
    struct control_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return false;
    link->holder = holder;
    link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (link->wake_fd < 0) {
        free(link);
        return false;
    }
    pthread_mutex_init(&link->lock, NULL);
    holder->control = link;
    holder->has_control = pthread_create(&holder->control_thread, NULL, control_thread, link) == 0;
    return holder->has_control;
}

void control_stop(struct holder *holder)
{
    shutdown(holder->control_fd, SHUT_RDWR);
    if (holder->has_control)
        pthread_join(holder->control_thread, NULL);
    holder->has_control = false;
    close(holder->control->wake_fd);
    free(holder->control);
    holder->control = NULL;
}
