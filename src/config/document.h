/* SPDX-License-Identifier: Apache-2.0 */
/* config/document.h - the config file as a tree, with the place of everything. Knows YAML's shapes (plain value, map, list), nothing of options.
 *
 * The tree is finite whatever the file says: no aliases, no merge keys, at most MR_DOCUMENT_DEPTH deep, MR_DOCUMENT_NODES large. So whoever walks
 * it may recurse. */
#ifndef MR_CONFIG_DOCUMENT_H
#define MR_CONFIG_DOCUMENT_H

#include "millrace/option.h"

enum { MR_DOCUMENT_DEPTH = 24, MR_DOCUMENT_NODES = 100000 };

enum mr_node_kind {
    MR_NODE_SCALAR,
    MR_NODE_MAP,
    MR_NODE_LIST,
    MR_NODE_BAD /* an error was reported here; readers say nothing more of it */
};
struct mr_entry;
struct mr_node {
    enum mr_node_kind kind;
    bool quoted;              /* a SCALAR in quotes or a block: text for sure, never "nothing" */
    struct mr_where at;
    struct mr_str text;       /* SCALAR; NUL-terminated, and may hold NULs from escapes */
    struct mr_entry *entries; /* MAP: no key twice */
    struct mr_node **items;   /* LIST */
    size_t count, cap;
};
struct mr_entry {
    struct mr_str key;
    struct mr_where at;
    struct mr_node *value;
};
struct mr_document { struct mr_node *root; }; /* root: NULL for an empty file */

/* load.c, the only file that knows the YAML library. NULL after a syntax error; other errors (aliases, a key twice) leave a tree. */
struct mr_document *mr_document_load(struct mr_str text, struct mr_config_errors *errors);

struct mr_node *mr_node_new(enum mr_node_kind kind, struct mr_where at);
void mr_node_free(struct mr_node *node);
void mr_node_add_entry(struct mr_node *map, struct mr_str key, struct mr_where at); /* copies key; value comes later */
void mr_node_drop_empty(struct mr_node *map); /* entries without a value go; the order stays */
void mr_node_add_item(struct mr_node *list, struct mr_node *item);
bool mr_node_is_null(const struct mr_node *node); /* `key:` with nothing, ~ or null */
const struct mr_entry *mr_node_get(const struct mr_node *map, const char *key); /* NULL if absent or if map is no map */
void mr_document_free(struct mr_document *document);
/* The value at dotted `path` below `from`, or the last of its ancestors that is there. */
const struct mr_node *mr_node_at(const struct mr_node *from, const char *path);
/* The entry whose key stands at `where`. */
const struct mr_entry *mr_node_entry_at(const struct mr_node *node, struct mr_where where);

#endif
