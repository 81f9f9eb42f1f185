#include "tokens.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fuse_wire.h"
#include "known.h"
#include "whole_io.h"

struct kept {
    uint64_t unique; /* without FUSE_UNIQUE_RESEND */
    uint32_t number; /* 0: of a request without a token */
    bool came;       /* again, in the life of this daemon */
};

/* A list: it has the requests of one moment, and is looked through once for each of them. */
struct tokens {
    atomic_uint last;
    pthread_mutex_t lock;
    struct kept *kept;
    size_t count, capacity;
};

struct tokens *tokens_new(void)
{
    struct tokens *tokens = calloc(1, sizeof *tokens);
    if (tokens != NULL)
        pthread_mutex_init(&tokens->lock, NULL);
    return tokens;
}

bool tokens_wants(uint32_t opcode, uint32_t open_flags)
{
    switch (opcode) {
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_LINK:
    case FUSE_CREATE:
    case FUSE_SETXATTR: /* XATTR_CREATE */
    case FUSE_REMOVEXATTR:
        return true;
    case FUSE_OPEN:
        return (open_flags & O_TRUNC) != 0;
    default:
        return false;
    }
}

/* With the lock held: its place, or NULL. */
static struct kept *find(struct tokens *tokens, uint64_t unique)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (tokens->kept[i].unique == (unique & ~FUSE_UNIQUE_RESEND))
            return &tokens->kept[i];
    return NULL;
}

/* With the lock held: its place, made if there is none; NULL: no memory. */
static struct kept *place_of(struct tokens *tokens, uint64_t unique)
{
    struct kept *kept = find(tokens, unique);
    if (kept != NULL)
        return kept;
    if (tokens->count == tokens->capacity) {
        size_t capacity = tokens->capacity ? tokens->capacity * 2 : 64;
        struct kept *grown = realloc(tokens->kept, capacity * sizeof *grown);
        if (grown == NULL)
            return NULL;
        tokens->kept = grown;
        tokens->capacity = capacity;
    }
    kept = &tokens->kept[tokens->count++];
    *kept = (struct kept){.unique = unique & ~FUSE_UNIQUE_RESEND};
    return kept;
}

static uint32_t next_number(struct tokens *tokens)
{
    return atomic_fetch_add(&tokens->last, 1) % TOKEN_NUMBER_MAX + 1;
}

uint32_t tokens_give(struct tokens *tokens, uint64_t unique)
{
    uint32_t number = 0;
    if (unique & FUSE_UNIQUE_RESEND) {
        pthread_mutex_lock(&tokens->lock);
        const struct kept *kept = find(tokens, unique);
        number = kept != NULL ? kept->number : 0;
        pthread_mutex_unlock(&tokens->lock);
    }
    return TOKEN_MARK | (number != 0 ? TOKEN_AGAIN | number : next_number(tokens));
}

void tokens_note_again(struct tokens *tokens, uint64_t unique)
{
    pthread_mutex_lock(&tokens->lock);
    struct kept *kept = place_of(tokens, unique);
    if (kept != NULL)
        kept->came = true;
    pthread_mutex_unlock(&tokens->lock);
}

bool tokens_came_again(struct tokens *tokens, uint64_t unique)
{
    pthread_mutex_lock(&tokens->lock);
    const struct kept *kept = find(tokens, unique);
    bool came = kept != NULL && kept->came;
    pthread_mutex_unlock(&tokens->lock);
    return came;
}

void tokens_forget(struct tokens *tokens)
{
    size_t left = 0;
    pthread_mutex_lock(&tokens->lock);
    for (size_t i = 0; i < tokens->count; i++)
        if (!tokens->kept[i].came) /* the others may still stand in the kernel's queue */
            tokens->kept[left++] = tokens->kept[i];
    tokens->count = left;
    pthread_mutex_unlock(&tokens->lock);
}

bool tokens_keep(struct tokens *tokens, uint64_t unique, uint32_t token)
{
    pthread_mutex_lock(&tokens->lock);
    struct kept *kept = place_of(tokens, unique);
    if (kept != NULL)
        kept->number = token & TOKEN_NUMBER_MAX;
    pthread_mutex_unlock(&tokens->lock);
    return kept != NULL;
}

int tokens_write(struct tokens *tokens, int fd)
{
    int result = 0;
    pthread_mutex_lock(&tokens->lock);
    for (size_t i = 0; i < tokens->count && result == 0; i++) {
        struct known_record record = {.kind = KNOWN_TOKEN, .id = tokens->kept[i].number};
        result = write_whole(fd, &record, sizeof record);
    }
    pthread_mutex_unlock(&tokens->lock);
    return result;
}
