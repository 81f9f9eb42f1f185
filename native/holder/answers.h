/* What the holder answers itself: requests about registered hot files, and those that need nobody behind it. */
#ifndef TIERFS_HOLDER_ANSWERS_H
#define TIERFS_HOLDER_ANSWERS_H

#include "holder.h"

/* True if the request is answered. `payload` has room for TRANSFER_MAX_BYTES. */
bool answer_here(struct holder *holder, const struct fuse_in_header *header, char *payload);

#endif
