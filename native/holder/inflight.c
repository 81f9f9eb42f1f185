#include "inflight.h"

#include <pthread.h>
#include <stdlib.h>

enum { BUCKETS = 4096 };

struct node {
    struct node *next;
    struct waiting request;
};

struct inflight {
    pthread_mutex_t lock;
    size_t count;
    size_t scan; /* where take_any goes on */
    struct node *spare;
    struct node *buckets[BUCKETS];
};

struct inflight *inflight_new(void)
{
    struct inflight *table = calloc(1, sizeof *table);
    if (table != NULL)
        pthread_mutex_init(&table->lock, NULL);
    return table;
}

/* The kernel's ids are even and consecutive. */
static struct node **bucket_of(struct inflight *table, uint64_t unique)
{
    return &table->buckets[((unique & ~FUSE_UNIQUE_RESEND) >> 1) % BUCKETS];
}

static struct node **find(struct inflight *table, uint64_t unique)
{
    struct node **at = bucket_of(table, unique);
    while (*at != NULL && (((*at)->request.unique ^ unique) & ~FUSE_UNIQUE_RESEND) != 0)
        at = &(*at)->next;
    return at;
}

bool inflight_add(struct inflight *table, const struct waiting *request)
{
    pthread_mutex_lock(&table->lock);
    struct node *node = table->spare;
    if (node != NULL)
        table->spare = node->next;
    else
        node = malloc(sizeof *node);
    if (node != NULL) {
        struct node **bucket = bucket_of(table, request->unique);
        node->request = *request;
        node->next = *bucket;
        *bucket = node;
        table->count++;
    }
    pthread_mutex_unlock(&table->lock);
    return node != NULL;
}

static void unlink_node(struct inflight *table, struct node **at, struct waiting *request)
{
    struct node *node = *at;
    *request = node->request;
    *at = node->next;
    node->next = table->spare;
    table->spare = node;
    table->count--;
}

bool inflight_take(struct inflight *table, uint64_t unique, struct waiting *request)
{
    pthread_mutex_lock(&table->lock);
    struct node **at = find(table, unique);
    bool found = *at != NULL;
    if (found)
        unlink_node(table, at, request);
    pthread_mutex_unlock(&table->lock);
    return found;
}

bool inflight_look(struct inflight *table, uint64_t unique, struct waiting *request)
{
    pthread_mutex_lock(&table->lock);
    struct node *node = *find(table, unique);
    if (node != NULL)
        *request = node->request;
    pthread_mutex_unlock(&table->lock);
    return node != NULL;
}

bool inflight_renew(struct inflight *table, uint64_t unique)
{
    pthread_mutex_lock(&table->lock);
    struct node *node = *find(table, unique);
    if (node != NULL)
        node->request.unique |= unique & FUSE_UNIQUE_RESEND;
    pthread_mutex_unlock(&table->lock);
    return node != NULL;
}

bool inflight_abandon(struct inflight *table, uint64_t unique)
{
    pthread_mutex_lock(&table->lock);
    struct node *node = *find(table, unique);
    bool ours = node != NULL && !node->request.abandoned && !node->request.internal;
    if (ours)
        node->request.abandoned = true;
    pthread_mutex_unlock(&table->lock);
    return ours;
}

bool inflight_take_any(struct inflight *table, struct waiting *request)
{
    bool found = false;
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < BUCKETS && !found; i++) {
        struct node **bucket = &table->buckets[(table->scan + i) % BUCKETS];
        if (*bucket != NULL) {
            unlink_node(table, bucket, request);
            table->scan = (table->scan + i) % BUCKETS;
            found = true;
        }
    }
    pthread_mutex_unlock(&table->lock);
    return found;
}

size_t inflight_count(struct inflight *table)
{
    pthread_mutex_lock(&table->lock);
    size_t count = table->count;
    pthread_mutex_unlock(&table->lock);
    return count;
}
