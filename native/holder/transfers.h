/* READs and WRITEs that are too long for one packet to Python: sent and answered piece by piece (pieces.h). */
#ifndef TIERFS_HOLDER_TRANSFERS_H
#define TIERFS_HOLDER_TRANSFERS_H

#include "holder.h"

/* Is it one? */
bool transfer_is_long(const struct fuse_in_header *header);

/* Sends the first piece. 0 or -errno: nothing was sent. */
int transfer_begin(struct holder *holder, const struct fuse_in_header *header);

/*
 * Python's answer to a piece; NULL: it was none. Sends the next piece, or answers the kernel and returns true: the
 * request is done.
 */
bool transfer_go_on(struct holder *holder, struct pieces *pieces, const struct fuse_out_header *answer);

#endif
