/* SPDX-License-Identifier: Apache-2.0 */
/* fault.h - named points at which a test build dies or fails. In a release build every macro here is the constant 0.
 *
 * MILLRACE_CRASH=point:n       SIGKILLs the process at the n-th passing (n from 1)
 * MILLRACE_FAIL=point:n:ERRNO  makes the n-th passing return ERRNO (a name, EIO, or a number); n `*`: every passing;
 *                              n `a-b`: the a-th to the b-th
 * MILLRACE_MUTANT=no_sync|no_dirsync|no_cas   switches one promise off: the durability campaigns must then fail
 * Counters are the one exception to "no global mutable state", in test builds only. */
#ifndef MILLRACE_FAULT_H
#define MILLRACE_FAULT_H

#define MR_POINTS(X)                                                                                                 \
    X(queue_write)          /* a group is about to be written */                                                     \
    X(queue_written)        /* written and synced, nobody told yet */                                                \
    X(queue_acked)          /* the loop is about to answer a group's senders */                                      \
    X(queue_segment_create) /* a new segment file is about to be made */                                             \
    X(queue_segment_filled) /* its blocks are written over, before its sync and its directory's */                   \
    X(queue_segment_start)  /* its first header is about to be written */                                            \
    X(queue_segment_recycle)/* a freed segment is about to become a spare */                                         \
    X(queue_free)           /* a segment is about to be freed */                                                     \
    X(queue_recover)        /* recovery is about to make the tail durable */                                         \
    X(queue_recovered)      /* recovery has ended, before the first append */                                        \
    X(stage_create)         /* a .part file is about to be made */                                                   \
    X(stage_write)          /* compressed bytes are about to be written to it */                                     \
    X(stage_key_noted)      /* S3: the key is in the store, its upload not begun */                                  \
    X(stage_begun)          /* S3: the upload is begun, its id not in the store */                                   \
    X(stage_id_noted)       /* S3: its id is in the store, before the first part */                                  \
    X(stage_part)           /* S3: a part is about to be sent */                                                     \
    X(stage_close)          /* its last frame is about to be written */                                              \
    X(stage_sync)           /* about to be synced */                                                                 \
    X(stage_synced)         /* synced, directory too, before the decision */                                         \
    X(decide_begin)         /* the transaction is about to begin */                                                  \
    X(decide_commit)        /* about to commit */                                                                    \
    X(decide_committed)     /* committed, nobody told yet */                                                         \
    X(decided_mark)         /* zone: the highest decided number is about to be written */                            \
    X(publish_rename)       /* a file is about to get its final name */                                              \
    X(publish_renamed)      /* renamed, directories not synced yet */                                                \
    X(publish_synced)       /* directories synced, the store not told yet */                                         \
    X(publish_noted)        /* the store knows; the source not told yet */                                           \
    X(resume_begin)         /* start-up is about to finish what was decided */                                       \
    X(resume_sweep)         /* a staged leftover is about to be deleted */                                           \
    X(quarantine_write)     /* bytes are about to be kept in quarantine */                                           \
    X(quarantine_replayed)  /* a refused request is in the queue; its file is about to be renamed */                  \
    X(seal_day)             /* a day is about to be sealed */                                                        \
    X(landed_write)         /* postgres: keys of rows that land are about to be written to their log */                \
    X(landed_sync)          /* that log is about to be synced */                                                     \
    X(keys_write)           /* a new file of keys is about to be made */                                             \
    X(keys_sync)            /* about to be synced */                                                                 \
    X(keys_synced)          /* it has its name, durably, before the decision */                                      \
    X(keys_remove)          /* an older one is about to be deleted */                                                \
    X(zone_id)              /* zone.json is about to be written */

#define MR_MUTANTS(X) X(no_sync) X(no_dirsync) X(no_cas)

enum mr_point {
#define MR_POINT_ENUM(name) MR_POINT_##name,
    MR_POINTS(MR_POINT_ENUM)
#undef MR_POINT_ENUM
        MR_POINT_COUNT
};
enum mr_mutant {
#define MR_MUTANT_ENUM(name) MR_MUTANT_##name,
    MR_MUTANTS(MR_MUTANT_ENUM)
#undef MR_MUTANT_ENUM
        MR_MUTANT_COUNT
};

#if MR_FAULTS
int mr_point_hit(enum mr_point p); /* 0, or the errno to fail with; may not return. Any thread. */
int mr_mutant_on(enum mr_mutant m);
#define MR_POINT(name) mr_point_hit(MR_POINT_##name)
#define MR_MUTANT(name) mr_mutant_on(MR_MUTANT_##name)
#else
#define MR_POINT(name) 0
#define MR_MUTANT(name) 0
#endif
const char *mr_point_name(enum mr_point p);

#endif
