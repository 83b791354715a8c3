/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h - a zone in a folder of its own, and small acts on it. Assertions inside are cmocka's. */
#ifndef MILLRACE_TESTS_ZONE_FIXTURE_H
#define MILLRACE_TESTS_ZONE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/zone.h"

#include <stdio.h>
#include <stdlib.h>

#define ME         "instance-a"
#define DAY_FOLDER "source=shop/stream=orders/ingest_date=2026-11-22"

struct fixture {
    char root[64];
    char url[80];
    struct mr_zone *zone;
    struct mr_err err;
};

int fixture_up(void **state); /* opens the zone and takes ME */
int fixture_down(void **state);
int fixture_temp_up(void **state); /* the folder only: for children that open the zone themselves */
void remove_tree(const char *path);

bool exists(const struct fixture *f, const char *path);
void put_file(const struct fixture *f, const char *path, struct mr_str bytes);
/* The file's whole text equals `want`. */
bool file_is(const struct fixture *f, const char *path, struct mr_str want);
/* Stages a synced, closed file; *item says where it is and where it goes. The strings are the caller's to free by
 * item_free(). */
struct mr_publish_item stage(struct fixture *f, const char *name, struct mr_str bytes);
void item_free(struct mr_publish_item *item);

extern const struct CMUnitTest envelope_tests[], local_tests[], moved_tests[], verify_tests[];
extern const size_t envelope_tests_count, local_tests_count, moved_tests_count, verify_tests_count;

#endif
