/* SPDX-License-Identifier: Apache-2.0 */
/* scan.c - a segment as a stream of records, stepping over what is damaged.
 *
 * happy path    group header, records up to its end, the next group's header there, ... up to the end that is known
 * ways to fail  a bad header: searched for the next header that is one; a bad record: searched for the next record
 *               of the same group. The bytes between are one DAMAGE item each. A read that fails leaves the position
 *               as it is.
 *
 * Memory: a chunk, or the largest record. A record above a chunk is checked piece by piece before memory is taken
 * for it, so that a damaged length costs no memory. */
#include "queue/format.h"

#include "millrace/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHUNK = 512 << 10, PIECE = 32 << 10 };
/* A payload may be full of what looks like record headers (a sender who wants us to burn): what the search may checksum. */
static const uint64_t search_budget = UINT64_C(256) << 20;

void mr_scan_init(struct mr_scan *s, int fd, uint64_t salt, uint64_t start, uint64_t end, uint64_t first_seq)
{
    *s = (struct mr_scan){.fd = fd, .salt = salt, .off = start, .end = end, .last_seq = first_seq ? first_seq - 1 : 0};
}

void mr_scan_free(struct mr_scan *s)
{
    free(s->buf);
    s->buf = NULL;
    s->cap = s->n = 0;
}

static int grow(struct mr_scan *s, size_t need)
{
    size_t cap = need > CHUNK ? need : CHUNK;
    if (s->cap >= cap)
        return 0;
    char *p = realloc(s->buf, cap);
    if (!p)
        return ENOMEM;
    s->buf = p;
    s->cap = cap;
    return 0;
}

/* Brings [off, off + n) into memory. 0; ENODATA: the file ends before; else errno. Bytes above s->end are not read, so that
 * what the writer is writing is never seen half. */
static int need(struct mr_scan *s, uint64_t off, size_t n, const char **p)
{
    *p = NULL;
    if (off + n > s->end)
        return ENODATA;
    if (off < s->buf_off || off + n > s->buf_off + s->n) {
        int sys = grow(s, n);
        if (sys)
            return sys;
        size_t keep = 0;
        if (off >= s->buf_off && off < s->buf_off + s->n) {
            keep = (size_t)(s->buf_off + s->n - off);
            memmove(s->buf, s->buf + (off - s->buf_off), keep);
        }
        s->buf_off = off;
        s->n = keep;
        uint64_t upto = s->end - off < s->cap ? s->end - off : s->cap;
        while (s->n < upto) {
            ssize_t got = pread(s->fd, s->buf + s->n, (size_t)upto - s->n, (off_t)(off + s->n));
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return errno;
            if (got == 0)
                break;
            s->n += (size_t)got;
        }
        if (s->n < n)
            return ENODATA;
    }
    *p = s->buf + (off - s->buf_off);
    return 0;
}

static int group_at(struct mr_scan *s, uint64_t off, struct mr_group_head *g, bool *is)
{
    const char *p;
    int sys = need(s, off, MR_GROUP_BYTES, &p);
    *is = sys == 0 && mr_group_get((const unsigned char *)p, s->salt, off, s->end, g) && g->first_seq > s->last_seq;
    return sys == ENODATA ? 0 : sys;
}

/* The next offset from `off` on where a group of this segment begins; s->end if none does. */
static int group_find(struct mr_scan *s, uint64_t off, uint64_t *found)
{
    for (off = mr_round_up(off, 8); off + MR_GROUP_BYTES <= s->end; off += 8) {
        struct mr_group_head g;
        bool is;
        int sys = group_at(s, off, &g, &is);
        if (sys)
            return sys;
        if (is) {
            *found = off;
            return 0;
        }
    }
    *found = s->end;
    return 0;
}

