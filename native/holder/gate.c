#include "gate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    struct kept *next;
    void *packet;
};

struct gate {
    pthread_mutex_t lock;
    size_t limit, inside, waiting;
    struct kept *first, **last;
};

struct gate *gate_new(size_t limit)
{
    struct gate *gate = calloc(1, sizeof *gate);
    if (gate == NULL)
        return NULL;
    pthread_mutex_init(&gate->lock, NULL);
    gate->limit = limit;
    gate->last = &gate->first;
    return gate;
}

/* False: no memory. Called with the lock held. */
static bool keep(struct gate *gate, const void *packet, size_t size_bytes)
{
    struct kept *kept = malloc(sizeof *kept);
    void *copy = malloc(size_bytes);
    if (kept == NULL || copy == NULL) {
        free(kept);
        free(copy);
        return false;
    }
    memcpy(copy, packet, size_bytes);
    *kept = (struct kept){.packet = copy};
    *gate->last = kept;
    gate->last = &kept->next;
    gate->waiting++;
    return true;
}

bool gate_enter(struct gate *gate, const void *packet, size_t size_bytes)
{
    pthread_mutex_lock(&gate->lock);
    bool full = gate->limit != 0 && gate->inside >= gate->limit;
    bool enters = !full || !keep(gate, packet, size_bytes);
    gate->inside += enters;
    pthread_mutex_unlock(&gate->lock);
    return enters;
}

void *gate_next(struct gate *gate)
{
    void *packet = NULL;
    pthread_mutex_lock(&gate->lock);
    struct kept *kept = gate->first;
    if (kept == NULL) {
        gate->inside -= gate->inside > 0;
    } else {
        packet = kept->packet;
        gate->first = kept->next;
        if (gate->first == NULL)
            gate->last = &gate->first;
        gate->waiting--;
        free(kept);
    }
    pthread_mutex_unlock(&gate->lock);
    return packet;
}

void gate_clear(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    for (struct kept *kept = gate->first, *next; kept != NULL; kept = next) {
        next = kept->next;
        free(kept->packet);
        free(kept);
    }
    gate->first = NULL;
    gate->last = &gate->first;
    gate->inside = gate->waiting = 0;
    pthread_mutex_unlock(&gate->lock);
}

size_t gate_waiting(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    size_t waiting = gate->waiting;
    pthread_mutex_unlock(&gate->lock);
    return waiting;
}
