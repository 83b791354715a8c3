/* SPDX-License-Identifier: Apache-2.0 */
/* moved.c - the zone is moved away by hand in the middle of a publish, where no named point is: between the rename and
 * the folders' syncs. The linker's --wrap gives that place. */
#include "fixture.h"

#include <stdlib.h>

/* Set by the test before the rename is due; the linker's --wrap gives no other place for it. */
static struct fixture *move_away;

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);

static void away_of(const struct fixture *f, char out[128])
{
    snprintf(out, 128, "%s.away", f->root);
}

int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    int rc = __real_renameat2(from_fd, from, to_fd, to, flags);
    char away[128];
    if (rc == 0 && move_away) {
        away_of(move_away, away);
        assert_int_equal(rename(move_away->root, away), 0);
        move_away = NULL;
    }
    return rc;
}

static void a_zone_moved_away_during_a_publish_is_a_delay_and_no_loss(void **state)
{
    struct fixture *f = *state;
    char away[128];
    struct mr_publish_item item = stage(f, "a", MR_STR("{\"n\":1}\n"));
    away_of(f, away);
    move_away = f;
    assert_int_equal(mr_zone_publish(f->zone, &item, 1, &f->err), MR_EIO);
    assert_int_equal(item.code, MR_EIO);
    assert_int_equal(rename(away, f->root), 0);
    assert_int_equal(mr_zone_publish(f->zone, &item, 1, &f->err), MR_OK);
    assert_true(file_is(f, item.path, MR_STR("{\"n\":1}\n")));
    item_free(&item);
}

const struct CMUnitTest moved_tests[] = {
    cmocka_unit_test_setup_teardown(a_zone_moved_away_during_a_publish_is_a_delay_and_no_loss, fixture_up, fixture_down),
};
const size_t moved_tests_count = MR_COUNT(moved_tests);
