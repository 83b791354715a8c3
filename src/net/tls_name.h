/* SPDX-License-Identifier: Apache-2.0 */
/* tls_name.h - is a certificate for this server name? Pure. */
#ifndef MILLRACE_NET_TLS_NAME_H
#define MILLRACE_NET_TLS_NAME_H

#include "millrace/buf.h"

/* pattern: a DNS name of the certificate, with at most a first label of `*`, which stands for one label (RFC 6125, 6.4.3). Letters are compared
 * without case; a full stop at the end of the name says nothing. */
bool mr_tls_name_fits(struct mr_str pattern, struct mr_str name);

#endif
