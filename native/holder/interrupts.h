/*
 * INTERRUPT: the kernel says that a waiting thread got a signal. The holder answers for Python, so that a program
 * dies or goes on at once however long the store takes; Python's late answer is undone by the relay.
 *
 * Not every signal may end every request. A thread that is about to die takes any error. One with a handler gets
 * EINTR only from requests that read or wait, and only for the signals by which a user ends a program: a timer or a
 * child's end must not break a stat or an open, which on a local disk never return EINTR. Those are looked at again
 * each LOOK_MS as long as they wait, since the kernel interrupts a request only once.
 */
#ifndef TIERFS_HOLDER_INTERRUPTS_H
#define TIERFS_HOLDER_INTERRUPTS_H

#include <stdbool.h>
#include <stdint.h>

struct holder;
struct interrupts;

struct interrupts *interrupts_new(void);
bool interrupts_start(struct holder *holder);
void interrupts_add(struct interrupts *interrupts, uint64_t unique);

/* The verdict alone, for tests: masks as in /proc/<tid>/status, bit n-1 is signal n. */
bool interrupts_ends(uint32_t opcode, uint64_t thread_pending, uint64_t pending, uint64_t blocked, uint64_t ignored,
                     uint64_t caught);

#endif
