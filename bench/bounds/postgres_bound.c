/* SPDX-License-Identifier: Apache-2.0 */
/* bench/bounds/postgres_bound.c - the least program that takes a table from PostgreSQL by libpq: what no reader on one
 * connection beats.
 *
 *     mr_bench_postgres_bound CONNINFO TABLE null|lines|zstd [FILE]
 *
 * null   takes each row of one binary COPY and lets it go.
 * lines  makes each row a JSON object and writes it, with a newline, into FILE; fdatasync after every 16 MiB and at the end.
 * zstd   the same through zstd, level 1, in the same thread.
 *
 * It prints how many rows there were. It knows bigint, text, numeric and timestamptz, which is what the bench's table
 * has. No envelope, no transaction ids, no position, no chunks, on purpose; it waits in read(), since it has nothing else
 * to do. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { COLUMNS_MAX = 64, LINES_BYTES = 1 << 20, SYNC_BYTES = 16 << 20, LEVEL = 1 };
enum { OID_INT8 = 20, OID_TEXT = 25, OID_NUMERIC = 1700, OID_TIMESTAMPTZ = 1184 };
enum { HEADER = 11 + 4 + 4 }; /* of a binary COPY: signature, flags, length of the extension */
enum mode { NOTHING, LINES, ZSTD };

struct out {
    enum mode mode;
    int fd;
    size_t unsynced;
    char *lines; /* LINES_BYTES, gathered before they are written or compressed */
    size_t length;
    ZSTD_CCtx *zstd;
    char *packed;
    size_t packed_size;
};

struct column {
    Oid type;
    char name[128]; /* as the JSON has it: ,"name": */
    size_t name_length;
};

struct table {
    int columns;
    struct column column[COLUMNS_MAX];
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "mr_bench_postgres_bound: %s: %s\n", what, why);
    exit(1);
}

static void *alloc(size_t size)
{
    void *p = malloc(size);
    if (!p)
        die("malloc", strerror(errno));
    return p;
}

/* --- out ---------------------------------------------------------------------------------------------------- */

static void sync_out(struct out *o)
{
    if (fdatasync(o->fd) != 0)
        die("fdatasync", strerror(errno));
    o->unsynced = 0;
}

static void write_all(struct out *o, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t n = write(o->fd, data, length);
        if (n < 0)
            die("write", strerror(errno));
        data += n;
        length -= (size_t)n;
        o->unsynced += (size_t)n;
        if (o->unsynced >= SYNC_BYTES)
            sync_out(o);
    }
}

static void compress_lines(struct out *o, ZSTD_EndDirective how)
{
    ZSTD_inBuffer in = {o->lines, o->length, 0};
    size_t left = 0;
    do {
        ZSTD_outBuffer out = {o->packed, o->packed_size, 0};
        left = ZSTD_compressStream2(o->zstd, &out, &in, how);
        if (ZSTD_isError(left))
            die("zstd", ZSTD_getErrorName(left));
        write_all(o, o->packed, out.pos);
    } while (in.pos < in.size || (how == ZSTD_e_end && left > 0));
}

static void flush_lines(struct out *o, ZSTD_EndDirective how)
{
    if (o->mode == ZSTD)
        compress_lines(o, how);
    else
        write_all(o, o->lines, o->length);
    o->length = 0;
}

static void open_out(struct out *o, const char *path)
{
    o->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (o->fd < 0)
        die(path, strerror(errno));
    o->lines = alloc(LINES_BYTES);
    if (o->mode == ZSTD) {
        o->packed_size = ZSTD_CStreamOutSize();
        o->packed = alloc(o->packed_size);
        o->zstd = ZSTD_createCCtx();
        if (!o->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_compressionLevel, LEVEL)))
            die("zstd", "cannot be set up");
    }
}

static void close_out(struct out *o)
{
    if (o->mode == NOTHING)
        return;
    flush_lines(o, ZSTD_e_end);
    sync_out(o);
    close(o->fd);
    ZSTD_freeCCtx(o->zstd);
    free(o->packed);
    free(o->lines);
}

