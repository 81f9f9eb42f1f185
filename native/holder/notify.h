/*
 * Notifications to the kernel, in order, by a thread of their own. The kernel takes inode locks for them that a
 * waiting request may hold: the thread may stand for as long as that request waits, and nothing stands behind it.
 */
#ifndef TIERFS_HOLDER_NOTIFY_H
#define TIERFS_HOLDER_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NOTIFICATIONS_MAX = 65536 };

struct holder;
struct notifier;

struct notifier *notify_new(void);
bool notify_start(struct holder *holder);

/* A whole notification as it would go to /dev/fuse. Dropped and counted when the queue is full. */
void notify_queue_packet(struct notifier *notifier, const void *packet, size_t size_bytes);

/*
 * The same from the control link, which gets the kernel's errno under `tag`. 0, or -ENOBUFS: the queue is full,
 * -ENOMEM, -EINVAL: no such name.
 */
int notify_queue_inode(struct notifier *notifier, uint32_t tag, uint64_t ino, int64_t offset, int64_t length);
int notify_queue_entry(struct notifier *notifier, uint32_t tag, uint64_t parent, const char *name,
                       size_t name_bytes);

#endif
