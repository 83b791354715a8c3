/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <stdlib.h>
#include <strings.h>

enum { HEADERS_MAX = 16, HOPS_MAX = 64 };

enum mr_code ranges_read(const struct mr_strings *texts, struct ranges *out, struct mr_err *err)
{
    *out = (struct ranges){calloc(texts->count ? texts->count : 1, sizeof *out->items), texts->count};
    if (!out->items)
        return mr_err_set(err, MR_ENOMEM, "ranges");
    for (size_t i = 0; i < texts->count; i++)
        if (mr_cidr_parse(mr_str_c(texts->items[i]), &out->items[i], err) != MR_OK) {
            ranges_free(out);
            return err->code;
        }
    return MR_OK;
}

void ranges_free(struct ranges *r)
{
    free(r->items);
    *r = (struct ranges){0};
}

bool ranges_have(const struct ranges *r, const struct mr_address *a)
{
    for (size_t i = 0; i < r->count; i++)
        if (mr_cidr_has(&r->items[i], a))
            return true;
    return false;
}

static struct mr_str trim(struct mr_str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct mr_str){s.p + 1, s.n - 1};
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Is the quote at `i` a part of its string: behind an odd number of backslashes? */
static bool is_escaped(struct mr_str s, size_t i)
{
    size_t n = 0;
    while (n < i && s.p[i - n - 1] == '\\')
        n++;
    return n % 2;
}

/* The last element of a comma-separated list, which is taken off it. It is looked for from the end: that part a proxy has written, while what is in
 * front may be anybody's, quotes without an end among it. Commas in quotes are the element's (RFC 7239, 4); X-Forwarded-For knows no quotes. */
static struct mr_str last_element(struct mr_str *list, bool quotes)
{
    size_t from = list->n;
    bool quoted = false;
    while (from > 0 && (quoted || list->p[from - 1] != ',')) {
        from--;
        if (quotes && list->p[from] == '"' && !is_escaped(*list, from))
            quoted = !quoted;
    }
    struct mr_str element = {list->p + from, list->n - from};
    list->n = from ? from - 1 : 0;
    return trim(element);
}

/* Up to the next `;` that is not in quotes; taken off the element. */
static struct mr_str first_pair(struct mr_str *element)
{
    bool quoted = false;
    size_t n = 0;
    for (; n < element->n && (quoted || element->p[n] != ';'); n++) {
        if (element->p[n] == '\\' && quoted && n + 1 < element->n)
            n++;
        else if (element->p[n] == '"')
            quoted = !quoted;
    }
    struct mr_str pair = {element->p, n};
    size_t used = n + (n < element->n);
    *element = (struct mr_str){element->p + used, element->n - used};
    return trim(pair);
}

/* `for` of an element of Forwarded: for=192.0.2.43; For="[2001:db8:cafe::17]:4711";proto=https */
static struct mr_str forwarded_for(struct mr_str element)
{
    while (element.n) {
        struct mr_str pair = first_pair(&element);
        if (pair.n < 4 || strncasecmp(pair.p, "for=", 4) != 0)
            continue;
        struct mr_str value = {pair.p + 4, pair.n - 4};
        bool quoted = value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"';
        return quoted ? (struct mr_str){value.p + 1, value.n - 2} : value;
    }
    return (struct mr_str){0};
}

/* The header's values, the last first: a proxy that adds a line of its own adds it at the end (RFC 9110, 5.3). */
static size_t values_of(const struct mr_http_head *head, const char *name, struct mr_str values[HEADERS_MAX])
{
    size_t count = 0, n = strlen(name);
    for (size_t i = head->headers_count; i-- > 0 && count < HEADERS_MAX;) {
        const struct mr_header *h = &head->headers[i];
        if (h->name.n == n && strncasecmp(h->name.p, name, n) == 0)
            values[count++] = h->value;
    }
    return count;
}

bool client_of(const struct ranges *trusted, enum client_header header, const struct mr_http_head *head, struct mr_address *client)
{
    static const char *const names[] = {"x-forwarded-for", "forwarded", "x-real-ip"};
    struct mr_str values[HEADERS_MAX];
    struct mr_address hop;
    bool found = false;
    int hops = 0;
    size_t count = values_of(head, names[header], values);
    if (header == CLIENT_X_REAL_IP) /* one address, no list */
        return count == 1 && mr_address_parse_node(trim(values[0]), client);
    for (size_t i = 0; i < count; i++)
        for (struct mr_str list = values[i]; list.n && hops++ < HOPS_MAX;) {
            struct mr_str element = last_element(&list, header == CLIENT_FORWARDED);
            if (!mr_address_parse_node(header == CLIENT_FORWARDED ? forwarded_for(element) : element, &hop))
                return found;
            *client = hop;
            found = true;
            if (!ranges_have(trusted, &hop))
                return true;
        }
    return found;
}
