/*
 * Driver of the holder's parts that need no kernel, run under ASan and UBSan by check.sh: packets whose lengths are
 * wrong in every way, and tables against plain models of them. Every packet is a malloc of its exact size, so that
 * ASan sees one byte read too much.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "holder/fuse_wire.h"
#include "holder/gate.h"
#include "holder/inflight.h"
#include "holder/pieces.h"
#include "holder/served.h"
#include "holder/tokens.h"

/* ---- packets ---- */

static const uint32_t OPCODES[] = {
    FUSE_LOOKUP, FUSE_FORGET, FUSE_GETATTR, FUSE_SETATTR, FUSE_MKDIR, FUSE_OPEN, FUSE_READ, FUSE_WRITE, FUSE_RELEASE,
    FUSE_GETXATTR, FUSE_INIT, FUSE_OPENDIR, FUSE_READDIR, FUSE_CREATE, FUSE_INTERRUPT, FUSE_BATCH_FORGET,
    FUSE_FALLOCATE, FUSE_READDIRPLUS, FUSE_LSEEK, FUSE_COPY_FILE_RANGE, FUSE_TMPFILE, FUSE_COPY_FILE_RANGE_64, 0, 999,
};

static uint32_t some_opcode(void)
{
    return OPCODES[random_below(sizeof OPCODES / sizeof *OPCODES)];
}

/* Often right, else near, else anything. */
static uint32_t some_length(size_t right)
{
    switch (random_below(4)) {
    case 0:
        return (uint32_t)random_uint64();
    case 1:
        return (uint32_t)(right + random_below(33) - 16);
    default:
        return (uint32_t)right;
    }
}

static void check_request(void)
{
    size_t size_bytes = random_below(160);
    uint8_t *packet = random_bytes(size_bytes);
    struct fuse_in_header *header = (void *)packet;
    if (size_bytes >= sizeof *header) {
        header->len = some_length(size_bytes);
        header->opcode = some_opcode();
        header->total_extlen = random_below(3) ? 0 : (uint16_t)random_below(20);
    }
    if (wire_request(packet, size_bytes) != NULL) {
        REQUIRE(header->len == size_bytes && size_bytes >= sizeof *header, "a request of another length is taken");
        for (size_t need = 0; need < 200; need += 1 + random_below(9)) {
            const uint8_t *argument = wire_argument(header, need);
            REQUIRE((argument != NULL) == (sizeof *header + need <= size_bytes), "%zu of %zu", need, size_bytes);
        }
        size_t call_bytes = wire_call_bytes(header->opcode);
        REQUIRE(call_bytes <= 56, "%zu", call_bytes);
        struct wire_session session = {0};
        bool taken = wire_patch_init_request(packet, size_bytes, &session);
        REQUIRE(!taken || header->opcode == FUSE_INIT, "another request is taken for INIT");
        REQUIRE(header->len == size_bytes, "the length of INIT changed");
    }
    free(packet);
}

static void count_lookup(void *context, uint64_t nodeid)
{
    (void)nodeid;
    ++*(size_t *)context;
}

static void fill_direntplus(uint8_t *payload, size_t size_bytes)
{
    size_t at = 0;
    while (at + sizeof(struct fuse_entry_out) + sizeof(struct fuse_dirent) <= size_bytes) {
        struct fuse_dirent dirent = {.namelen = random_below(4) ? (uint32_t)random_below(40) : some_length(8)};
        memcpy(payload + at + sizeof(struct fuse_entry_out), &dirent, sizeof dirent);
        at += sizeof(struct fuse_entry_out) + sizeof dirent + ((dirent.namelen + 7) & ~(size_t)7);
    }
}

static void check_reply(void)
{
    size_t size_bytes = random_below(3) ? random_below(400) : random_below(4000);
    uint8_t *packet = random_bytes(size_bytes);
    struct fuse_out_header *header = (void *)packet;
    uint32_t opcode = some_opcode();
    if (size_bytes >= sizeof *header) {
        header->len = some_length(size_bytes);
        header->error = random_below(3) ? 0 : (int32_t)random_below(1200) - 1000;
        if (opcode == FUSE_READDIRPLUS)
            fill_direntplus(packet + sizeof *header, size_bytes - sizeof *header);
    }
    const struct fuse_out_header *reply = wire_reply(packet, size_bytes);
    if (reply != NULL && reply->unique != 0) {
        REQUIRE(reply->len == size_bytes && reply->error <= 0 && reply->error > -ERRNO_END, "the kernel refuses it");
        REQUIRE(reply->error == 0 || size_bytes == sizeof *header, "an error with a payload");
    }
    size_t lookups = 0;
    uint64_t valid_ns;
    wire_each_lookup(opcode, packet, size_bytes, count_lookup, &lookups);
    REQUIRE(lookups <= size_bytes / sizeof(struct fuse_entry_out), "%zu lookups of %zu bytes", lookups, size_bytes);
    struct fuse_open_out *open = wire_open_out(opcode, packet, size_bytes);
    REQUIRE(open == NULL || (uint8_t *)(open + 1) <= packet + size_bytes, "an open beyond the end");
    struct fuse_attr *attr = wire_attributes(opcode, packet, size_bytes, &valid_ns);
    REQUIRE(attr == NULL || (uint8_t *)(attr + 1) <= packet + size_bytes, "attributes beyond the end");
    free(packet);
}

