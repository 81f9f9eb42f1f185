#include "packets.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fuse_wire.h"

#define QUEUE_MAX_BYTES ((size_t)256 << 20)

enum { FORGETS_A_PACKET = 4000 };

struct packet {
    struct packet *next;
    size_t size_bytes;
    char bytes[];
};

struct packets {
    int fd;
    pthread_mutex_t lock;
    pthread_cond_t work;  /* for the sending thread */
    pthread_cond_t space; /* for senders above the limit */
    struct packet *first, **last;
    size_t queued_bytes;
    struct fuse_forget_one *forgets;
    size_t forget_count, forget_capacity;
    bool shut;
    pthread_t sender;
    bool sends; /* there is a sender */
};

struct packets *packets_new(int socket_fd)
{
    struct packets *packets = calloc(1, sizeof *packets);
    if (packets == NULL)
        return NULL;
    packets->fd = socket_fd;
    packets->last = &packets->first;
    pthread_mutex_init(&packets->lock, NULL);
    pthread_cond_init(&packets->work, NULL);
    pthread_cond_init(&packets->space, NULL);
    return packets;
}

static int send_now(struct packets *packets, const void *packet, size_t size_bytes, int flags)
{
    for (;;) {
        if (send(packets->fd, packet, size_bytes, MSG_NOSIGNAL | flags) >= 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
            return -EAGAIN;
        return -ENOTCONN;
    }
}

int packets_send(struct packets *packets, const void *packet, size_t size_bytes)
{
    pthread_mutex_lock(&packets->lock);
    bool direct = packets->first == NULL && !packets->shut;
    pthread_mutex_unlock(&packets->lock);
    if (direct) {
        int result = send_now(packets, packet, size_bytes, MSG_DONTWAIT);
        if (result != -EAGAIN)
            return result;
    }
    struct packet *copy = malloc(sizeof *copy + size_bytes);
    if (copy == NULL)
        return -ENOMEM;
    copy->next = NULL;
    copy->size_bytes = size_bytes;
    memcpy(copy->bytes, packet, size_bytes);

    pthread_mutex_lock(&packets->lock);
    while (packets->queued_bytes > QUEUE_MAX_BYTES && !packets->shut)
        pthread_cond_wait(&packets->space, &packets->lock);
    bool shut = packets->shut;
    if (!shut) {
        *packets->last = copy;
        packets->last = &copy->next;
        packets->queued_bytes += size_bytes;
        pthread_cond_signal(&packets->work);
    }
    pthread_mutex_unlock(&packets->lock);
    if (shut)
        free(copy);
    return shut ? -ENOTCONN : 0;
}

void packets_forget(struct packets *packets, uint64_t nodeid, uint64_t lookups)
{
    pthread_mutex_lock(&packets->lock);
    if (packets->forget_count == packets->forget_capacity) {
        size_t capacity = packets->forget_capacity ? packets->forget_capacity * 2 : 1024;
        struct fuse_forget_one *grown = realloc(packets->forgets, capacity * sizeof *grown);
        if (grown != NULL) {
            packets->forgets = grown;
            packets->forget_capacity = capacity;
        }
    }
    /* without memory the count in Python stays too high: an inode is kept longer, nothing breaks */
    if (packets->forget_count < packets->forget_capacity && !packets->shut)
        packets->forgets[packets->forget_count++] = (struct fuse_forget_one){nodeid, lookups};
    pthread_cond_signal(&packets->work);
    pthread_mutex_unlock(&packets->lock);
}

/* Takes up to FORGETS_A_PACKET into one BATCH_FORGET. Called with the lock held. */
static struct packet *take_forgets(struct packets *packets)
{
    size_t count = packets->forget_count < FORGETS_A_PACKET ? packets->forget_count : FORGETS_A_PACKET;
    size_t list_bytes = count * sizeof *packets->forgets;
    size_t size_bytes = sizeof(struct fuse_in_header) + sizeof(struct fuse_batch_forget_in) + list_bytes;
    struct packet *packet = malloc(sizeof *packet + size_bytes);
    if (packet != NULL) {
        struct fuse_in_header header = {.len = (uint32_t)size_bytes, .opcode = FUSE_BATCH_FORGET};
        struct fuse_batch_forget_in batch = {.count = (uint32_t)count};
        packet->next = NULL;
        packet->size_bytes = size_bytes;
        memcpy(packet->bytes, &header, sizeof header);
        memcpy(packet->bytes + sizeof header, &batch, sizeof batch);
        /* the latest first: their order means nothing, and nothing has to move */
        memcpy(packet->bytes + sizeof header + sizeof batch, packets->forgets + packets->forget_count - count, list_bytes);
    }
    packets->forget_count -= count;
    return packet;
}

/* The kernel may lack memory for a moment: a request must not get lost, somebody waits for it. */
static void send_patiently(struct packets *packets, const struct packet *packet)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    while (send_now(packets, packet->bytes, packet->size_bytes, 0) == -EAGAIN)
        nanosleep(&pause, NULL);
}

