#include "notify.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "holder.h"
#include "relay.h"

struct notification {
    struct notification *next;
    uint32_t tag; /* 0: nobody asks for the outcome */
    size_t size_bytes;
    char bytes[];
};

struct notifier {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct notification *first, **last;
    size_t count;
    atomic_uint_fast64_t dropped;
};

struct notifier *notify_new(void)
{
    struct notifier *notifier = calloc(1, sizeof *notifier);
    if (notifier != NULL) {
        notifier->last = &notifier->first;
        pthread_mutex_init(&notifier->lock, NULL);
        pthread_cond_init(&notifier->work, NULL);
    }
    return notifier;
}

static int queue(struct notifier *notifier, uint32_t tag, const struct iovec *parts, int count)
{
    size_t size_bytes = 0;
    for (int i = 0; i < count; i++)
        size_bytes += parts[i].iov_len;
    struct notification *item = malloc(sizeof *item + size_bytes);
    if (item == NULL)
        return -ENOMEM;
    item->next = NULL;
    item->tag = tag;
    item->size_bytes = 0;
    for (int i = 0; i < count; i++) {
        memcpy(item->bytes + item->size_bytes, parts[i].iov_base, parts[i].iov_len);
        item->size_bytes += parts[i].iov_len;
    }
    pthread_mutex_lock(&notifier->lock);
    bool full = notifier->count >= NOTIFICATIONS_MAX;
    if (!full) {
        *notifier->last = item;
        notifier->last = &item->next;
        notifier->count++;
        pthread_cond_signal(&notifier->work);
    }
    pthread_mutex_unlock(&notifier->lock);
    if (full) {
        free(item);
        atomic_fetch_add(&notifier->dropped, 1);
    }
    return full ? -ENOBUFS : 0;
}

void notify_queue_packet(struct notifier *notifier, const void *packet, size_t size_bytes)
{
    struct iovec part = {(void *)packet, size_bytes};
    (void)queue(notifier, 0, &part, 1);
}

int notify_queue_inode(struct notifier *notifier, uint32_t tag, uint64_t ino, int64_t offset, int64_t length)
{
    struct fuse_notify_inval_inode_out out = {.ino = ino, .off = offset, .len = length};
    struct fuse_out_header header = {.len = sizeof header + sizeof out, .error = FUSE_NOTIFY_INVAL_INODE};
    struct iovec parts[] = {{&header, sizeof header}, {&out, sizeof out}};
    return queue(notifier, tag, parts, 2);
}

int notify_queue_entry(struct notifier *notifier, uint32_t tag, uint64_t parent, const char *name,
                       size_t name_bytes)
{
    enum { NAME_MAX_BYTES = 255 };
    if (name_bytes == 0 || name_bytes > NAME_MAX_BYTES || memchr(name, '\0', name_bytes) != NULL)
        return -EINVAL;
    struct fuse_notify_inval_entry_out out = {.parent = parent, .namelen = (uint32_t)name_bytes};
    struct fuse_out_header header = {.len = (uint32_t)(sizeof header + sizeof out + name_bytes + 1),
                                     .error = FUSE_NOTIFY_INVAL_ENTRY};
    struct iovec parts[] = {{&header, sizeof header}, {&out, sizeof out}, {(void *)name, name_bytes}, {"", 1}};
    return queue(notifier, tag, parts, 4);
}

static void *notify_thread(void *context)
{
    struct holder *holder = context;
    struct notifier *notifier = holder->notifier;
    for (;;) {
        pthread_mutex_lock(&notifier->lock);
        while (notifier->first == NULL)
            pthread_cond_wait(&notifier->work, &notifier->lock);
        struct notification *item = notifier->first;
        notifier->first = item->next;
        if (notifier->first == NULL)
            notifier->last = &notifier->first;
        notifier->count--;
        pthread_mutex_unlock(&notifier->lock);

        const struct fuse_out_header *header = (const void *)item->bytes;
        const struct fuse_notify_inval_inode_out *inode = (const void *)(header + 1);
        if (header->error == FUSE_NOTIFY_INVAL_INODE && item->size_bytes >= sizeof *header + sizeof *inode)
            hot_changed(holder->hot, inode->ino);
        struct iovec part = {item->bytes, item->size_bytes};
        int result = relay_write(holder, &part, 1);
        atomic_fetch_add(&holder->counters.notified, 1);
        if (result != 0 && result != -ENOENT) /* ENOENT: the kernel does not know it, nothing to forget */
            atomic_fetch_add(&holder->counters.notify_failed, 1);
        atomic_store(&holder->counters.notify_dropped, atomic_load(&notifier->dropped));
        if (item->tag != 0)
            control_answer(holder, item->tag, result, 0, 0, NULL, 0);
        free(item);
    }
    return NULL;
}

bool notify_start(struct holder *holder)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, notify_thread, holder) != 0)
        return false;
    pthread_detach(thread);
    return true;
}
