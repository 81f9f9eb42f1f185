/*
 * Request tokens: a change that a daemon committed and did not answer is answered by the next one, not repeated.
 *
 * A request that must not be carried out twice gets a number in the place of its pid, where pyfuse3 hands it through;
 * the daemon commits it with the change. When the daemon dies, the numbers of what it has not answered are written
 * down for the next one, and the kernel asks again, under the same id with FUSE_UNIQUE_RESEND: such a request gets the
 * number that it had. Numbers are this process's, and the next daemon takes none but those that it is told.
 */
#ifndef TIERFS_HOLDER_TOKENS_H
#define TIERFS_HOLDER_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

/* In the pid field. No pid is negative; the twin is in tierfs/fuse/convert.py. */
#define TOKEN_MARK (1u << 31)
#define TOKEN_AGAIN (1u << 30) /* a daemon that died may have committed it */
#define TOKEN_NUMBER_MAX (TOKEN_AGAIN - 1)

struct tokens;

struct tokens *tokens_new(void);

/*
 * Must it not be carried out twice? `open_flags`: of OPEN.
 *
 * What is not named here may be. SETATTR, WRITE, FALLOCATE and COPY_FILE_RANGE say what and where, an append too (the
 * kernel knows the end), and until they are answered the kernel holds the lock of the inode that they change, or keeps
 * the mapped page under writeback: nobody has seen the first time and changed the same since. A copy reads its source
 * again, as if it had been called later. OPEN with O_TRUNC holds no such lock. What the holder itself has carried out,
 * it has answered.
 */
bool tokens_wants(uint32_t opcode, uint32_t open_flags);

/* The pid field of a request that wants one. */
uint32_t tokens_give(struct tokens *tokens, uint64_t unique);

/* A request that the kernel asks again has come. Without memory for that it is not known, as if it had not come. */
void tokens_note_again(struct tokens *tokens, uint64_t unique);

/* Has it come again? Then the same request that was read before is none any more, even if it was answered since. */
bool tokens_came_again(struct tokens *tokens, uint64_t unique);

/* The daemon has died: what came again in its life is forgotten, and then each that it did not answer is kept. */
void tokens_forget(struct tokens *tokens);
/* `token`: what tokens_give() gave. False: no memory. */
bool tokens_keep(struct tokens *tokens, uint64_t unique, uint32_t token);

/* Appends what is kept to a file of struct known_record. 0 or -errno. */
int tokens_write(struct tokens *tokens, int fd);

#endif
