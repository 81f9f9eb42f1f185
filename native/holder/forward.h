/* Requests that Python has to answer, on their way to it. */
#ifndef TIERFS_HOLDER_FORWARD_H
#define TIERFS_HOLDER_FORWARD_H

#include "holder.h"

/* In the handle of a WRITE: the kernel writes back what a program stored by a mapping, and pyfuse3 drops its flag.
 * fuse/convert.py has it, too. */
#define WRITEBACK_FH (UINT64_C(1) << 62)

/* A whole request. Whatever happens, the kernel gets its answer; the packet may be changed. */
void forward(struct holder *holder, struct fuse_in_header *header);

/* FORGET and BATCH_FORGET, which have none. */
void forward_forget(struct holder *holder, const struct fuse_in_header *header);

/* Python has answered one of these. */
void forward_let_in_next(struct holder *holder, uint32_t opcode);

/* Attributes change with a request and again with its answer. */
void forward_note_change(struct holder *holder, uint32_t opcode, uint64_t nodeid);

#endif
