/* SPDX-License-Identifier: Apache-2.0 */
/* A segment's bytes, whatever they are: reading them never crashes and never gives what was not written.
 *
 * The first byte chooses. Even: the rest is a segment file, header and all, as recovery meets it. Odd: the rest is a
 * list of orders by which a segment is written and then damaged; every record that comes back must be one that was
 * written, and every one that no damage touched must come back. */
#include "check.h"

#include "queue/format.h"

#include "millrace/hash.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { RECORDS_MAX = 256, FILE_MAX = 1 << 18 };
static const uint64_t the_salt = 0x1234567890abcdef;

struct written {
    uint64_t from, to, group_from; /* bytes that must be whole for it to come back */
    bool touched, seen;
    uint8_t fill;
    uint32_t size;
};

static int file_of(const void *bytes, size_t n)
{
    int fd = memfd_create("fuzz_queue", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(n == 0 || write(fd, bytes, n) == (ssize_t)n);
    return fd;
}

/* Records rise and lie inside; damage moves on; it ends. `all`: by sequence, what was written. */
static void scan(int fd, uint64_t salt, uint64_t start, uint64_t end, uint64_t first_seq, struct written *all)
{
    struct mr_scan s;
    struct mr_scan_item item;
    uint64_t last = 0, at = start;
    mr_scan_init(&s, fd, salt, start, end, first_seq);
    for (;;) {
        mr_scan_next(&s, &item);
        CHECK(item.kind != MR_SCAN_FAILED);
        CHECK(s.off >= at && s.off <= (end > start ? end : start));
        at = s.off;
        if (item.kind == MR_SCAN_END)
            break;
        if (item.kind == MR_SCAN_DAMAGE) {
            CHECK(item.from < item.to && item.to <= end);
            continue;
        }
        CHECK(item.seq > last && item.seq >= first_seq);
        last = item.seq;
        if (!all)
            continue;
        CHECK(item.seq <= RECORDS_MAX && !all[item.seq].seen);
        all[item.seq].seen = true;
        CHECK(item.payload.n == all[item.seq].size && mr_str_eq(item.source, MR_STR("src")));
        for (size_t i = 0; i < item.payload.n; i++)
            CHECK((uint8_t)item.payload.p[i] == all[item.seq].fill);
    }
    mr_scan_free(&s);
}

static void as_file(const uint8_t *bytes, size_t n)
{
    struct mr_seg_head h;
    struct mr_sources sources = {0};
    uint64_t start, end;
    bool torn;
    int fd = file_of(bytes, n);
    if (mr_seg_head_read(fd, &h, &start, &sources, NULL) == MR_OK && h.first_seq > 0) {
        CHECK(mr_scan_tail(fd, h.salt, start, n, h.first_seq, &end, &torn, NULL) == MR_OK);
        CHECK(end <= n || end == start);
        scan(fd, h.salt, start, end, h.first_seq, NULL);
    }
    mr_sources_free(&sources);
    close(fd);
}

struct making {
    char *file;
    size_t n;
    uint64_t next_seq;
    struct written all[RECORDS_MAX + 1];
};

static void make_group(struct making *m, const uint8_t *order, uint8_t count)
{
    size_t begin = m->n, at = begin + MR_GROUP_BYTES;
    uint32_t seed = mr_record_seed(the_salt, m->next_seq);
    uint32_t done = 0;
    static char payload[8192];
    for (; done < count && m->next_seq + done <= RECORDS_MAX; done++) {
        uint8_t fill = order[done % 3];
        uint32_t size = (uint32_t)(order[(done + 1) % 3] * (fill % 32));
        size_t bytes = mr_record_size(3, size);
        if (at + bytes > FILE_MAX)
            break;
        memset(payload, fill, size);
        mr_record_put(m->file + at, MR_STR("src"), &(struct mr_str){payload, size}, 1, size);
        mr_record_seal(m->file + at, seed, done);
        m->all[m->next_seq + done] = (struct written){at, at + MR_RECORD_BYTES + 3 + size, begin, false, false, fill, size};
        at += bytes;
    }
    struct mr_group_head g = {begin, at, m->next_seq, done};
    if (at > FILE_MAX)
        return;
    mr_group_put((unsigned char *)m->file + begin, the_salt, &g);
    m->n = at;
    m->next_seq += done;
}

static void make_damage(struct making *m, const uint8_t *order)
{
    size_t at = ((size_t)order[0] << 8 | order[1]) * 8 + order[2] % 8;
    if (m->n == 0 || order[2] == 0)
        return;
    at %= m->n;
    m->file[at] = (char)(m->file[at] ^ order[2]);
    for (uint64_t seq = 1; seq < m->next_seq; seq++) {
        struct written *w = &m->all[seq];
        bool head = at >= w->group_from && at < w->group_from + MR_GROUP_BYTES;
        w->touched = w->touched || head || (at >= w->from && at < w->to);
    }
}

static void as_orders(const uint8_t *bytes, size_t n)
{
    static struct making m;
    memset(&m, 0, sizeof m);
    m.next_seq = 1;
    m.file = calloc(1, FILE_MAX);
    CHECK(m.file);
    for (; n >= 4; bytes += 4, n -= 4) {
        if (bytes[0] < 0xc0)
            make_group(&m, bytes + 1, bytes[0] % 24);
        else
            make_damage(&m, bytes + 1);
    }
    int fd = file_of(m.file, m.n);
    scan(fd, the_salt, 0, m.n, 1, m.all);
    for (uint64_t seq = 1; seq < m.next_seq; seq++)
        CHECK(m.all[seq].seen || m.all[seq].touched);
    uint64_t end;
    bool torn;
    CHECK(mr_scan_tail(fd, the_salt, 0, m.n, 1, &end, &torn, NULL) == MR_OK);
    CHECK(end <= m.n);
    close(fd);
    free(m.file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return 0;
    if (bytes[0] % 2 == 0)
        as_file(bytes + 1, n - 1);
    else
        as_orders(bytes + 1, n - 1);
    return 0;
}
