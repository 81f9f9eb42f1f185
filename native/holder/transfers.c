#include "transfers.h"

#include <errno.h>

#include "pieces.h"
#include "relay.h"

bool transfer_is_long(const struct fuse_in_header *header)
{
    const struct fuse_read_in *in = wire_argument(header, sizeof *in); /* of WRITE, too */
    return (header->opcode == FUSE_READ || header->opcode == FUSE_WRITE) && in != NULL && in->size > PAYLOAD_MAX_BYTES;
}

static int send_piece(struct holder *holder, struct pieces *pieces)
{
    char packet[PACKET_MAX_BYTES];
    struct waiting request = {.unique = relay_internal_unique(holder), .internal = true, .pieces = pieces};
    size_t size_bytes = pieces_next(pieces, request.unique, packet);
    if (!inflight_add(holder->inflight, &request))
        return -ENOMEM;
    int result = packets_send(holder->packets, packet, size_bytes);
    /* whoever takes it out owns the pieces: also relay_python_gone() may have been here */
    if (result != 0 && !inflight_take(holder->inflight, request.unique, &request))
        result = 0;
    return result;
}

int transfer_begin(struct holder *holder, const struct fuse_in_header *header)
{
    struct pieces *pieces = pieces_new(header);
    int result = pieces != NULL ? send_piece(holder, pieces) : -ENOMEM;
    if (result != 0)
        pieces_free(pieces);
    return result;
}

bool transfer_go_on(struct holder *holder, struct pieces *pieces, const struct fuse_out_header *answer)
{
    struct waiting request;
    uint64_t unique = pieces_unique(pieces);
    bool more = answer != NULL && pieces_take(pieces, answer);
    bool waits = inflight_look(holder->inflight, unique, &request) && !request.abandoned;
    int error = answer == NULL ? -EIO : 0;
    if (more && waits) {
        error = send_piece(holder, pieces);
        if (error == 0)
            return false;
    }
    void *payload = NULL;
    size_t payload_bytes = 0;
    if (error == 0)
        error = pieces_answer(pieces, &payload, &payload_bytes);
    if (inflight_take(holder->inflight, unique, &request)) {
        if (request.abandoned)
            atomic_fetch_add(&holder->counters.swallowed, 1);
        else
            relay_reply(holder, request.unique, error, payload, payload_bytes);
    }
    pieces_free(pieces);
    return true;
}