/* --- values: each writes at p, where there is room, and returns where it ended -------------------------------- */

static uint16_t get16(const char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return ntohs(v);
}

static uint32_t get32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return ntohl(v);
}

static int64_t get64(const char *p)
{
    return (int64_t)((uint64_t)get32(p) << 32 | get32(p + 4));
}

static char *put_text(char *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p, text, n);
    return p + n;
}

static char *put_padded(char *p, uint32_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        p[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return p + digits;
}

static char *put_int(char *p, int64_t value)
{
    char digits[20];
    int n = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        digits[n++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (value < 0)
        *p++ = '-';
    while (n > 0)
        *p++ = digits[--n];
    return p;
}

static char *put_string(char *p, const char *s, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    *p++ = '"';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            *p++ = '\\';
            *p++ = (char)c;
        } else if (c < 0x20) {
            p = put_text(p, "\\u00");
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        } else {
            *p++ = (char)c;
        }
    }
    *p++ = '"';
    return p;
}

/* Groups of four decimal digits, the first worth 10000^weight; `scale` digits are shown after the point. */
static char *put_numeric(char *p, const char *v)
{
    int groups = get16(v), weight = (int16_t)get16(v + 2), sign = get16(v + 4), scale = get16(v + 6);
    if (sign != 0 && sign != 0x4000)
        return put_text(p, sign == 0xC000 ? "\"NaN\"" : sign == 0xD000 ? "\"Infinity\"" : "\"-Infinity\"");
    if (sign)
        *p++ = '-';
    if (weight < 0)
        *p++ = '0';
    for (int i = 0; i <= weight; i++) {
        uint16_t group = i < groups ? get16(v + 8 + 2 * i) : 0;
        p = i == 0 ? put_int(p, group) : put_padded(p, group, 4);
    }
    if (scale == 0)
        return p;
    *p++ = '.';
    char *end = p + scale;
    for (int i = weight + 1; p < end; i++)
        p = put_padded(p, i >= 0 && i < groups ? get16(v + 8 + 2 * i) : 0, 4);
    return end;
}

/* Days since 2000-01-01 to a date, by Howard Hinnant's days_from_civil turned round; years 1 to 9999. */
static char *put_date(char *p, int64_t days)
{
    int64_t z = days + 730425; /* 2000-01-01 in days since 0000-03-01 */
    int64_t era = z / 146097, doe = z % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    p = put_padded(p, (uint32_t)(yoe + era * 400 + (month <= 2)), 4);
    *p++ = '-';
    p = put_padded(p, (uint32_t)month, 2);
    *p++ = '-';
    return put_padded(p, (uint32_t)(doy - (153 * mp + 2) / 5 + 1), 2);
}

static char *put_timestamptz(char *p, int64_t us)
{
    const int64_t day = INT64_C(86400000000), first = -730119, end = 2921940; /* year 1 and year 10000 */
    if (us == INT64_MAX || us == INT64_MIN)
        return put_text(p, us == INT64_MAX ? "\"infinity\"" : "\"-infinity\"");
    int64_t days = us / day - (us % day < 0), rest = us - days * day;
    if (days < first || days >= end)
        die("a time", "outside of the years that this bench knows");
    uint32_t seconds = (uint32_t)(rest / 1000000);
    *p++ = '"';
    p = put_date(p, days);
    *p++ = 'T';
    p = put_padded(p, seconds / 3600, 2);
    *p++ = ':';
    p = put_padded(p, seconds / 60 % 60, 2);
    *p++ = ':';
    p = put_padded(p, seconds % 60, 2);
    *p++ = '.';
    p = put_padded(p, (uint32_t)(rest % 1000000), 6);
    return put_text(p, "Z\"");
}

