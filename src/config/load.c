/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - YAML to a tree with positions, by libyaml's events. The only file that knows the library.
 *
 * A config needs plain values, maps and lists. What YAML has beyond that is refused where it stands, since each is a way to mean something
 * else than a reader sees: aliases (and with them documents that grow without bound), merge keys, tags, a second document, a key twice. */
#include "config/errors.h"
#include "config/memory.h"

#include <stdlib.h>
#include <yaml.h>

struct frame {
    struct mr_node *node;
    bool want_value; /* a MAP whose last entry waits for its value */
    bool drop_value; /* a key that was refused: its value goes nowhere */
};

struct builder {
    struct mr_config_errors *errors;
    struct mr_str text;
    struct mr_node *root;
    struct frame frames[MR_DOCUMENT_DEPTH];
    size_t depth, nodes;
    unsigned documents;
    bool stop; /* the rest makes no sense any more */
};

static struct mr_where where_of(yaml_mark_t mark)
{
    return (struct mr_where){(int)mark.line + 1, (int)mark.column + 1};
}

static void refuse(struct builder *b, struct mr_where where, const char *text)
{
    mr_config_error(b->errors, where, "%s", text);
}

static void give_up(struct builder *b, struct mr_where where, const char *text)
{
    refuse(b, where, text);
    b->stop = true;
}

/* Takes the node in any case. */
static void place(struct builder *b, struct mr_node *node)
{
    struct frame *top = b->depth > 0 ? &b->frames[b->depth - 1] : NULL;
    if (!top) {
        b->root = node;
    } else if (top->node->kind == MR_NODE_LIST) {
        mr_node_add_item(top->node, node);
    } else if (top->drop_value) {
        mr_node_free(node);
    } else {
        top->node->entries[top->node->count - 1].value = node;
    }
    if (top)
        top->want_value = top->drop_value = false;
}

static bool key_expected(const struct builder *b)
{
    return b->depth > 0 && b->frames[b->depth - 1].node->kind == MR_NODE_MAP && !b->frames[b->depth - 1].want_value;
}

static void on_key(struct builder *b, struct mr_str key, bool plain, struct mr_where where)
{
    struct frame *top = &b->frames[b->depth - 1];
    top->want_value = true;
    if (plain && mr_str_eq(key, MR_STR("<<"))) {
        refuse(b, where, "merge keys (<<) are not supported: write the keys out");
        top->drop_value = true;
        return;
    }
    if (memchr(key.p, '\0', key.n) != NULL)
        refuse(b, where, "a key holds a NUL byte");
    mr_node_add_entry(top->node, key, where);
}

static void on_scalar(struct builder *b, const yaml_event_t *event)
{
    struct mr_where where = where_of(event->start_mark);
    struct mr_str text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (event->data.scalar.tag)
        refuse(b, where, "tags (!) are not supported: an option's type is known");
    if (event->data.scalar.anchor)
        refuse(b, where, "anchors (&) are not supported: write the value out");
    if (key_expected(b)) {
        on_key(b, text, plain, where);
        return;
    }
    struct mr_node *node = mr_node_new(MR_NODE_SCALAR, where);
    node->quoted = !plain;
    node->text = (struct mr_str){mr_config_dup(text), text.n};
    place(b, node);
}

static void on_alias(struct builder *b, const yaml_event_t *event)
{
    struct mr_where where = where_of(event->start_mark);
    if (key_expected(b)) {
        give_up(b, where, "aliases (*) are not supported: write the key out");
        return;
    }
    refuse(b, where, "aliases (*) are not supported: write the value out");
    place(b, mr_node_new(MR_NODE_BAD, where));
}

static void on_container(struct builder *b, enum mr_node_kind kind, yaml_mark_t mark, const void *anchor, const void *tag)
{
    struct mr_where where = where_of(mark);
    if (anchor)
        refuse(b, where, "anchors (&) are not supported: write the value out");
    if (tag)
        refuse(b, where, "tags (!) are not supported: an option's type is known");
    if (key_expected(b)) {
        give_up(b, where, "a key must be plain text, found a map or a list");
        return;
    }
    if (b->depth == MR_DOCUMENT_DEPTH) {
        mr_config_error(b->errors, where, "nested deeper than %d levels", MR_DOCUMENT_DEPTH);
        b->stop = true;
        return;
    }
    b->frames[b->depth++] = (struct frame){.node = mr_node_new(kind, where)};
}

static int by_key(const void *a, const void *b)
{
    const struct mr_entry *x = *(const struct mr_entry *const *)a, *y = *(const struct mr_entry *const *)b;
    size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
    int order = n > 0 ? memcmp(x->key.p, y->key.p, n) : 0;
    if (order == 0 && x->key.n != y->key.n)
        order = x->key.n < y->key.n ? -1 : 1;
    return order != 0 ? order : (x < y ? -1 : 1);
}

static void refuse_repeat(struct builder *b, struct mr_entry *entry, const struct mr_entry *first)
{
    struct mr_buf quoted;
    mr_buf_init(&quoted, 256);
    mr_config_quote(&quoted, entry->key);
    mr_config_error(b->errors, entry->at, "the key %s is here twice; the first is in line %d", mr_buf_cstr(&quoted), first->at.line);
    mr_buf_free(&quoted);
    mr_node_free(entry->value);
    entry->value = NULL;
}

