#include "pieces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pieces {
    struct fuse_in_header header;
    struct fuse_read_in in;
    uint32_t done_bytes;
    int error;
    struct fuse_write_out written;
    char data[]; /* what was read, or is to be written */
};

struct pieces *pieces_new(const struct fuse_in_header *request)
{
    const struct fuse_read_in *in = wire_argument(request, sizeof *in);
    struct pieces *pieces = malloc(sizeof *pieces + in->size);
    if (pieces == NULL)
        return NULL;
    *pieces = (struct pieces){.header = *request, .in = *in};
    if (request->opcode == FUSE_WRITE)
        memcpy(pieces->data, in + 1, in->size);
    return pieces;
}

void pieces_free(struct pieces *pieces)
{
    free(pieces);
}

uint64_t pieces_unique(const struct pieces *pieces)
{
    return pieces->header.unique;
}

uint32_t pieces_opcode(const struct pieces *pieces)
{
    return pieces->header.opcode;
}

static uint32_t piece_bytes(const struct pieces *pieces)
{
    uint32_t left_bytes = pieces->in.size - pieces->done_bytes;
    return left_bytes < PAYLOAD_MAX_BYTES ? left_bytes : PAYLOAD_MAX_BYTES;
}

size_t pieces_next(const struct pieces *pieces, uint64_t unique, void *packet)
{
    struct fuse_in_header header = pieces->header;
    struct fuse_read_in in = pieces->in;
    in.offset += pieces->done_bytes;
    in.size = piece_bytes(pieces);
    size_t data_bytes = header.opcode == FUSE_WRITE ? in.size : 0;
    header.unique = unique;
    header.len = (uint32_t)(sizeof header + sizeof in + data_bytes);
    header.total_extlen = 0;
    memcpy(packet, &header, sizeof header);
    memcpy((char *)packet + sizeof header, &in, sizeof in);
    memcpy((char *)packet + sizeof header + sizeof in, pieces->data + pieces->done_bytes, data_bytes);
    return header.len;
}

bool pieces_take(struct pieces *pieces, const struct fuse_out_header *answer)
{
    uint32_t asked_bytes = piece_bytes(pieces), got_bytes = (uint32_t)(answer->len - sizeof *answer);
    if (answer->error != 0) {
        pieces->error = answer->error;
        return false;
    }
    if (pieces->header.opcode == FUSE_WRITE) {
        const struct fuse_write_out *out = (const void *)(answer + 1);
        got_bytes = got_bytes >= sizeof *out ? out->size : UINT32_MAX;
    }
    if (got_bytes > asked_bytes) {
        pieces->error = -EIO;
        return false;
    }
    if (pieces->header.opcode == FUSE_READ)
        memcpy(pieces->data + pieces->done_bytes, answer + 1, got_bytes);
    pieces->done_bytes += got_bytes;
    return got_bytes == asked_bytes && pieces->done_bytes < pieces->in.size;
}

int pieces_answer(struct pieces *pieces, void **payload, size_t *payload_bytes)
{
    *payload = NULL;
    *payload_bytes = 0;
    /* to the kernel a short READ is the end of the file: it would show zeros behind it */
    if (pieces->error != 0 && (pieces->done_bytes == 0 || pieces->header.opcode == FUSE_READ))
        return pieces->error;
    if (pieces->header.opcode == FUSE_WRITE) {
        pieces->written.size = pieces->done_bytes;
        *payload = &pieces->written;
        *payload_bytes = sizeof pieces->written;
    } else {
        *payload = pieces->data;
        *payload_bytes = pieces->done_bytes;
    }
    return 0;
}
