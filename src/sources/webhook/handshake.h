/* SPDX-License-Identifier: Apache-2.0 */
/* handshake.h - a vendor tries the route before it sends events, and wants its challenge back. Pure. */
#ifndef MR_WEBHOOK_HANDSHAKE_H
#define MR_WEBHOOK_HANDSHAKE_H

#include "millrace/buf.h"

/* The text that a verified handshake of this scheme wants back, decoded into out; false if the request is an event. */
bool mr_handshake(const char *scheme, struct mr_str body, struct mr_buf *out);

#endif
