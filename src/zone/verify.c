/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - does a published file still hold what was decided? The state store says how long it is, how many rows it
 * has and what its checksum is; deep, every byte is read again, every line must be JSON. What is wrong is an answer
 * (check->state), not an error. */
#include "local.h"

#include "millrace/hash.h"
#include "millrace/json.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 64 << 10, LINE_LIMIT = 1 << 30 };

static enum mr_code file_crc(const char *path, uint32_t *crc, struct mr_err *err)
{
    char piece[PIECE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mr_err_sys(err, errno, "open %s", path);
    enum mr_code code = MR_OK;
    *crc = 0;
    for (ssize_t n; code == MR_OK && (n = read(fd, piece, sizeof piece)) != 0;) {
        if (n > 0)
            *crc = mr_crc32c(*crc, piece, (size_t)n);
        else if (errno != EINTR)
            code = mr_err_sys(err, errno, "read %s", path);
    }
    close(fd);
    return code;
}

struct rows {
    struct mr_buf rest; /* a line whose end is in the next piece */
    int64_t count;
    bool bad;
};

static void row(struct rows *rows, struct mr_str line)
{
    rows->count++;
    if (mr_json_check(line, NULL) != MR_OK)
        rows->bad = true;
}

static enum mr_code on_piece(void *arg, struct mr_str piece, struct mr_err *err)
{
    struct rows *rows = arg;
    const char *p = piece.p, *end = p + piece.n;
    for (const char *lf; p < end && (lf = memchr(p, '\n', (size_t)(end - p))) != NULL; p = lf + 1) {
        struct mr_str line = {p, (size_t)(lf - p)};
        if (rows->rest.n) {
            mr_buf_put(&rows->rest, line.p, line.n);
            line = mr_buf_str(&rows->rest);
        }
        row(rows, line);
        rows->rest.n = 0;
    }
    if (p < end)
        mr_buf_put(&rows->rest, p, (size_t)(end - p));
    return rows->rest.failed ? mr_err_set(err, MR_EMALFORMED, "a line of more than %d bytes", LINE_LIMIT) : MR_OK;
}

static enum mr_codec codec_of(const char *path)
{
    static const enum mr_codec codecs[] = {MR_CODEC_ZSTD, MR_CODEC_GZIP};
    size_t n = strlen(path);
    for (size_t i = 0; i < MR_COUNT(codecs); i++) {
        const char *extension = mr_codec_extension(codecs[i]);
        size_t m = strlen(extension);
        if (n >= m && strcmp(path + n - m, extension) == 0)
            return codecs[i];
    }
    return MR_CODEC_NONE;
}

static enum mr_code check_rows(const char *path, const char *name, struct mr_file_check *check, struct mr_err *err)
{
    struct rows rows = {.count = 0};
    mr_buf_init(&rows.rest, LINE_LIMIT);
    enum mr_code code = mr_inflate_file(path, codec_of(name), on_piece, &rows, err);
    if (code == MR_EMALFORMED || code == MR_ECORRUPT || code == MR_ETOOBIG) {
        rows.bad = true;
        code = MR_OK;
    }
    if (rows.rest.n > 0) /* bytes after the last LF */
        rows.bad = true;
    mr_buf_free(&rows.rest);
    if (code == MR_OK && (rows.bad || rows.count != check->rows))
        check->state = MR_FILE_ROWS;
    return code;
}

enum mr_code mr_zone_check_bytes(const char *file, const char *name, struct mr_file_check *check, struct mr_err *err)
{
    uint32_t crc = 0;
    enum mr_code code = file_crc(file, &crc, err);
    if (code != MR_OK)
        return code;
    if (crc != check->crc32c) {
        check->state = MR_FILE_CRC;
        return MR_OK;
    }
    return check_rows(file, name, check, err);
}

enum mr_code local_check_file(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err)
{
    char path[PATH_MAX];
    enum mr_code code = local_path(local_of(z), check->path, NULL, path, err);
    if (code != MR_OK)
        return code;
    check->state = MR_FILE_OK;
    struct stat st;
    if (stat(path, &st) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return mr_err_sys(err, errno, "stat %s", path);
        check->state = MR_FILE_MISSING;
        return MR_OK;
    }
    if (!S_ISREG(st.st_mode) || st.st_size != check->bytes) {
        check->state = MR_FILE_SIZE;
        return MR_OK;
    }
    if (!check->deep)
        return MR_OK;
    return mr_zone_check_bytes(path, path, check, err);
}
