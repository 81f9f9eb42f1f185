#include "hot_entry.h"

#include "known.h"
#include "whole_io.h"

int hot_write(struct hot_table *table, int fd)
{
    int result = 0;
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < BUCKETS && result == 0; i++)
        for (struct entry *entry = table->buckets[i]; entry != NULL && result == 0; entry = entry->next) {
            struct known_record record = {.kind = KNOWN_LENT, .id = entry->ino, .value = HOLDER_FH | entry->ino};
            if (entry->written)
                entry->attr_known = false; /* size and times are found anew in the backing file */
            if (entry->fd >= 0)
                result = write_whole(fd, &record, sizeof record);
        }
    pthread_mutex_unlock(&table->lock);
    return result;
}
