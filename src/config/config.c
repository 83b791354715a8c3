/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - from a file to a struct mr_config.
 *
 * happy path: read, tree, rows of the program and of the hubs, sources (name, its one door, the door's rows), checks beyond rows, the doors'
 * own checks of each source, the doors' checks between sources.
 * ways to fail: a file that cannot be read and a syntax error end it at once; everything else is collected to the end. A door's checks
 * see only sources whose rows were filled without an error. */
#include "config/errors.h"
#include "config/memory.h"
#include "config/root.h"
#include "millrace/file.h"
#include "millrace/near.h"

#include <limits.h>
#include <stdlib.h>

/* -- sources ---------------------------------------------------------------------------------------------------------------- */

static void put_doors(const struct mr_config *config, struct mr_buf *out)
{
    for (size_t i = 0; i < config->doors_count; i++)
        mr_buf_printf(out, "%s%s", i > 0 ? ", " : "", config->doors[i]->name);
}

static ptrdiff_t door_named(const struct mr_config *config, struct mr_str name)
{
    for (size_t i = 0; i < config->doors_count; i++) {
        if (mr_str_eq(name, mr_str_c(config->doors[i]->name)))
            return (ptrdiff_t)i;
    }
    return -1;
}

static void report_door(const struct mr_config *config, struct mr_fill *fill, const struct mr_entry *entry)
{
    struct mr_near near = {.word = entry->key};
    struct mr_buf why;
    mr_buf_init(&why, 2048);
    mr_buf_puts(&why, "unknown door ");
    mr_config_quote(&why, entry->key);
    for (size_t i = 0; i < config->doors_count; i++)
        mr_near_offer(&near, config->doors[i]->name);
    if (near.best)
        mr_buf_printf(&why, ", did you mean \"%s\"?", near.best);
    mr_buf_puts(&why, "; doors are: ");
    put_doors(config, &why);
    mr_fill_error(fill, entry->at, "%s", mr_buf_cstr(&why));
    mr_buf_free(&why);
}

static void report_no_door(const struct mr_config *config, struct mr_fill *fill, const struct mr_entry *source)
{
    struct mr_buf doors;
    mr_buf_init(&doors, 1024);
    put_doors(config, &doors);
    mr_fill_error(fill, source->at, "expected a map with one door below the source, one of: %s", mr_buf_cstr(&doors));
    mr_buf_free(&doors);
}

static void fill_source(struct mr_config *config, struct mr_fill *fill, const struct mr_entry *source, const struct mr_entry *entry, size_t door)
{
    struct mr_config_source *s = &config->sources[config->sources_count++];
    *s = (struct mr_config_source){.name = mr_config_dup(source->key), .door = door, .where = entry->at};
    s->options = mr_config_alloc(1, config->doors[door]->options_size);
    struct mr_option row = {.name = config->doors[door]->name, .type = MR_T_MAP};
    struct mr_table table = {config->doors[door]->options, s->options};
    struct mr_node empty = {.kind = MR_NODE_MAP, .at = entry->value->at};
    const struct mr_node *map = mr_node_is_null(entry->value) ? &empty : entry->value;
    if (map->kind != MR_NODE_MAP && map->kind != MR_NODE_BAD)
        mr_fill_error(fill, map->at, "expected a map with the options of the door %s", row.name);
    size_t before = mr_config_errors_count(fill->errors);
    mr_options_fill(fill, &table, 1, NULL, map->kind == MR_NODE_MAP ? map : NULL, entry->at);
    bool sound = map->kind == MR_NODE_MAP && mr_config_errors_count(fill->errors) == before;
    if (sound && config->doors[door]->validate)
        config->doors[door]->validate(s->name, s->options, s->where, fill->errors);
    if (!sound) { /* the doors' checks may rely on their rows: they never see it */
        mr_options_free(config->doors[door]->options, s->options);
        free(s->options);
        s->options = NULL;
    }
}

/* The first known door is taken; every other key is an error of its own. */
static void read_source(struct mr_config *config, struct mr_fill *fill, const struct mr_entry *source)
{
    const struct mr_node *map = source->value;
    if (map->kind == MR_NODE_BAD)
        return;
    if (map->kind != MR_NODE_MAP || map->count == 0) {
        report_no_door(config, fill, source);
        return;
    }
    const char *taken = NULL;
    for (size_t i = 0; i < map->count; i++) {
        const struct mr_entry *entry = &map->entries[i];
        ptrdiff_t door = door_named(config, entry->key);
        if (door < 0) {
            report_door(config, fill, entry);
        } else if (taken) {
            mr_fill_error(fill, entry->at, "a second door, \"%s\" beside \"%s\": give each a source of its own", config->doors[door]->name, taken);
        } else {
            taken = config->doors[door]->name;
            size_t before = mr_fill_enter(fill, entry->key);
            fill_source(config, fill, source, entry, (size_t)door);
            mr_fill_leave(fill, before);
        }
    }
}

static void read_sources(struct mr_config *config, struct mr_fill *fill, const struct mr_node *root)
{
    const struct mr_entry *sources = mr_node_get(root, "sources");
    if (!sources) {
        mr_fill_error(fill, (struct mr_where){1, 1}, "\"sources\" is missing; expected a map of names to sources");
        return;
    }
    const struct mr_node *map = sources->value;
    if (map->kind != MR_NODE_MAP) {
        if (!mr_node_is_null(map) && map->kind != MR_NODE_BAD)
            mr_fill_error(fill, map->at, "sources: expected a map of names to sources");
        return;
    }
    config->sources = mr_config_alloc(map->count, sizeof *config->sources);
    size_t outer = mr_fill_enter(fill, MR_STR("sources"));
    for (size_t i = 0; i < map->count; i++) {
        const struct mr_entry *source = &map->entries[i];
        bool name_ok = mr_source_name_ok(source->key);
        if (!name_ok)
            mr_fill_error(fill, source->at, "a source's name is 1 to %d of the letters A-Z a-z, digits and . _ -, not beginning with _ or .",
                          MR_SOURCE_NAME_MAX);
        size_t before = mr_fill_enter(fill, name_ok ? source->key : MR_STR("?"));
        read_source(config, fill, source);
        mr_fill_leave(fill, before);
    }
    mr_fill_leave(fill, outer);
}

static void check_between(struct mr_config *config, struct mr_config_errors *errors, size_t door)
{
    const char **names = mr_config_alloc(config->sources_count, sizeof(char *));
    const void **options = mr_config_alloc(config->sources_count, sizeof(void *));
    struct mr_where *wheres = mr_config_alloc(config->sources_count, sizeof *wheres);
    size_t count = 0;
    for (size_t i = 0; i < config->sources_count; i++) {
        const struct mr_config_source *s = &config->sources[i];
        if (s->door != door || !s->options)
            continue;
        names[count] = s->name;
        options[count] = s->options;
        wheres[count++] = s->where;
    }
    if (count > 0)
        config->doors[door]->validate_all(names, options, wheres, count, config->hub_options[door],
                                             config->limits.memory, errors);
    free(names);
    free(options);
    free(wheres);
}

/* -- the whole ---------------------------------------------------------------------------------------------------------------- */

static struct mr_config *config_new(const struct mr_config_text *in, const struct mr_door *const *doors, size_t count)
{
    struct mr_config *config = mr_config_alloc(1, sizeof *config);
    config->file = mr_config_dup(mr_str_c(in->file));
    config->folder = mr_config_dup(mr_str_c(in->folder));
    config->doors = doors;
    config->doors_count = count;
    config->hub_options = mr_config_alloc(count, sizeof(void *));
    for (size_t i = 0; i < count; i++) {
        if (doors[i]->hub_options)
            config->hub_options[i] = mr_config_alloc(1, doors[i]->hub_options_size);
    }
    return config;
}

static void read_root(struct mr_config *config, struct mr_fill *fill, const struct mr_node *root)
{
    struct mr_node empty = {.kind = MR_NODE_MAP, .at = {1, 1}};
    if (!root || mr_node_is_null(root))
        root = &empty;
    struct mr_table *tables = mr_config_alloc(config->doors_count + 1, sizeof *tables);
    tables[0] = (struct mr_table){mr_root_rows(), config};
    for (size_t i = 0; i < config->doors_count; i++)
        tables[i + 1] = (struct mr_table){config->doors[i]->hub_options, config->hub_options[i]};
    bool map = root->kind == MR_NODE_MAP;
    if (!map && root->kind != MR_NODE_BAD)
        mr_fill_error(fill, root->at, "expected a map at the top: \"sources:\" and other keys");
    mr_options_fill(fill, tables, config->doors_count + 1, "sources", map ? root : NULL, (struct mr_where){1, 1});
    free(tables);
    if (!map)
        return;
    mr_root_check(config, fill);
    read_sources(config, fill, root);
    for (size_t i = 0; i < config->doors_count; i++) {
        if (config->doors[i]->validate_all)
            check_between(config, fill->errors, i);
    }
}

static const char *process_env(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

static enum mr_code refuse(struct mr_config *config, struct mr_config_errors *errors, struct mr_config_errors **out)
{
    mr_config_errors_document(errors, NULL);
    mr_config_free(config);
    *out = errors;
    return MR_ECONFIG;
}

enum mr_code mr_config_parse(const struct mr_config_text *in, const struct mr_door *const *doors, size_t doors_count, struct mr_config **config,
                             struct mr_config_errors **errors)
{
    *config = NULL;
    *errors = NULL;
    struct mr_config_errors *faults = mr_config_errors_new(in->file);
    if (in->text.n > MR_CONFIG_BYTES_MAX) {
        mr_config_error(faults, (struct mr_where){0, 0}, "larger than 1MiB, too large for a config");
        return refuse(NULL, faults, errors);
    }
    struct mr_document *document = mr_document_load(in->text, faults);
    if (!document)
        return refuse(NULL, faults, errors);
    struct mr_config *c = config_new(in, doors, doors_count);
    c->document = document;
    mr_config_errors_document(faults, document);
    struct mr_fill fill = {.errors = faults, .resolver = {in->env ? in->env : process_env, in->env_arg, c->folder}};
    read_root(c, &fill, document->root);
    if (mr_config_errors_count(faults) > 0)
        return refuse(c, faults, errors);
    mr_config_errors_free(faults);
    *config = c;
    return MR_OK;
}

static void folder_of(const char *path, char out[PATH_MAX])
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(parent, sizeof parent, ".");
    else
        snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (!realpath(parent, out))
        snprintf(out, PATH_MAX, "%s", parent); /* then the file in it cannot be read either */
}

enum mr_code mr_config_load(const char *path, const struct mr_door *const *doors, size_t doors_count, struct mr_config **config,
                            struct mr_config_errors **errors)
{
    *config = NULL;
    struct mr_err err = {0};
    char *text = NULL;
    size_t n = 0;
    if (mr_file_read(path, MR_CONFIG_BYTES_MAX, &text, &n, &err) != MR_OK) {
        *errors = mr_config_errors_new(path);
        mr_config_error(*errors, (struct mr_where){0, 0}, "%s", err.code == MR_ETOOBIG ? "larger than 1MiB, too large for a config" : err.msg);
        return MR_ECONFIG;
    }
    char folder[PATH_MAX];
    folder_of(path, folder);
    struct mr_config_text in = {.text = {text, n}, .file = path, .folder = folder};
    enum mr_code code = mr_config_parse(&in, doors, doors_count, config, errors);
    mr_config_drop(text, n);
    return code;
}

void mr_config_free(struct mr_config *config)
{
    if (!config)
        return;
    mr_options_free(mr_root_rows(), config);
    for (size_t i = 0; i < config->doors_count; i++) {
        if (config->hub_options[i])
            mr_options_free(config->doors[i]->hub_options, config->hub_options[i]);
        free(config->hub_options[i]);
    }
    for (size_t i = 0; i < config->sources_count; i++) {
        struct mr_config_source *s = &config->sources[i];
        if (s->options)
            mr_options_free(config->doors[s->door]->options, s->options);
        free(s->options);
        free(s->name);
    }
    free(config->hub_options);
    free(config->sources);
    free(config->file);
    free(config->folder);
    mr_document_free(config->document);
    free(config);
}

ptrdiff_t mr_config_find(const struct mr_config *config, const char *source)
{
    for (size_t i = 0; i < config->sources_count; i++) {
        if (strcmp(config->sources[i].name, source) == 0)
            return (ptrdiff_t)i;
    }
    return -1;
}

/* -- reload -------------------------------------------------------------------------------------------------------------------- */

static void diff_source(struct mr_fill *fill, const struct mr_config *old, const struct mr_config *next, size_t i)
{
    const struct mr_config_source *s = &next->sources[i];
    ptrdiff_t was = mr_config_find(old, s->name);
    if (was < 0 || old->sources[was].door != s->door)
        return;
    const struct mr_door *door = next->doors[s->door];
    snprintf(fill->path, sizeof fill->path, "sources.%s.%s", s->name, door->name);
    mr_options_fixed(fill, door->options, old->sources[was].options, s->options);
    fill->path[0] = '\0';
}

enum mr_code mr_config_diff_fixed(const struct mr_config *old, const struct mr_config *next, struct mr_config_errors **errors)
{
    struct mr_config_errors *faults = mr_config_errors_new(next->file);
    mr_config_errors_document(faults, next->document);
    struct mr_fill fill = {.errors = faults};
    mr_options_fixed(&fill, mr_root_rows(), old, next);
    for (size_t i = 0; i < next->doors_count; i++) {
        if (next->hub_options[i])
            mr_options_fixed(&fill, next->doors[i]->hub_options, old->hub_options[i], next->hub_options[i]);
    }
    for (size_t i = 0; i < next->sources_count; i++)
        diff_source(&fill, old, next, i);
    if (mr_config_errors_count(faults) > 0)
        return refuse(NULL, faults, errors);
    mr_config_errors_free(faults);
    *errors = NULL;
    return MR_OK;
}

bool mr_config_source_same(const struct mr_config *a, size_t source_a, const struct mr_config *b, size_t source_b)
{
    const struct mr_config_source *x = &a->sources[source_a], *y = &b->sources[source_b];
    return strcmp(x->name, y->name) == 0 && x->door == y->door && mr_options_same(a->doors[x->door]->options, x->options, y->options);
}

bool mr_config_hub_same(const struct mr_config *a, const struct mr_config *b, size_t door)
{
    return !a->hub_options[door] || mr_options_same(a->doors[door]->hub_options, a->hub_options[door], b->hub_options[door]);
}