static void *sending_thread(void *context)
{
    struct packets *packets = context;
    pthread_mutex_lock(&packets->lock);
    for (;;) {
        while (packets->first == NULL && packets->forget_count == 0 && !packets->shut)
            pthread_cond_wait(&packets->work, &packets->lock);
        if (packets->shut)
            break;
        /* requests before forgets: somebody waits for them. Both are finite, so neither starves for good */
        struct packet *packet = packets->first;
        bool is_request = packet != NULL;
        if (!is_request)
            packet = take_forgets(packets);
        pthread_mutex_unlock(&packets->lock);
        /* the packet stays first in the queue while it is sent, so that nothing is sent directly meanwhile */
        if (packet != NULL)
            send_patiently(packets, packet);
        pthread_mutex_lock(&packets->lock);
        if (is_request) {
            packets->first = packet->next;
            if (packets->first == NULL)
                packets->last = &packets->first;
            packets->queued_bytes -= packet->size_bytes;
            pthread_cond_broadcast(&packets->space);
        }
        free(packet);
    }
    pthread_mutex_unlock(&packets->lock);
    return NULL;
}

bool packets_start(struct packets *packets)
{
    packets->sends = pthread_create(&packets->sender, NULL, sending_thread, packets) == 0;
    return packets->sends;
}

void packets_join(struct packets *packets)
{
    if (packets->sends)
        pthread_join(packets->sender, NULL);
    packets->sends = false;
}

bool packets_reopen(struct packets *packets, int socket_fd)
{
    packets_join(packets);
    pthread_mutex_lock(&packets->lock);
    while (packets->first != NULL) {
        struct packet *packet = packets->first;
        packets->first = packet->next;
        free(packet);
    }
    packets->last = &packets->first;
    packets->queued_bytes = packets->forget_count = 0;
    packets->shut = false;
    dup3(socket_fd, packets->fd, O_CLOEXEC);
    pthread_mutex_unlock(&packets->lock);
    close(socket_fd);
    return packets_start(packets);
}

long packets_receive(struct packets *packets, void *buffer, size_t capacity_bytes)
{
    for (;;) {
        ssize_t size_bytes = recv(packets->fd, buffer, capacity_bytes, MSG_TRUNC);
        /* the latter once, before what Python sent when it died */
        if (size_bytes < 0 && (errno == EINTR || errno == ECONNRESET))
            continue;
        if (size_bytes < 0)
            return 0;
        return (size_t)size_bytes > capacity_bytes ? -EMSGSIZE : size_bytes;
    }
}

void packets_shut(struct packets *packets)
{
    pthread_mutex_lock(&packets->lock);
    packets->shut = true;
    pthread_cond_broadcast(&packets->work);
    pthread_cond_broadcast(&packets->space);
    pthread_mutex_unlock(&packets->lock);
    shutdown(packets->fd, SHUT_RDWR);
}

size_t packets_queued_bytes(struct packets *packets)
{
    pthread_mutex_lock(&packets->lock);
    size_t queued_bytes = packets->queued_bytes;
    pthread_mutex_unlock(&packets->lock);
    return queued_bytes;
}
