/*
 * Driver of holder/directories.c, run under ASan and UBSan by check.sh. A kernel asks, a Python keeps directories and
 * speaks on one link, and the holder between them may be behind both: whatever it answers by itself has to be true of
 * what Python had at the last answer that has arrived, or since.
 */
#include "check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "holder/directories.h"

enum { DIRECTORIES = 3, NAMES = 12, LINK_MAX = 40, ASKED_MAX = 6, STEPS = 3000 };

struct asked { /* a request that Python has not carried out; opcode 0: none */
    uint32_t opcode;
    size_t directory, target, name, new_name;
    uint64_t other;
};

struct names {
    bool there[DIRECTORIES][NAMES];
    uint64_t version[DIRECTORIES]; /* as the size in the attributes */
};

struct message { /* of Python: told, or an answer */
    struct fuse_out_header *told;
    struct asked answered;
    bool shows;        /* somebody may ask after it for what Python had then */
    struct names then;
};

static struct directories *table;
static struct names names, arrived;
static struct asked asked[ASKED_MAX];
static struct message sent[LINK_MAX];
static size_t sent_count;

static uint64_t ino_of(size_t directory)
{
    return 100 + directory;
}

static size_t name_text(size_t name, char *text)
{
    return (size_t)sprintf(text, "name-%zu", name);
}

static void say(struct message message)
{
    message.shows = message.told == NULL || ((struct told *)(void *)(message.told + 1))->kind == TOLD_NOTHING;
    message.then = names;
    sent[sent_count++] = message;
}

static void tell(enum told_kind kind, size_t directory, const void *payload, size_t payload_bytes)
{
    struct told told = {.kind = kind, .ino = ino_of(directory), .valid_ns = UINT64_C(1) << 50, .negative_ns = 7};
    struct fuse_out_header *packet = malloc(sizeof *packet + sizeof told + payload_bytes);
    REQUIRE(packet != NULL, "out of memory");
    packet->len = (uint32_t)(sizeof *packet + sizeof told + payload_bytes);
    memcpy(packet + 1, &told, sizeof told);
    if (payload_bytes > 0)
        memcpy((char *)(packet + 1) + sizeof told, payload, payload_bytes);
    say((struct message){.told = packet});
}

static void tell_attributes(size_t directory)
{
    struct fuse_attr attr = {.ino = ino_of(directory), .size = names.version[directory]};
    tell(TOLD_ATTRIBUTES, directory, &attr, sizeof attr);
}

static void tell_names(size_t directory)
{
    char packed[NAMES * 16];
    size_t packed_bytes = 0;
    for (size_t name = 0; name < NAMES; name++)
        if (names.there[directory][name]) {
            packed[packed_bytes] = (char)name_text(name, packed + packed_bytes + 1);
            packed_bytes += 1 + (size_t)packed[packed_bytes];
        }
    tell(TOLD_NAMES, directory, packed, packed_bytes);
}

/* ---- the kernel ---- */

static void ask(struct asked *request)
{
    static const uint32_t opcodes[] = {FUSE_CREATE, FUSE_MKNOD,  FUSE_MKDIR,   FUSE_SYMLINK, FUSE_LINK,
                                       FUSE_RENAME, FUSE_RENAME2, FUSE_UNLINK, FUSE_RMDIR,   FUSE_SETATTR};
    static const size_t fixed_bytes[] = {16, 16, 8, 0, 8, 8, 16, 0, 0, 8};
    size_t kind = random_below(sizeof opcodes / sizeof *opcodes), argument_bytes = fixed_bytes[kind];
    *request = (struct asked){.opcode = opcodes[kind],
                              .directory = random_below(DIRECTORIES),
                              .target = random_below(DIRECTORIES),
                              .name = random_below(NAMES),
                              .new_name = random_below(NAMES)};
    char argument[64] = {0};
    uint64_t new_directory = ino_of(request->target);
    argument_bytes += name_text(request->name, argument + argument_bytes) + 1;
    if (request->opcode == FUSE_RENAME || request->opcode == FUSE_RENAME2) {
        memcpy(argument, &new_directory, sizeof new_directory);
        argument_bytes += name_text(request->new_name, argument + argument_bytes) + 1;
    }
    struct fuse_in_header *header = malloc(sizeof *header + argument_bytes); /* ASan sees a byte too much */
    REQUIRE(header != NULL, "out of memory");
    *header = (struct fuse_in_header){.len = (uint32_t)(sizeof *header + argument_bytes),
                                      .opcode = request->opcode,
                                      .nodeid = ino_of(request->directory)};
    memcpy(header + 1, argument, argument_bytes);
    directories_asked(table, header, &request->other);
    free(header);
}

/* ---- Python ---- */

static void carry_out(struct asked *request)
{
    bool *there = &names.there[request->directory][request->name], tells = random_below(8) > 0;
    bool renames = request->opcode == FUSE_RENAME || request->opcode == FUSE_RENAME2;
    if (request->opcode == FUSE_SETATTR) {
        names.version[request->directory]++;
        tells = false;
    } else if (renames && *there) {
        *there = false;
        names.there[request->target][request->new_name] = true;
        names.version[request->directory]++;
        names.version[request->target]++;
    } else if (!renames) {
        *there = request->opcode != FUSE_UNLINK && request->opcode != FUSE_RMDIR;
        names.version[request->directory]++;
    }
    if (tells)
        tell_attributes(request->directory);
    if (tells && renames)
        tell_attributes(request->target);
    say((struct message){.answered = *request});
    request->opcode = 0;
}