static void check_init_reply(void)
{
    const struct wire_limits limits = {1u << 20, TRANSFER_MAX_BYTES, 512, random_below(2)};
    struct wire_session session = {.kernel_minor = (uint32_t)random_below(60), .kernel_flags = random_uint64()};
    size_t size_bytes = random_below(sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out) + 40);
    size_t room_bytes = sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out);
    uint8_t *packet = random_bytes(size_bytes > room_bytes ? size_bytes : room_bytes);
    struct fuse_out_header *header = (void *)packet;
    if (size_bytes >= sizeof *header) {
        *header = (struct fuse_out_header){.len = some_length(size_bytes), .unique = 2};
        if (size_bytes >= sizeof *header + 4 && random_below(4))
            memcpy(header + 1, &(uint32_t){7}, 4);
    }
    size_t patched_bytes = wire_patch_init_reply(packet, size_bytes, &limits, &session);
    REQUIRE(patched_bytes <= (size_bytes > room_bytes ? size_bytes : room_bytes), "%zu", patched_bytes);
    if (patched_bytes == room_bytes && ((struct fuse_init_out *)(header + 1))->major == 7) {
        struct fuse_init_out out;
        memcpy(&out, header + 1, sizeof out);
        uint64_t flags = out.flags | (uint64_t)out.flags2 << 32;
        REQUIRE(session.passthrough == ((flags & FUSE_PASSTHROUGH) != 0), "the session does not know its mode");
        REQUIRE(!session.passthrough || (limits.passthrough && (session.kernel_flags & FUSE_PASSTHROUGH)),
                "passthrough that nobody offered");
        REQUIRE(!(flags & (FUSE_SPLICE_READ | FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE)), "splice over a socket");
        REQUIRE(!(session.passthrough && (flags & FUSE_WRITEBACK_CACHE)), "the kernel takes only one of the two");
        REQUIRE(out.max_write == TRANSFER_MAX_BYTES && out.max_pages * 4096u == out.max_write, "%u", out.max_write);
    }
    free(packet);
}

/* ---- long requests ---- */

static struct fuse_in_header *long_request(uint32_t opcode, uint32_t size_bytes, uint8_t **data)
{
    struct fuse_read_in in = {.fh = 7, .offset = random_uint64() >> 20, .size = size_bytes};
    uint32_t data_bytes = opcode == FUSE_WRITE ? size_bytes : 0;
    struct fuse_in_header header = {.len = (uint32_t)(sizeof header + sizeof in) + data_bytes, .opcode = opcode};
    uint8_t *packet = malloc(header.len);
    REQUIRE(packet != NULL, "out of memory");
    *data = random_bytes(size_bytes);
    memcpy(packet, &header, sizeof header);
    memcpy(packet + sizeof header, &in, sizeof in);
    memcpy(packet + sizeof header + sizeof in, *data, data_bytes);
    return (void *)packet;
}

