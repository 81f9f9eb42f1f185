/*
 * Python works on a bounded number of requests at one time. Those that may wait for the store take only a part of
 * them: the others wait here, in order, so that names, statfs and what is hot are answered however many wait.
 *
 * Any thread; one lock inside, held for no system call. What is kept is bounded by the kernel's waiting requests.
 */
#ifndef TIERFS_HOLDER_GATE_H
#define TIERFS_HOLDER_GATE_H

#include <stdbool.h>
#include <stddef.h>

struct gate;

/* `limit`: how many may be inside; 0: all. */
struct gate *gate_new(size_t limit);

/* True: it is inside now, send it. False: a copy of the packet is kept. */
bool gate_enter(struct gate *gate, const void *packet, size_t size_bytes);

/* One inside is done: the packet that takes its place, to be freed by the caller, or NULL. */
void *gate_next(struct gate *gate);

/* Nobody is inside and nobody waits any more. */
void gate_clear(struct gate *gate);

size_t gate_waiting(struct gate *gate);

#endif
