/* SPDX-License-Identifier: Apache-2.0 */
/* config/root.h - the program's own rows at the top level of the file; they fill a struct mr_config. */
#ifndef MR_CONFIG_ROOT_H
#define MR_CONFIG_ROOT_H

#include "config/options.h"
#include "millrace/config.h"

#define MR_SOURCES_DOC "Where events come from: a map of names to sources. A name is 1 to 128 of [A-Za-z0-9._-], not beginning with _ or .; \
it becomes source=NAME in the zone and may not change while its events are to be found under it. Each source has exactly one door."
#define MR_SOURCE_NAME_PATTERN "^[A-Za-z0-9-][A-Za-z0-9._-]*$"

const struct mr_option *mr_root_rows(void);
/* What the rows cannot say; makes zone.url absolute. Reports into fill->errors. */
void mr_root_check(struct mr_config *config, struct mr_fill *fill);
bool mr_source_name_ok(struct mr_str name);

#endif
