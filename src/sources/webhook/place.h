/* SPDX-License-Identifier: Apache-2.0 */
/* place.h - values of a signed request by place: JSON fields, form fields, the query. Pure.
 *
 * A value that stands otherwise than it is meant (escapes, percent signs) is decoded into `scratch`, which has room for all of a
 * request's before the first is read (place_room), so that the slices hold until it is cleared. */
#ifndef MR_WEBHOOK_PLACE_H
#define MR_WEBHOOK_PLACE_H

#include "scheme.h"

enum mr_place_found { PLACE_FOUND, PLACE_ABSENT, PLACE_TWICE, PLACE_BAD };

size_t place_room(const struct mr_signed_request *req);
/* A string's text; of numbers and booleans the token; null counts as absent. The body passed mr_json_check(). */
enum mr_place_found place_json(struct mr_str body, struct mr_str pointer, struct mr_buf *scratch, struct mr_str *value);
/* pairs: application/x-www-form-urlencoded, a body or a query. */
enum mr_place_found place_form(struct mr_str pairs, struct mr_str name, struct mr_buf *scratch, struct mr_str *value);
/* Names and values, sorted by name, then value, each pair once, joined without anything between: Twilio's and Mandrill's way. */
enum mr_place_found place_sorted(struct mr_str pairs, struct mr_buf *scratch, struct mr_str *value);
/* The body with another value there, as its kind writes it: a number stays one if the value is one. false, and nothing written: the body has no such
 * field. */
bool place_json_put(struct mr_str body, struct mr_str pointer, struct mr_str value, struct mr_buf *out);
/* The pairs with this one at their end, and no other of the name. */
void place_form_put(struct mr_str pairs, struct mr_str name, struct mr_str value, struct mr_buf *out);
bool place_is_form(const struct mr_http_head *head); /* by its Content-Type */
/* The URL with its port made explicit if it was not, and without it if it was. */
struct mr_str place_port_toggled(struct mr_str url, struct mr_buf *scratch);
/* The URL with those escapes decoded that HubSpot decodes. */
struct mr_str place_url_decoded(struct mr_str url, struct mr_buf *scratch);

#endif
