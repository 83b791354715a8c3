/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - what must hold of an input's outcome; a fuzzer takes the abort for its finding. */
#ifndef MR_FUZZ_CHECK_H
#define MR_FUZZ_CHECK_H

#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

#endif
