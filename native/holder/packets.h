/*
 * The packet socket to Python. Whoever sends never waits for Python: what the socket does not take at once is
 * queued and sent by a thread of its own. Requests are independent of each other, so the queue may be overtaken;
 * FORGETs are collected into batches, and may only come later than what came before them, never earlier.
 *
 * The queue holds at most what the kernel's waiting requests carry; above QUEUE_MAX_BYTES senders do wait.
 */
#ifndef TIERFS_HOLDER_PACKETS_H
#define TIERFS_HOLDER_PACKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct packets;

struct packets *packets_new(int socket_fd);
bool packets_start(struct packets *packets); /* the sending thread */

/* 0, or -ENOTCONN once Python has gone, or -ENOMEM. */
int packets_send(struct packets *packets, const void *packet, size_t size_bytes);

void packets_forget(struct packets *packets, uint64_t nodeid, uint64_t lookups);

/* The next packet from Python; 0: it has gone; -EMSGSIZE: larger than the buffer, and lost. */
long packets_receive(struct packets *packets, void *buffer, size_t capacity_bytes);

/* After packets_shut(): waits for the end of the sending thread. */
void packets_join(struct packets *packets);

/* After packets_shut(): goes on with another socket, which takes the place of the old one, and without what was queued. */
bool packets_reopen(struct packets *packets, int socket_fd);

/* No more packets either way; wakes all who wait. */
void packets_shut(struct packets *packets);

size_t packets_queued_bytes(struct packets *packets);

#endif