static void speak(void)
{
    size_t directory = random_below(DIRECTORIES);
    switch (random_below(4)) {
    case 0: /* an import */
        names.there[directory][random_below(NAMES)] = true;
        names.version[directory]++;
        tell(TOLD_NOTHING, directory, NULL, 0);
        break;
    case 1:
        tell(TOLD_STILL, directory, NULL, 0);
        break;
    default:
        tell_names(directory);
    }
}

/* ---- the holder ---- */

static void arrive(void)
{
    struct message message = sent[0];
    memmove(sent, sent + 1, --sent_count * sizeof *sent);
    if (message.told != NULL)
        REQUIRE(directories_told(table, message.told), "a told packet is refused");
    else
        directories_answered(table, message.answered.opcode, ino_of(message.answered.directory),
                             message.answered.other);
    free(message.told);
    if (message.shows)
        arrived = message.then;
}

static size_t compare(void)
{
    size_t answers = 0;
    for (size_t directory = 0; directory < DIRECTORIES; directory++) {
        struct fuse_attr_out attributes;
        struct fuse_entry_out entry;
        char text[16];
        if (directories_attributes(table, ino_of(directory), &attributes)) {
            REQUIRE(attributes.attr.size >= arrived.version[directory], "old attributes of %zu", directory);
            answers++;
        }
        for (size_t name = 0; name < NAMES; name++) {
            (void)name_text(name, text);
            if (directories_lack(table, ino_of(directory), text, &entry)) {
                REQUIRE(!arrived.there[directory][name], "%s is in %zu", text, directory);
                REQUIRE(entry.nodeid == 0 && entry.entry_valid_nsec == 7, "another answer");
                answers++;
            }
        }
    }
    return answers;
}

static void check_conversation(void)
{
    size_t answers = 0;
    table = directories_new();
    REQUIRE(table != NULL, "out of memory");
    memset(&names, 0, sizeof names);
    arrived = names;
    for (int step = 0; step < STEPS; step++) {
        struct asked *request = &asked[random_below(ASKED_MAX)];
        size_t what = random_below(10);
        if (what == 0 && sent_count < LINK_MAX)
            speak();
        else if (what < 4 && request->opcode == 0)
            ask(request);
        else if (what < 7 && request->opcode != 0 && sent_count < LINK_MAX - 3)
            carry_out(request);
        else if (sent_count > 0)
            arrive();
        answers += compare();
    }
    REQUIRE(answers > STEPS, "hardly anything was answered: %zu", answers);
    while (sent_count > 0)
        free(sent[--sent_count].told);
    memset(asked, 0, sizeof asked);
    directories_clear(table);
    REQUIRE(compare() == 0 && directories_count(table).names == 0, "it remembers what was cleared");
    free(table);
}

/* Packets of every length, of which few are right. */
static void check_garbage(void)
{
    table = directories_new();
    REQUIRE(table != NULL, "out of memory");
    for (int round = 0; round < 3000; round++) {
        size_t size_bytes = sizeof(struct fuse_out_header) + random_below(180);
        uint8_t *packet = random_bytes(size_bytes);
        struct fuse_out_header *header = (void *)packet;
        struct told told = {.kind = (uint32_t)random_below(5), .ino = random_below(4), .valid_ns = random_uint64() >> 1};
        header->len = (uint32_t)size_bytes;
        if (size_bytes >= sizeof *header + sizeof told)
            memcpy(header + 1, &told, sizeof told);
        (void)directories_told(table, header);
        free(packet);
    }
    directories_clear(table);
    free(table);
}

/* More names than are kept: then nothing is known of the directory. */
static void check_many(void)
{
    struct fuse_entry_out entry;
    uint64_t other;
    table = directories_new();
    REQUIRE(table != NULL, "out of memory");
    tell(TOLD_NAMES, 0, NULL, 0);
    arrive();
    for (size_t count = 0; count <= 1 << 16; count++) {
        struct {
            struct fuse_in_header header;
            char name[32];
        } request = {.header = {.len = sizeof request, .opcode = FUSE_SYMLINK, .nodeid = ino_of(0)}};
        REQUIRE(directories_lack(table, ino_of(0), "other", &entry), "given up at %zu", count);
        (void)name_text(count, request.name);
        directories_asked(table, &request.header, &other);
        directories_answered(table, FUSE_SYMLINK, ino_of(0), other);
        REQUIRE(!directories_lack(table, ino_of(0), request.name, &entry), "%s is forgotten", request.name);
    }
    REQUIRE(!directories_lack(table, ino_of(0), "other", &entry), "all are kept");
    directories_clear(table);
    free(table);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 0) : 20;
    printf("directories: seed %" PRIu64 ", %lu rounds\n", random_state, rounds);
    for (unsigned long round = 0; round < rounds; round++) {
        check_conversation();
        check_garbage();
    }
    check_many();
    return 0;
}
