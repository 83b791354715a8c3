/* SPDX-License-Identifier: Apache-2.0 */
#include "config/document.h"

#include "config/memory.h"

#include <stdlib.h>

struct mr_node *mr_node_new(enum mr_node_kind kind, struct mr_where at)
{
    struct mr_node *node = mr_config_alloc(1, sizeof *node);
    node->kind = kind;
    node->at = at;
    return node;
}

static void drop_text(struct mr_str text)
{
    mr_config_drop((char *)(uintptr_t)text.p, text.n);
}

void mr_node_free(struct mr_node *node)
{
    if (!node)
        return;
    drop_text(node->text);
    for (size_t i = 0; i < node->count; i++) {
        if (node->entries) {
            drop_text(node->entries[i].key);
            mr_node_free(node->entries[i].value);
        } else {
            mr_node_free(node->items[i]);
        }
    }
    free(node->entries);
    free(node->items);
    free(node);
}

void mr_node_add_entry(struct mr_node *map, struct mr_str key, struct mr_where at)
{
    map->entries = mr_config_grow(map->entries, map->count, &map->cap, sizeof *map->entries);
    map->entries[map->count++] = (struct mr_entry){.key = {mr_config_dup(key), key.n}, .at = at};
}

void mr_node_drop_empty(struct mr_node *map)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->count; i++) {
        if (map->entries[i].value)
            map->entries[kept++] = map->entries[i];
        else
            drop_text(map->entries[i].key);
    }
    map->count = kept;
}

void mr_node_add_item(struct mr_node *list, struct mr_node *item)
{
    list->items = mr_config_grow(list->items, list->count, &list->cap, sizeof(struct mr_node *));
    list->items[list->count++] = item;
}

bool mr_node_is_null(const struct mr_node *node)
{
    return node->kind == MR_NODE_SCALAR && !node->quoted &&
           (node->text.n == 0 || mr_str_eq(node->text, MR_STR("~")) || mr_str_eq(node->text, MR_STR("null")));
}

static const struct mr_entry *entry_named(const struct mr_node *map, struct mr_str key)
{
    if (!map || map->kind != MR_NODE_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++) {
        if (mr_str_eq(map->entries[i].key, key))
            return &map->entries[i];
    }
    return NULL;
}

const struct mr_entry *mr_node_get(const struct mr_node *map, const char *key)
{
    return entry_named(map, mr_str_c(key));
}

void mr_document_free(struct mr_document *document)
{
    if (!document)
        return;
    mr_node_free(document->root);
    free(document);
}

/* Of the keys that `path` begins with, the longest: a source's name may hold dots itself. */
static const struct mr_entry *entry_on_path(const struct mr_node *map, const char *path)
{
    const struct mr_entry *best = NULL;
    size_t n = strlen(path);
    for (size_t i = 0; map->kind == MR_NODE_MAP && i < map->count; i++) {
        const struct mr_entry *entry = &map->entries[i];
        bool fits = entry->key.n <= n && memcmp(entry->key.p, path, entry->key.n) == 0 && (path[entry->key.n] == '.' || path[entry->key.n] == '\0');
        if (fits && (!best || entry->key.n > best->key.n))
            best = entry;
    }
    return best;
}

const struct mr_node *mr_node_at(const struct mr_node *from, const char *path)
{
    while (*path != '\0') {
        const struct mr_entry *entry = entry_on_path(from, path);
        if (!entry)
            break;
        from = entry->value;
        path += entry->key.n + (path[entry->key.n] == '.');
    }
    return from;
}

const struct mr_entry *mr_node_entry_at(const struct mr_node *node, struct mr_where where)
{
    for (size_t i = 0; node && i < node->count; i++) {
        if (node->entries && node->entries[i].at.line == where.line && node->entries[i].at.column == where.column)
            return &node->entries[i];
        const struct mr_entry *below =
            mr_node_entry_at(node->entries ? node->entries[i].value : node->items[i], where);
        if (below)
            return below;
    }
    return NULL;
}