/* Sorted, not each against each: a map may have a hundred thousand keys. The first of equals stays. */
static void refuse_repeats(struct builder *b, struct mr_node *map)
{
    if (map->count < 2)
        return;
    struct mr_entry **sorted = mr_config_alloc(map->count, sizeof(struct mr_entry *));
    for (size_t i = 0; i < map->count; i++)
        sorted[i] = &map->entries[i];
    qsort(sorted, map->count, sizeof(struct mr_entry *), by_key);
    const struct mr_entry *first = sorted[0];
    for (size_t i = 1; i < map->count; i++) {
        if (mr_str_eq(sorted[i]->key, first->key))
            refuse_repeat(b, sorted[i], first);
        else
            first = sorted[i];
    }
    free(sorted);
    mr_node_drop_empty(map);
}

static void on_container_end(struct builder *b)
{
    struct mr_node *node = b->frames[--b->depth].node;
    if (node->kind == MR_NODE_MAP)
        refuse_repeats(b, node);
    place(b, node);
}

static void on_event(struct builder *b, const yaml_event_t *event)
{
    if (++b->nodes > 2 * MR_DOCUMENT_NODES) {
        mr_config_error(b->errors, where_of(event->start_mark), "more than %d values", MR_DOCUMENT_NODES);
        b->stop = true;
        return;
    }
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->documents > 1)
            give_up(b, where_of(event->start_mark), "a second document: a config file is one");
        break;
    case YAML_SCALAR_EVENT:
        on_scalar(b, event);
        break;
    case YAML_ALIAS_EVENT:
        on_alias(b, event);
        break;
    case YAML_MAPPING_START_EVENT:
        on_container(b, MR_NODE_MAP, event->start_mark, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        break;
    case YAML_SEQUENCE_START_EVENT:
        on_container(b, MR_NODE_LIST, event->start_mark, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        on_container_end(b);
        break;
    case YAML_STREAM_END_EVENT:
        b->stop = true;
        break;
    default:
        break;
    }
}

/* The reader knows a byte offset only. Columns count characters, as the parser's do. */
static struct mr_where where_at_offset(struct mr_str text, size_t offset)
{
    struct mr_where where = {1, 1};
    for (size_t i = 0; i < offset && i < text.n; i++) {
        if (text.p[i] == '\n')
            where = (struct mr_where){where.line + 1, 1};
        else if (((unsigned char)text.p[i] & 0xc0) != 0x80)
            where.column++;
    }
    return where;
}

static const char *hint_for(const struct builder *b, size_t offset)
{
    if (offset < b->text.n && b->text.p[offset] == '\t')
        return "; indent with spaces, not tabs";
    if (offset > 0 && offset < b->text.n && b->text.p[offset] == '{' && b->text.p[offset - 1] == '$')
        return "; inside [ ] and { } a reference needs quotes: \"${env:NAME}\"";
    return "";
}

static size_t offset_of(struct mr_str text, yaml_mark_t mark)
{
    size_t i = 0, characters = 0;
    while (i < text.n && characters < mark.index) {
        i++;
        while (i < text.n && ((unsigned char)text.p[i] & 0xc0) == 0x80)
            i++;
        characters++;
    }
    return i;
}

static void report_syntax(struct builder *b, const yaml_parser_t *parser)
{
    const char *problem = parser->problem ? parser->problem : "cannot be read";
    if (parser->error == YAML_READER_ERROR) {
        mr_config_error(b->errors, where_at_offset(b->text, parser->problem_offset), "not UTF-8 text: %s", problem);
        return;
    }
    const char *hint = hint_for(b, offset_of(b->text, parser->problem_mark));
    if (parser->context)
        mr_config_error(b->errors, where_of(parser->problem_mark), "not YAML: %s (%s that began in line %d)%s", problem, parser->context,
                        (int)parser->context_mark.line + 1, hint);
    else
        mr_config_error(b->errors, where_of(parser->problem_mark), "not YAML: %s%s", problem, hint);
}

/* What is still open hangs on no tree yet. */
static void drop_open(struct builder *b)
{
    while (b->depth > 0)
        mr_node_free(b->frames[--b->depth].node);
}

static bool build(struct builder *b, yaml_parser_t *parser)
{
    while (!b->stop) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            report_syntax(b, parser);
            return false;
        }
        bool end = event.type == YAML_STREAM_END_EVENT;
        on_event(b, &event);
        yaml_event_delete(&event);
        if (b->stop)
            return end;
    }
    return false;
}

struct mr_document *mr_document_load(struct mr_str text, struct mr_config_errors *errors)
{
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        text = (struct mr_str){text.p + 3, text.n - 3}; /* else every column of line 1 is one off */
    struct builder *b = mr_config_alloc(1, sizeof *b);
    b->errors = errors;
    b->text = text;
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        abort(); /* no memory */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.n > 0 ? text.p : ""), text.n);
    bool whole = build(b, &parser);
    yaml_parser_delete(&parser);
    drop_open(b);
    struct mr_document *document = NULL;
    if (whole) {
        document = mr_config_alloc(1, sizeof *document);
        document->root = b->root;
    } else {
        mr_node_free(b->root);
    }
    free(b);
    return document;
}