static char *put_value(char *p, Oid type, const char *v, uint32_t length)
{
    switch (type) {
    case OID_INT8:
        return put_int(p, get64(v));
    case OID_NUMERIC:
        return put_numeric(p, v);
    case OID_TIMESTAMPTZ:
        return put_timestamptz(p, get64(v));
    default:
        return put_string(p, v, length);
    }
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static void describe(PGconn *db, const char *name, struct table *t)
{
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT * FROM %s LIMIT 0", name);
    PGresult *r = PQexec(db, sql);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        die(sql, PQerrorMessage(db));
    t->columns = PQnfields(r);
    if (t->columns < 1 || t->columns > COLUMNS_MAX)
        die(name, "no columns, or too many for this bench");
    for (int i = 0; i < t->columns; i++) {
        struct column *c = &t->column[i];
        c->type = PQftype(r, i);
        if (c->type != OID_INT8 && c->type != OID_TEXT && c->type != OID_NUMERIC && c->type != OID_TIMESTAMPTZ)
            die(PQfname(r, i), "of a type that this bench does not know");
        c->name_length = (size_t)snprintf(c->name, sizeof c->name, "%c\"%s\":", i ? ',' : '{', PQfname(r, i));
    }
    PQclear(r);
}

static void put_row(struct out *o, const struct table *t, const char *row, size_t length)
{
    size_t most = length * 6 + (size_t)t->columns * 160; /* every byte escaped; names; digits of a number */
    if (most > LINES_BYTES)
        die("a row", "too long for this bench");
    if (o->length + most > LINES_BYTES)
        flush_lines(o, ZSTD_e_continue);
    char *p = o->lines + o->length;
    if (get16(row) != t->columns)
        die("a row", "not as many values as columns");
    row += 2;
    for (int i = 0; i < t->columns; i++) {
        const struct column *c = &t->column[i];
        uint32_t size = get32(row);
        row += 4;
        memcpy(p, c->name, c->name_length);
        p += c->name_length;
        if (size == UINT32_MAX) {
            p = put_text(p, "null");
        } else {
            p = put_value(p, c->type, row, size);
            row += size;
        }
    }
    p = put_text(p, "}\n");
    o->length = (size_t)(p - o->lines);
}

static unsigned long long take_all(PGconn *db, const char *name, struct out *o)
{
    struct table t;
    describe(db, name, &t);
    char sql[256];
    snprintf(sql, sizeof sql, "COPY %s TO STDOUT (FORMAT binary)", name);
    PGresult *r = PQexec(db, sql);
    if (PQresultStatus(r) != PGRES_COPY_OUT)
        die(sql, PQerrorMessage(db));
    PQclear(r);
    unsigned long long count = 0;
    bool first = true;
    char *message = NULL;
    int length;
    while ((length = PQgetCopyData(db, &message, 0)) > 0) {
        const char *row = message;
        if (first) { /* the header comes alone, or before the first row */
            row += HEADER;
            length -= HEADER;
            first = false;
        }
        if (length >= 2 && get16(row) != UINT16_MAX) {
            count++;
            if (o->mode != NOTHING)
                put_row(o, &t, row, (size_t)length);
        }
        PQfreemem(message);
    }
    r = PQgetResult(db);
    if (length == -2 || PQresultStatus(r) != PGRES_COMMAND_OK)
        die("COPY", PQerrorMessage(db));
    PQclear(r);
    return count;
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"null", "lines", "zstd"};
    struct out o = {.fd = -1};
    size_t mode = 0;
    while (argc >= 4 && mode < 3 && strcmp(argv[3], modes[mode]) != 0)
        mode++;
    o.mode = (enum mode)mode;
    if (argc < 4 || mode == 3 || argc != (o.mode == NOTHING ? 4 : 5)) {
        fprintf(stderr, "usage: mr_bench_postgres_bound CONNINFO TABLE null|lines|zstd [FILE]\n");
        return 2;
    }
    if (o.mode != NOTHING)
        open_out(&o, argv[4]);
    PGconn *db = PQconnectdb(argv[1]);
    if (PQstatus(db) != CONNECTION_OK)
        die("connect", PQerrorMessage(db));
    unsigned long long count = take_all(db, argv[2], &o);
    close_out(&o);
    PQfinish(db);
    printf("%llu\n", count);
    return 0;
}
