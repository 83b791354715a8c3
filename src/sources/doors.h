/* SPDX-License-Identifier: Apache-2.0 */
/* doors.h - the registry: one word a door. */
#ifndef MR_SOURCES_DOORS_H
#define MR_SOURCES_DOORS_H

#include "millrace/door.h"

#define MR_DOORS(X) X(webhook) X(kafka) X(postgres)

extern const struct mr_door *const mr_doors[];
extern const size_t mr_doors_count;

#endif
