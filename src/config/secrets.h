/* SPDX-License-Identifier: Apache-2.0 */
/* config/secrets.h - ${env:NAME} and ${file:PATH}: a value that stands elsewhere. Nothing here ever puts a value into a message. */
#ifndef MR_CONFIG_SECRETS_H
#define MR_CONFIG_SECRETS_H

#include "millrace/config.h"

enum { MR_SECRET_BYTES_MAX = 64 << 10 };

struct mr_resolver {
    mr_config_env env; /* never NULL */
    void *env_arg;
    const char *folder; /* relative paths of ${file:} count from here */
};

/* Does the text want to be a reference: "${" at its start? */
bool mr_reference_is(struct mr_str text);
/* Does a reference stand inside other text? Then the person expects what we do not do. */
bool mr_reference_inside(struct mr_str text);
/* *value is the caller's (mr_config_drop), NUL-terminated, never empty; one trailing newline (LF or CRLF) of a file is dropped.
 * false: `why` says what is missing. */
bool mr_reference_resolve(const struct mr_resolver *resolver, struct mr_str text, char **value, size_t *n, struct mr_buf *why);

#endif
