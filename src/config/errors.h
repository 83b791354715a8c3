/* SPDX-License-Identifier: Apache-2.0 */
/* config/errors.h - the collected errors, as config/ itself sees them. */
#ifndef MR_CONFIG_ERRORS_H
#define MR_CONFIG_ERRORS_H

#include "config/document.h"
#include "millrace/config.h"

enum { MR_CONFIG_ERRORS_MAX = 1000 }; /* a person has long stopped reading; more are counted */

/* Lends the tree to mr_config_where(); NULL takes it back. */
void mr_config_errors_document(struct mr_config_errors *errors, const struct mr_document *document);
/* Outside text for a message: in quotes, cut, control characters taken out. */
void mr_config_quote(struct mr_buf *out, struct mr_str text);

#endif
