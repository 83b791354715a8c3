/* SPDX-License-Identifier: Apache-2.0 */
#include "position.h"

#include "millrace/hash.h"
#include "millrace/json.h"

#include <inttypes.h>
#include <stdio.h>

#define MARK "millrace/1 "

void kafka_position_put(const struct kafka_position *p, struct mr_buf *json)
{
    mr_buf_printf(json, "{\"next\":%" PRId64, p->next);
    if (p->anchor.offset >= 0)
        mr_buf_printf(json, ",\"anchor\":%" PRId64 ",\"crc\":%" PRIu32 ",\"ts\":%" PRId64, p->anchor.offset, p->anchor.crc, p->anchor.ts_ms);
    if (p->incarnation > 0)
        mr_buf_printf(json, ",\"incarnation\":%" PRId64, p->incarnation);
    mr_buf_putc(json, '}');
}

static bool member(struct mr_str json, const char *pointer, int64_t least, int64_t most, int64_t *out, struct mr_err *err)
{
    struct mr_json_slice s = mr_json_at(json, mr_str_c(pointer));
    if (s.type == MR_JSON_ABSENT)
        return true;
    if (mr_json_i64(s, out) && *out >= least && *out <= most)
        return true;
    mr_err_set(err, MR_EMALFORMED, "%s is no number of its kind in %.*s", pointer + 1, (int)(json.n < 200 ? json.n : 200), json.p);
    return false;
}

enum mr_code kafka_position_get(struct mr_str json, struct kafka_position *out, struct mr_err *err)
{
    int64_t crc = -1;
    *out = (struct kafka_position){.next = -1, .anchor = {.offset = -1}};
    if (mr_json_check(json, err) != MR_OK)
        return err->code;
    if (mr_json_i64((struct mr_json_slice){.type = MR_JSON_NUMBER, .raw = json}, &out->next) && out->next >= 0)
        return MR_OK;
    out->next = -1;
    if (!member(json, "/next", 0, INT64_MAX, &out->next, err) || !member(json, "/anchor", 0, INT64_MAX, &out->anchor.offset, err) ||
        !member(json, "/crc", 0, UINT32_MAX, &crc, err) || !member(json, "/ts", INT64_MIN, INT64_MAX, &out->anchor.ts_ms, err) ||
        !member(json, "/incarnation", 0, INT64_MAX, &out->incarnation, err))
        return err->code;
    if (out->next < 0)
        return mr_err_set(err, MR_EMALFORMED, "a position is an offset, or {\"next\": OFFSET}, not %.*s", (int)(json.n < 200 ? json.n : 200), json.p);
    if (crc < 0 || out->anchor.offset >= out->next)
        out->anchor = (struct kafka_anchor){.offset = -1}; /* set by a person: it vouches for nothing */
    else
        out->anchor.crc = (uint32_t)crc;
    return MR_OK;
}

static uint32_t piece_crc(uint32_t crc, struct mr_str s)
{
    uint64_t n = s.p ? s.n : UINT64_MAX;
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(n >> (8 * i));
    crc = mr_crc32c(crc, length, sizeof length);
    return s.p ? mr_crc32c(crc, s.p, s.n) : crc;
}

uint32_t kafka_record_crc(struct mr_str key, struct mr_str value)
{
    return piece_crc(piece_crc(0, key), value);
}

enum kafka_anchor_verdict kafka_anchor_judge(const struct kafka_anchor *anchor, int64_t offset, uint32_t crc, int64_t ts_ms)
{
    if (anchor->offset < 0 || offset != anchor->offset)
        return KAFKA_ANCHOR_GONE;
    return crc == anchor->crc && ts_ms == anchor->ts_ms ? KAFKA_ANCHOR_SAME : KAFKA_ANCHOR_OTHER;
}

enum kafka_range_verdict kafka_range_judge(int64_t next, int64_t earliest, int64_t end)
{
    if (next > end)
        return KAFKA_RANGE_CUT;
    return next < earliest ? KAFKA_RANGE_LOST : KAFKA_RANGE_FINE;
}

enum kafka_commit_owner kafka_commit_owner(int64_t offset, struct mr_str metadata, const char *store_id)
{
    size_t mark = sizeof MARK - 1;
    if (offset < 0)
        return KAFKA_COMMIT_NONE;
    if (metadata.n < mark || memcmp(metadata.p, MARK, mark) != 0)
        return KAFKA_COMMIT_STRANGER;
    struct mr_str id = {metadata.p + mark, metadata.n - mark};
    return mr_str_eq(id, mr_str_c(store_id)) ? KAFKA_COMMIT_OURS : KAFKA_COMMIT_OTHER_STORE;
}

void kafka_commit_mark(const char *store_id, char out[64])
{
    snprintf(out, 64, MARK "%s", store_id);
}