/* Checksum of a record that need not fit into memory. */
static int crc_far(const struct mr_scan *s, uint64_t off, uint64_t bytes, uint32_t *crc)
{
    char piece[PIECE];
    *crc = s->seed;
    for (uint64_t at = 4; at < bytes;) {
        size_t want = bytes - at < sizeof piece ? (size_t)(bytes - at) : sizeof piece;
        ssize_t got = pread(s->fd, piece, want, (off_t)(off + at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            return ENODATA;
        *crc = mr_crc32c(*crc, piece, (size_t)got);
        at += (uint64_t)got;
    }
    return 0;
}

/* Is there a record of the group at hand at `off`, with an index from `least` on? */
static int record_at(struct mr_scan *s, uint64_t off, uint32_t least, struct mr_record_head *h, bool *is)
{
    const char *p;
    *is = false;
    if (off + MR_RECORD_BYTES > s->group.end)
        return 0;
    int sys = need(s, off, MR_RECORD_BYTES, &p);
    if (sys)
        return sys == ENODATA ? 0 : sys;
    if (!mr_record_get(p, h) || h->index < least || h->index >= s->group.count)
        return 0;
    size_t bytes = MR_RECORD_BYTES + (size_t)h->source + h->payload;
    if (mr_round_up(bytes, 8) > s->group.end - off)
        return 0;
    uint32_t crc = 0;
    if (bytes > CHUNK) {
        sys = crc_far(s, off, bytes, &crc);
    } else {
        sys = need(s, off, bytes, &p);
        if (sys == 0)
            crc = mr_record_crc(p, s->seed, bytes);
    }
    *is = sys == 0 && crc == h->crc;
    return sys == ENODATA ? 0 : sys;
}

/* A damaged record begins at s->off: where does the next good one of this group begin? The group's end if none does. */
static int record_find(struct mr_scan *s, uint64_t *found, uint32_t *index)
{
    uint64_t spent = 0;
    for (uint64_t off = s->off + 8; off + MR_RECORD_BYTES <= s->group.end && spent < search_budget; off += 8) {
        struct mr_record_head h = {.index = UINT32_MAX};
        bool is;
        int sys = record_at(s, off, s->index, &h, &is);
        if (sys)
            return sys;
        if (is) {
            *found = off;
            *index = h.index;
            return 0;
        }
        if (h.index < s->group.count && h.index >= s->index)
            spent += h.payload < s->group.end - off ? h.payload : 0;
    }
    *found = s->group.end;
    *index = s->group.count;
    return 0;
}

static void damage(struct mr_scan *s, uint64_t to, struct mr_scan_item *out)
{
    *out = (struct mr_scan_item){.kind = MR_SCAN_DAMAGE, .from = s->off, .to = to};
    s->off = to;
}

static void fail(struct mr_scan_item *out, int sys)
{
    *out = (struct mr_scan_item){.kind = MR_SCAN_FAILED, .sys = sys};
}

/* True: entered a group, or stepped over one. False: out tells. */
static bool enter_group(struct mr_scan *s, struct mr_scan_item *out)
{
    bool is;
    int sys = group_at(s, s->off, &s->group, &is);
    if (sys == 0 && !is) {
        uint64_t found;
        sys = group_find(s, s->off + 8, &found);
        if (sys == 0)
            damage(s, found, out);
    }
    if (sys)
        fail(out, sys);
    if (sys || !is)
        return false;
    if (s->group.count)
        s->last_seq = s->group.first_seq + s->group.count - 1;
    if (s->group.first_seq + s->group.count <= s->skip_below || s->group.count == 0) {
        s->off = s->group.end;
        return true;
    }
    s->in_group = true;
    s->index = 0;
    s->seed = mr_record_seed(s->salt, s->group.first_seq);
    s->off += MR_GROUP_BYTES;
    return true;
}

static void give_record(struct mr_scan *s, const struct mr_record_head *h, struct mr_scan_item *out)
{
    size_t bytes = MR_RECORD_BYTES + (size_t)h->source + h->payload;
    const char *p;
    int sys = need(s, s->off, bytes, &p);
    if (sys) {
        fail(out, sys == ENODATA ? EIO : sys); /* it was there a moment ago */
        return;
    }
    *out = (struct mr_scan_item){.kind = MR_SCAN_RECORD, .seq = s->group.first_seq + h->index};
    out->source = (struct mr_str){p + MR_RECORD_BYTES, h->source};
    out->payload = (struct mr_str){p + MR_RECORD_BYTES + h->source, h->payload};
    s->off += mr_round_up(bytes, 8);
    s->index = h->index + 1;
}

void mr_scan_next(struct mr_scan *s, struct mr_scan_item *out)
{
    for (;;) {
        if (s->in_group && s->off == s->group.end && s->index >= s->group.count)
            s->in_group = false;
        if (!s->in_group) {
            if (s->off >= s->end) {
                *out = (struct mr_scan_item){.kind = MR_SCAN_END};
                return;
            }
            if (!enter_group(s, out))
                return;
            continue;
        }
        struct mr_record_head h;
        bool is;
        int sys = record_at(s, s->off, s->index, &h, &is);
        if (sys == 0 && is) {
            give_record(s, &h, out);
            return;
        }
        uint64_t found;
        uint32_t index;
        if (sys == 0)
            sys = record_find(s, &found, &index);
        if (sys) {
            fail(out, sys);
            return;
        }
        s->index = index;
        s->in_group = found < s->group.end;
        if (found > s->off) {
            damage(s, found, out);
            return;
        }
    }
}

/* -- the tail --------------------------------------------------------------------------------------------------- */

/* Steps over the group at s->off if every record of it is whole. *whole false: it is not, s->off has not moved. */
static int step_whole(struct mr_scan *s, bool *whole, bool *marker)
{
    struct mr_group_head g;
    int sys = group_at(s, s->off, &g, whole);
    if (sys || !*whole)
        return sys;
    struct mr_scan in = *s; /* borrows the buffer; given back below */
    in.end = g.end;
    uint32_t seen = 0;
    for (;;) {
        struct mr_scan_item item;
        mr_scan_next(&in, &item);
        if (item.kind == MR_SCAN_RECORD) {
            seen++;
            continue;
        }
        sys = item.kind == MR_SCAN_FAILED ? item.sys : 0;
        *whole = item.kind == MR_SCAN_END && seen == g.count;
        break;
    }
    s->buf = in.buf;
    s->cap = in.cap;
    s->n = in.n;
    s->buf_off = in.buf_off;
    if (sys == 0 && *whole) {
        s->off = g.end;
        s->last_seq = g.first_seq + g.count - 1;
        *marker = g.count == 0;
    }
    return sys;
}

enum mr_code mr_scan_tail(int fd, uint64_t salt, uint64_t start, uint64_t size, uint64_t first_seq, uint64_t *end,
                          bool *torn, struct mr_err *err)
{
    struct mr_scan s;
    mr_scan_init(&s, fd, salt, start, size, first_seq);
    int sys = 0;
    bool marker = false;
    *torn = false;
    *end = start;
    while (sys == 0 && !marker && s.off + MR_GROUP_BYTES <= s.end) {
        bool whole;
        sys = step_whole(&s, &whole, &marker);
        if (sys || whole)
            continue;
        struct mr_group_head g;
        bool head;
        uint64_t found = s.end;
        sys = group_at(&s, s.off, &g, &head);
        if (sys == 0)
            sys = group_find(&s, s.off + 8, &found);
        if (sys == 0 && found == s.end) {
            *torn = head;
            break;
        }
        if (sys == 0)
            s.off = found;
    }
    *end = s.off;
    mr_scan_free(&s);
    return sys ? mr_err_sys(err, sys, "read") : MR_OK;
}