/* Python serves the pieces from `data` until `served_bytes`; the answer to the kernel is as if it had got one request. */
static void check_pieces(void)
{
    uint32_t size_bytes = PAYLOAD_MAX_BYTES + 1 + (uint32_t)random_below(TRANSFER_MAX_BYTES - PAYLOAD_MAX_BYTES);
    uint32_t served_bytes = random_below(2) ? size_bytes : (uint32_t)random_below(size_bytes), done_bytes = 0;
    uint32_t opcode = random_below(2) ? FUSE_READ : FUSE_WRITE;
    uint8_t *data, *packet = malloc(PACKET_MAX_BYTES);
    struct fuse_in_header *request = long_request(opcode, size_bytes, &data);
    struct pieces *pieces = pieces_new(request);
    REQUIRE(pieces != NULL && packet != NULL, "out of memory");
    free(request);
    bool more = true, fails = random_below(8) == 0;
    while (more) {
        size_t packet_bytes = pieces_next(pieces, 42, packet);
        REQUIRE(packet_bytes <= PACKET_MAX_BYTES && wire_request(packet, packet_bytes) != NULL, "%zu", packet_bytes);
        struct fuse_read_in in;
        memcpy(&in, packet + sizeof(struct fuse_in_header), sizeof in);
        uint32_t left_bytes = served_bytes - done_bytes, got_bytes = in.size < left_bytes ? in.size : left_bytes;
        if (opcode == FUSE_WRITE)
            REQUIRE(memcmp(packet + packet_bytes - in.size, data + done_bytes, in.size) == 0, "at %u", done_bytes);
        uint32_t payload_bytes = opcode == FUSE_WRITE ? sizeof(struct fuse_write_out) : got_bytes;
        struct fuse_out_header *answer = malloc(sizeof *answer + payload_bytes);
        REQUIRE(answer != NULL, "out of memory");
        *answer = (struct fuse_out_header){.len = (uint32_t)sizeof *answer + payload_bytes, .unique = 42};
        if (opcode == FUSE_WRITE)
            memcpy(answer + 1, &(struct fuse_write_out){.size = got_bytes}, payload_bytes);
        else
            memcpy(answer + 1, data + done_bytes, payload_bytes);
        if (fails && random_below(4) == 0)
            *answer = (struct fuse_out_header){.len = sizeof *answer, .error = -ENOSPC, .unique = 42};
        else
            done_bytes += got_bytes;
        bool failed = answer->error != 0;
        more = pieces_take(pieces, answer);
        REQUIRE(more == (!failed && got_bytes == in.size && done_bytes < size_bytes), "at %u", done_bytes);
        free(answer);
        if (failed && done_bytes == 0) {
            void *payload;
            size_t none_bytes;
            REQUIRE(pieces_answer(pieces, &payload, &none_bytes) == -ENOSPC, "the first error is lost");
        }
        more = more || failed;
        if (failed)
            break;
    }
    void *payload = NULL;
    size_t payload_bytes = 0;
    int result = pieces_answer(pieces, &payload, &payload_bytes);
    REQUIRE(!more || opcode == FUSE_WRITE || result == -ENOSPC, "a failed read looks like the end of the file");
    if (result == 0 && opcode == FUSE_READ)
        REQUIRE(payload_bytes == done_bytes && memcmp(payload, data, done_bytes) == 0, "%zu", payload_bytes);
    pieces_free(pieces);
    free(packet);
    free(data);
}

/* ---- served files ---- */

enum { BLOCKS = 64, BLOCK_BYTES = 16 };

static void count_gone(void *context, uint32_t tag)
{
    (void)tag;
    ++*(int *)context;
}

/* What is present, against a map of blocks; the file holds random bytes. */
static void check_served(void)
{
    char path[] = "/tmp/check-served-XXXXXX";
    bool present[BLOCKS] = {false}, whole = false;
    int gone = 0, fd = mkstemp(path);
    uint8_t *data = random_bytes(BLOCKS * BLOCK_BYTES);
    REQUIRE(fd >= 0 && pwrite(fd, data, BLOCKS * BLOCK_BYTES, 0) == BLOCKS * BLOCK_BYTES, "no file to work on");
    unlink(path);
    struct served_table *table = served_new(count_gone, &gone);
    REQUIRE(table != NULL, "out of memory");
    REQUIRE(served_put(table, 5, dup(fd), 0, 0, NULL, 0) == 0, "it is not served");
    for (int step = 0; step < 300; step++) {
        size_t start = random_below(BLOCKS), stop = start + 1 + random_below(BLOCKS - start);
        if (random_below(3) == 0) {
            served_add(table, 5, start * BLOCK_BYTES, stop * BLOCK_BYTES);
            memset(present + start, true, stop - start);
        } else if (random_below(200) == 0) {
            served_add(table, 5, 0, UINT64_MAX);
            whole = true;
        }
        bool here = true, tell;
        for (size_t i = start; i < stop; i++)
            here = here && (whole || present[i]);
        size_t got_bytes, size_bytes = (stop - start) * BLOCK_BYTES;
        uint8_t *buffer = random_bytes(size_bytes);
        enum served_outcome outcome =
            served_read(table, 5, buffer, size_bytes, start * BLOCK_BYTES, &got_bytes, &tell);
        REQUIRE(outcome == (here ? SERVED_DONE : SERVED_ABSENT), "[%zu, %zu): %d", start, stop, outcome);
        if (here)
            REQUIRE(got_bytes == size_bytes && memcmp(buffer, data + start * BLOCK_BYTES, size_bytes) == 0,
                    "other bytes at %zu", start);
        free(buffer);
    }
    REQUIRE(served_withdraw(table, 5, 1) && served_count(table).files == 0 && gone == 0, "it is still there");
    free(table);
    close(fd);
    free(data);
}

/* ---- who waits ---- */

