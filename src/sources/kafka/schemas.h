/* SPDX-License-Identifier: Apache-2.0 */
/* schemas.h - the schemas that records name by number (Confluent's wire format), fetched from their registry and landed beside the records, each once, in a
 * stream of their own. Off the landing path: records never wait for it, and land whether the registry answers or not.
 *
 *      {"source": …, "stream": "_schema_registry", "id": "schema/17", "position": {"schema_id": 17}, "data": <the registry's answer>, …}
 *
 * What has landed is a row of the state store (kind `schema`), decided with the record. Runs on: loop. */
#ifndef MR_KAFKA_SCHEMAS_H
#define MR_KAFKA_SCHEMAS_H

#include "options.h"

#include "millrace/door.h"

struct kafka_schemas;
/* NULL: none is configured. `o` and `src` outlive it. */
struct kafka_schemas *kafka_schemas_new(struct mr_source *src, const struct kafka_registry *o);
void kafka_schemas_seen(struct kafka_schemas *s, uint32_t id); /* a record names it; cheap for one that is known */
void kafka_schemas_look(struct kafka_schemas *s);              /* now and then: is it time to try again? */
bool kafka_schemas_idle(const struct kafka_schemas *s);        /* nothing is on its way, or can be had now */
void kafka_schemas_stop(struct kafka_schemas *s, void (*cb)(void *arg), void *arg); /* what is on its way is let go of; then it is freed, and cb */

#endif
