/* Checkpoint: the state of a training run in a file.
 *
 *     "RVTR", u32 version, u32 identity of the run, u32 steps done,
 *     u64 values n, u32 parts of the loss curve, f32 seconds, then f32 values [n],
 *     mean [n], square [n], per part f64 sum and u64 positions, u32 CRC-32 of it all
 *
 * Little-endian. Written beside the file and renamed, so a stop at any moment leaves the
 * old one or the new one.
 */
#ifndef RUVM_TRAIN_CHECKPOINT_H
#define RUVM_TRAIN_CHECKPOINT_H

#include "lib/train/optimizer.h"

struct ruvm_checkpoint_curve {
    double sum;         /* of the loss over positions */
    uint64_t positions; /* of one part */
};

struct ruvm_checkpoint {
    uint32_t identity; /* hash of all that makes a run what it is */
    uint32_t step;     /* steps done */
    double seconds;    /* that they took */
    struct ruvm_optimizer *optimizer;
    struct ruvm_checkpoint_curve *curve; /* [n_curve] */
    uint32_t n_curve;
};

/* Whether the file is a checkpoint of this version at all, before hours are spent on what it
 * may not belong to; none at that path is fine. RUVM_ERR_IO, _CORRUPT, _UNSUPPORTED. */
int ruvm_checkpoint_probe(const char *path, struct ruvm_error *err);
/* RUVM_ERR_IO, _MEMORY. */
int ruvm_checkpoint_write(const struct ruvm_checkpoint *c, const char *path,
                          struct ruvm_error *err);
/* Fills step, optimizer and curve. RUVM_ERR_IO, _CORRUPT, _UNSUPPORTED (another version),
 * _MISMATCH when identity or sizes differ; then nothing is changed. */
int ruvm_checkpoint_read(struct ruvm_checkpoint *c, const char *path, struct ruvm_error *err);

#endif