static void check_gate(void)
{
    size_t limit = 1 + random_below(4), inside = 0;
    uint32_t queue[64], first = 0, last = 0, next = 1;
    struct gate *gate = gate_new(limit);
    REQUIRE(gate != NULL, "out of memory");
    for (int step = 0; step < 400; step++) {
        if (random_below(2) && last - first < 64) {
            bool enters = gate_enter(gate, &next, sizeof next);
            REQUIRE(enters == (inside < limit), "%zu inside of %zu", inside, limit);
            inside += enters;
            if (!enters)
                queue[last++ % 64] = next;
            next++;
        } else if (inside > 0) {
            uint32_t *packet = gate_next(gate);
            REQUIRE((packet != NULL) == (first < last), "%u wait", last - first);
            if (packet != NULL)
                REQUIRE(*packet == queue[first++ % 64], "out of order");
            else
                inside--;
            free(packet);
        }
        REQUIRE(gate_waiting(gate) == last - first, "%zu", gate_waiting(gate));
    }
    for (void *packet; (packet = gate_next(gate)) != NULL;)
        free(packet);
    free(gate);
}

static void check_inflight(void)
{
    bool known[128] = {false}, abandoned[128] = {false};
    size_t count = 0;
    struct waiting request;
    struct inflight *table = inflight_new();
    REQUIRE(table != NULL, "out of memory");
    for (int step = 0; step < 1000; step++) {
        size_t id = random_below(128);
        uint64_t unique = id << 13; /* all in few buckets */
        switch (random_below(4)) {
        case 0:
            if (!known[id])
                REQUIRE(inflight_add(table, &(struct waiting){.unique = unique}), "out of memory");
            count += !known[id];
            abandoned[id] = abandoned[id] && known[id];
            known[id] = true;
            break;
        case 1:
            REQUIRE(inflight_take(table, unique, &request) == known[id], "%zu", id);
            REQUIRE(!known[id] || request.abandoned == abandoned[id], "%zu", id);
            count -= known[id];
            known[id] = abandoned[id] = false;
            break;
        case 2:
            REQUIRE(inflight_abandon(table, unique) == (known[id] && !abandoned[id]), "%zu", id);
            abandoned[id] = known[id];
            break;
        default:
            REQUIRE(inflight_look(table, unique, &request) == known[id], "%zu", id);
        }
        REQUIRE(inflight_count(table) == count, "%zu", count);
    }
    while (inflight_take_any(table, &request))
        count--;
    REQUIRE(count == 0, "%zu are lost", count);
}

/* ---- what is asked again ---- */

enum { REQUESTS = 64 };

/* Some requests of one life, of which some are answered before the daemon dies; over some lives. */
static void check_tokens(void)
{
    uint32_t given[REQUESTS] = {0}, last = 0;
    bool asked[REQUESTS] = {false};
    struct tokens *tokens = tokens_new();
    REQUIRE(tokens != NULL, "out of memory");
    for (int life = 0; life < 5; life++) {
        bool came[REQUESTS] = {false};
        for (int step = 0; step < 100; step++) {
            uint64_t id = random_below(REQUESTS), unique = id << 1 | (asked[id] ? FUSE_UNIQUE_RESEND : 0);
            REQUIRE(tokens_came_again(tokens, id << 1) == came[id], "life %d: %" PRIu64, life, id);
            if (came[id])
                continue;
            if (asked[id])
                tokens_note_again(tokens, unique);
            came[id] = asked[id];
            uint32_t token = tokens_give(tokens, unique);
            REQUIRE(token & TOKEN_MARK, "it looks like a pid: %x", token);
            if (given[id] != 0 && asked[id])
                REQUIRE(token == (given[id] | TOKEN_AGAIN), "%x became %x", given[id], token);
            else
                REQUIRE(token == (TOKEN_MARK | ++last), "%x is not the next one", token);
            given[id] = token;
        }
        tokens_forget(tokens);
        for (uint64_t id = 0; id < REQUESTS; id++) {
            bool left = asked[id] && !came[id], waits = given[id] != 0 && random_below(2);
            if (waits && !left)
                REQUIRE(tokens_keep(tokens, id << 1, given[id]), "out of memory");
            asked[id] = left || waits;
            if (!asked[id])
                given[id] = 0;
        }
    }
    REQUIRE(tokens_wants(FUSE_OPEN, O_TRUNC) && !tokens_wants(FUSE_OPEN, O_RDWR), "what a truncation is");
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 0) : 20;
    printf("holder: seed %" PRIu64 ", %lu rounds\n", random_state, rounds);
    for (unsigned long round = 0; round < rounds; round++) {
        for (int packet = 0; packet < 2000; packet++) {
            check_request();
            check_reply();
            check_init_reply();
        }
        check_pieces();
        check_served();
        check_gate();
        check_inflight();
        check_tokens();
    }
    return 0;
}
