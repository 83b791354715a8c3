/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#define DECLARE(name) extern const struct mr_door mr_door_##name;
MR_DOORS(DECLARE)

#define ENTRY(name) &mr_door_##name,
const struct mr_door *const mr_doors[] = {MR_DOORS(ENTRY)};
const size_t mr_doors_count = MR_COUNT(mr_doors);
