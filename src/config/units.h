/* SPDX-License-Identifier: Apache-2.0 */
/* config/units.h - numbers as people write them: 30s, 128MiB, 12. Pure. */
#ifndef MR_CONFIG_UNITS_H
#define MR_CONFIG_UNITS_H

#include "millrace/option.h"

/* type: MR_T_INT, MR_T_SIZE (bytes), MR_T_DURATION (milliseconds). false: `why` gets what is wrong and what to write instead. */
bool mr_unit_parse(enum mr_type type, struct mr_str text, int64_t *out, struct mr_buf *why);
/* MR_T_REAL: digits, with a point and digits behind it or without; no exponent. */
bool mr_unit_real_parse(struct mr_str text, double *out, struct mr_buf *why);
/* Is v within the row's min and max? They are our own text, so they parse. false: `why` gets the range. */
bool mr_unit_in_range(const struct mr_option *row, int64_t v, struct mr_buf *why);
bool mr_unit_real_in_range(const struct mr_option *row, double v, struct mr_buf *why);
/* Appends "1s to 1d", "at least 1s", "at most 1d", or nothing. */
void mr_unit_range_put(const struct mr_option *row, struct mr_buf *out);
/* Do min and max parse, and in this order? false: `why`. Any other call takes that for granted. */
bool mr_unit_bounds_ok(const struct mr_option *row, struct mr_buf *why);
const char *mr_unit_pattern(enum mr_type type); /* a regular expression for the schema */

#endif
