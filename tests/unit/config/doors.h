/* SPDX-License-Identifier: Apache-2.0 */
/* doors.h - two doors for the tests of config/, one with a hub, with a row of every type; and loading from text. */
#ifndef MR_TEST_CONFIG_DOORS_H
#define MR_TEST_CONFIG_DOORS_H

#include "millrace/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct gate_item {
    char *name;
    int64_t weight;
};
struct gate_named {
    char *name; /* the key in the file */
    char *table, *watermark, *pin;
    struct mr_strings keys;
    struct { int64_t most; struct { double drop, rise; } rows; } expect;
    bool extra_given;
    struct { char *must; } extra;
    struct mr_list items;
};
struct gate_options {
    char *text, *word, *path, *listen;
    bool flag;
    int64_t number, size, duration, time;
    int choice;
    struct mr_secret secret;
    struct mr_strings strings;
    struct mr_secrets secrets;
    struct { char *name; int64_t depth; } map;
    bool extra_given;
    struct { char *must; int64_t window; } extra;
    struct { char *kind; bool strict; } shape;
    struct mr_list items;
    struct mr_pairs pairs;
    double real;
    struct mr_list named;
};
struct gate_hub {
    struct { char *listen; int64_t limit; } http;
};
struct plain_options {
    char *path;
};
extern const struct mr_door gate_door, plain_door;
extern const struct mr_door *const test_doors[2];

/* Loads `text` as /etc/millrace/m.yaml with the two doors and an environment of FULL=swordfish, EMPTY=, PORT=:9, ADDRESS=127.0.0.1:1,
 * MODE=fast. NULL: refused, and its errors are in last_errors(). */
struct mr_config *load(const char *text);
struct mr_config *load_n(struct mr_str text);
const char *last_errors(void);
/* The options of the first source of a config of `rows` below sources.s.gate, each line of it indented by the caller with 6 blanks. */
struct mr_config *load_gate(const char *rows);
const struct gate_options *gate(const struct mr_config *config);
/* The text is refused, with exactly these lines; and with this line among others. */
void refused(const char *text, const char *lines);
void refused_with(const char *text, const char *part);
void gate_refused(const char *rows, const char *lines);
void drop_last_errors(void);

#define TESTS(name) extern const struct CMUnitTest name##_tests[]; extern const size_t name##_count
TESTS(units);
TESTS(load);
TESTS(options);
TESTS(pairs);
TESTS(named);
TESTS(secrets);
TESTS(sources);
TESTS(errors);
TESTS(reload);
TESTS(pages);

#endif
