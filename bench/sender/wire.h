/* SPDX-License-Identifier: Apache-2.0 */
/* bench/sender/wire.h - TLS of one connection, by OpenSSL between two buffers in memory: it knows no socket. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H
#include <stdbool.h>
#include <stddef.h>

struct mr_wire;
struct mr_wire_context; /* of all connections; believes whoever answers: a bench measures, it does not trust */
struct mr_wire_context *mr_wire_context_new(void);
void mr_wire_context_free(struct mr_wire_context *c);

struct mr_wire *mr_wire_new(struct mr_wire_context *c);
void mr_wire_free(struct mr_wire *w);
bool mr_wire_shake(struct mr_wire *w);                                   /* a step; false: it failed */
bool mr_wire_ready(const struct mr_wire *w);
bool mr_wire_received(struct mr_wire *w, const char *bytes, size_t n);   /* from the socket */
int mr_wire_read(struct mr_wire *w, char *plain, size_t n);              /* 0: nothing yet; negative: ended or failed */
bool mr_wire_write(struct mr_wire *w, const char *plain, size_t n);
size_t mr_wire_to_send(struct mr_wire *w, char *bytes, size_t n);        /* for the socket; 0: nothing */

#endif
