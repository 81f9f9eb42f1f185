/* Requests from the kernel and answers from Python, each checked, each to its place. */
#ifndef TIERFS_HOLDER_RELAY_H
#define TIERFS_HOLDER_RELAY_H

#include "holder.h"

void *relay_kernel_thread(void *holder); /* returns when the kernel has ended the session */
void *relay_python_thread(void *holder); /* returns when Python has gone */

/* Answers a request. 0, or -errno: nobody waits for it any more. */
int relay_reply(struct holder *holder, uint64_t unique, int error, void *payload, size_t payload_bytes);
/* The same with an error. */
void relay_refuse(struct holder *holder, uint64_t unique, int error);

/* One message to the kernel: 0 or -errno. */
int relay_write(struct holder *holder, struct iovec *parts, int count);

/* The id of a request of the holder's own. */
uint64_t relay_internal_unique(struct holder *holder);

/* Python's answer to what was sent by control_forward(): an errno or 0, and a value. The control thread alone. */
void relay_called(struct holder *holder, uint64_t unique, uint64_t error, uint64_t value);

/* Answers all that waits for Python with ENOTCONN. Once. */
void relay_python_gone(struct holder *holder);

/* Gives a link the room that the largest packets need. */
void relay_size_link(int socket_fd);

#endif
