/*
 * A READ or WRITE that is longer than a packet to Python may be goes there in pieces, one after the other, and comes
 * back as one answer: shorter than was asked for when a piece was, an error when one was that nothing came before, and
 * for a READ always. No I/O, no lock: one of them belongs to whoever has its piece.
 */
#ifndef TIERFS_HOLDER_PIECES_H
#define TIERFS_HOLDER_PIECES_H

#include "fuse_wire.h"

struct pieces;

/* Of a whole request whose lengths were checked; NULL: no memory. */
struct pieces *pieces_new(const struct fuse_in_header *request);
void pieces_free(struct pieces *pieces);

/* Of the whole request. */
uint64_t pieces_unique(const struct pieces *pieces);
uint32_t pieces_opcode(const struct pieces *pieces);

/* The next piece into `packet` of PACKET_MAX_BYTES, as the request `unique`; its size. */
size_t pieces_next(const struct pieces *pieces, uint64_t unique, void *packet);

/* Takes the answer to the last piece, whose lengths agree. True: another one is to be sent. */
bool pieces_take(struct pieces *pieces, const struct fuse_out_header *answer);

/* The whole answer so far: 0 and its payload, or -errno. */
int pieces_answer(struct pieces *pieces, void **payload, size_t *payload_bytes);

#endif
