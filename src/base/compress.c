/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/compress.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { CHUNK = 64 * 1024, GZIP_WINDOW = 15 + 16 /* zlib: the largest window, in gzip's wrapping */ };

const char *mr_codec_extension(enum mr_codec c)
{
    static const char *const extensions[] = {"", ".zst", ".gz"};
    return extensions[c];
}

struct mr_deflater {
    enum mr_codec codec;
    ZSTD_CCtx *zstd;
    z_stream gzip;
};

static enum mr_code zstd_new(struct mr_deflater *d, int level, struct mr_err *err)
{
    if (level < ZSTD_minCLevel() || level > ZSTD_maxCLevel())
        return mr_err_set(err, MR_ECONFIG, "zstd level %d: take 1 to %d", level, ZSTD_maxCLevel());
    d->zstd = ZSTD_createCCtx();
    if (!d->zstd)
        return mr_err_sys(err, ENOMEM, "zstd compressor");
    /* The frame's checksum lets `verify --deep`, and any reader, tell a damaged file. */
    if (ZSTD_isError(ZSTD_CCtx_setParameter(d->zstd, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(d->zstd, ZSTD_c_checksumFlag, 1)))
        return mr_err_set(err, MR_ECONFIG, "zstd refuses level %d", level);
    return MR_OK;
}

static enum mr_code gzip_new(struct mr_deflater *d, int level, struct mr_err *err)
{
    if (level < Z_DEFAULT_COMPRESSION || level > Z_BEST_COMPRESSION)
        return mr_err_set(err, MR_ECONFIG, "gzip level %d: take 1 to 9", level);
    if (deflateInit2(&d->gzip, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return mr_err_sys(err, ENOMEM, "gzip compressor");
    return MR_OK;
}

enum mr_code mr_deflater_new(enum mr_codec c, int level, struct mr_deflater **out, struct mr_err *err)
{
    struct mr_deflater *d = calloc(1, sizeof *d);
    if (!d)
        return mr_err_sys(err, ENOMEM, "compressor");
    d->codec = c;
    enum mr_code code = c == MR_CODEC_ZSTD   ? zstd_new(d, level, err)
                        : c == MR_CODEC_GZIP ? gzip_new(d, level, err)
                                             : MR_OK;
    if (code != MR_OK) {
        mr_deflater_free(d);
        return code;
    }
    *out = d;
    return MR_OK;
}

void mr_deflater_free(struct mr_deflater *d)
{
    if (!d)
        return;
    ZSTD_freeCCtx(d->zstd);
    if (d->gzip.state)
        deflateEnd(&d->gzip);
    free(d);
}

void mr_deflater_reset(struct mr_deflater *d)
{
    if (d->codec == MR_CODEC_ZSTD)
        ZSTD_CCtx_reset(d->zstd, ZSTD_reset_session_only);
    else if (d->codec == MR_CODEC_GZIP)
        deflateReset(&d->gzip);
}

/* Some room at the end of `out`, as much as its limit leaves up to a chunk; 0 sets failed. */
static size_t room(struct mr_buf *out)
{
    size_t left = out->limit - out->n, more = left < CHUNK ? left : CHUNK;
    return mr_buf_reserve(out, more > 0 ? more : 1) ? more : 0;
}

static enum mr_code no_room(const struct mr_buf *out, struct mr_err *err)
{
    if (out->n == out->limit)
        return mr_err_set(err, MR_ETOOBIG, "compressed bytes exceed %zu", out->limit);
    return mr_err_sys(err, ENOMEM, "compressed bytes");
}

static enum mr_code zstd_feed(struct mr_deflater *d, struct mr_str in, bool end, struct mr_buf *out, struct mr_err *err)
{
    ZSTD_inBuffer src = {in.p, in.n, 0};
    ZSTD_EndDirective mode = end ? ZSTD_e_end : ZSTD_e_continue;
    size_t left = 1; /* not yet flushed, as far as zstd knows */
    while (src.pos < src.size || (end && left > 0)) {
        size_t n = room(out);
        if (n == 0)
            return no_room(out, err);
        ZSTD_outBuffer dst = {out->p + out->n, n, 0};
        left = ZSTD_compressStream2(d->zstd, &dst, &src, mode);
        out->n += dst.pos;
        if (ZSTD_isError(left))
            return mr_err_set(err, ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? MR_ENOMEM : MR_EIO,
                              "zstd: %s", ZSTD_getErrorName(left));
    }
    return MR_OK;
}

static enum mr_code gzip_feed(struct mr_deflater *d, struct mr_str in, bool end, struct mr_buf *out, struct mr_err *err)
{
    z_stream *z = &d->gzip;
    z->next_in = (const unsigned char *)in.p;
    size_t left = in.n; /* not yet given to zlib, whose lengths have 32 bits */
    z->avail_in = 0;
    for (int rc = Z_OK; rc != Z_STREAM_END;) {
        if (z->avail_in == 0) {
            z->avail_in = (uInt)(left < UINT_MAX ? left : UINT_MAX);
            left -= z->avail_in;
        }
        if (z->avail_in == 0 && !end)
            return MR_OK; /* zlib keeps what it has not written yet */
        size_t n = room(out);
        if (n == 0)
            return no_room(out, err);
        z->next_out = (unsigned char *)out->p + out->n;
        z->avail_out = (uInt)n;
        rc = deflate(z, end && left == 0 ? Z_FINISH : Z_NO_FLUSH);
        out->n += n - z->avail_out;
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) /* Z_BUF_ERROR: wants more room */
            return mr_err_set(err, MR_EIO, "gzip: %s", z->msg ? z->msg : "failed");
    }
    deflateReset(z); /* more would be a member of its own */
    return MR_OK;
}

enum mr_code mr_deflater_feed(struct mr_deflater *d, struct mr_str in, bool end, struct mr_buf *out, struct mr_err *err)
{
    if (out->failed)
        return mr_err_set(err, MR_EIO, "compress into a buffer that has failed");
    if (d->codec == MR_CODEC_ZSTD)
        return zstd_feed(d, in, end, out, err);
    if (d->codec == MR_CODEC_GZIP)
        return gzip_feed(d, in, end, out, err);
    mr_buf_put(out, in.p, in.n);
    if (!out->failed)
        return MR_OK;
    return in.n > out->limit - out->n ? mr_err_set(err, MR_ETOOBIG, "bytes exceed %zu", out->limit)
                                      : mr_err_sys(err, ENOMEM, "bytes");
}

/* Room for inflate, but never past `limit` decoded bytes: at the limit one byte of scratch tells "just fits" from
 * "more". */
static bool gunzip_room(z_stream *z, struct mr_buf *out, size_t start, size_t limit, unsigned char *scratch)
{
    size_t left = limit - (out->n - start);
    size_t n = left < CHUNK ? left : CHUNK;
    if (n > 0 && !mr_buf_reserve(out, n))
        return false;
    z->next_out = n > 0 ? (unsigned char *)out->p + out->n : scratch;
    z->avail_out = n > 0 ? (uInt)n : 1;
    return true;
}

static enum mr_code gunzip_failed(int rc, const z_stream *z, struct mr_err *err)
{
    if (rc == Z_MEM_ERROR)
        return mr_err_sys(err, ENOMEM, "gzip");
    return mr_err_set(err, MR_EMALFORMED, "gzip: %s",
                      z->msg              ? z->msg
                      : rc == Z_BUF_ERROR ? "ends too early"
                                          : "not a gzip stream");
}

static enum mr_code gunzip_into(z_stream *z, struct mr_str in, size_t limit, struct mr_buf *out, struct mr_err *err)
{
    size_t start = out->n, left = in.n;
    unsigned char scratch;
    z->next_in = (const unsigned char *)in.p;
    for (;;) {
        if (z->avail_in == 0) {
            z->avail_in = (uInt)(left < UINT_MAX ? left : UINT_MAX);
            left -= z->avail_in;
        }
        if (!gunzip_room(z, out, start, limit, &scratch))
            return mr_err_set(err, out->limit - start < limit ? MR_ETOOBIG : MR_ENOMEM,
                              "gzip: no room for the decoded bytes");
        size_t offered = z->avail_out;
        bool at_limit = z->next_out == &scratch;
        int rc = inflate(z, Z_NO_FLUSH);
        size_t made = offered - z->avail_out;
        if (at_limit && made > 0)
            return mr_err_set(err, MR_ETOOBIG, "gzip: more than %zu bytes decoded", limit);
        out->n += made;
        if (rc == Z_STREAM_END && z->avail_in == 0 && left == 0)
            return MR_OK;
        if (rc == Z_STREAM_END)
            inflateReset(z); /* another member; what follows must be one */
        else if (rc != Z_OK)
            return gunzip_failed(rc, z, err);
    }
}

enum mr_code mr_gunzip(struct mr_str in, size_t limit, struct mr_buf *out, struct mr_err *err)
{
    z_stream z = {0};
    if (out->failed)
        return mr_err_set(err, MR_EIO, "inflate into a buffer that has failed");
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return mr_err_sys(err, ENOMEM, "gzip");
    size_t start = out->n;
    enum mr_code code = gunzip_into(&z, in, limit, out, err);
    inflateEnd(&z);
    if (code != MR_OK)
        out->n = start; /* half a body is none */
    return code;
}

/* Reading a file back. A file may hold several frames or members, one after the other. */
struct inflater {
    const char *path;
    int fd;
    char *in, *out; /* CHUNK each, one block */
    mr_inflate_cb cb;
    void *arg;
};

/* 0 at the end. */
static enum mr_code fill(struct inflater *f, size_t *n, struct mr_err *err)
{
    ssize_t got;
    do
        got = read(f->fd, f->in, CHUNK);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return mr_err_sys(err, errno, "read %s", f->path);
    *n = (size_t)got;
    return MR_OK;
}

static enum mr_code cut_short(const struct inflater *f, struct mr_err *err)
{
    return mr_err_set(err, MR_ECORRUPT, "%s: ends in the middle of a compressed frame", f->path);
}

static enum mr_code inflate_none(struct inflater *f, struct mr_err *err)
{
    for (;;) {
        size_t n = 0;
        enum mr_code code = fill(f, &n, err);
        if (code != MR_OK || n == 0)
            return code;
        code = f->cb(f->arg, (struct mr_str){f->in, n}, err);
        if (code != MR_OK)
            return code;
    }
}

static enum mr_code zstd_piece(struct inflater *f, ZSTD_DCtx *z, ZSTD_inBuffer *src, size_t *left, struct mr_err *err)
{
    bool flushed = false; /* all input may be taken while decoded bytes still wait inside */
    while (src->pos < src->size || !flushed) {
        ZSTD_outBuffer dst = {f->out, CHUNK, 0};
        size_t rc = ZSTD_decompressStream(z, &dst, src);
        if (ZSTD_isError(rc))
            return mr_err_set(err, MR_ECORRUPT, "%s: zstd: %s", f->path, ZSTD_getErrorName(rc));
        *left = rc;
        flushed = dst.pos < dst.size || rc == 0;
        enum mr_code code = dst.pos > 0 ? f->cb(f->arg, (struct mr_str){f->out, dst.pos}, err) : MR_OK;
        if (code != MR_OK)
            return code;
    }
    return MR_OK;
}

static enum mr_code inflate_zstd(struct inflater *f, struct mr_err *err)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    if (!z)
        return mr_err_sys(err, ENOMEM, "zstd decompressor");
    size_t left = 1, n = 0; /* an empty file is no frame */
    enum mr_code code = fill(f, &n, err);
    while (code == MR_OK && n > 0) {
        code = zstd_piece(f, z, &(ZSTD_inBuffer){f->in, n, 0}, &left, err);
        if (code == MR_OK)
            code = fill(f, &n, err);
    }
    ZSTD_freeDCtx(z);
    return code == MR_OK && left != 0 ? cut_short(f, err) : code;
}

static enum mr_code gzip_piece(struct inflater *f, z_stream *z, int *rc, struct mr_err *err)
{
    do {
        if (*rc == Z_STREAM_END)
            inflateReset(z);
        z->next_out = (unsigned char *)f->out;
        z->avail_out = CHUNK;
        *rc = inflate(z, Z_NO_FLUSH);
        if (*rc != Z_OK && *rc != Z_STREAM_END && *rc != Z_BUF_ERROR)
            return mr_err_set(err, MR_ECORRUPT, "%s: gzip: %s", f->path, z->msg ? z->msg : "damaged");
        size_t made = CHUNK - z->avail_out;
        enum mr_code code = made > 0 ? f->cb(f->arg, (struct mr_str){f->out, made}, err) : MR_OK;
        if (code != MR_OK)
            return code;
    } while (z->avail_in > 0 || (z->avail_out == 0 && *rc != Z_STREAM_END));
    return MR_OK;
}

static enum mr_code inflate_gzip(struct inflater *f, struct mr_err *err)
{
    z_stream z = {0};
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return mr_err_sys(err, ENOMEM, "gzip decompressor");
    int rc = Z_OK;
    size_t n = 0;
    enum mr_code code = fill(f, &n, err);
    while (code == MR_OK && n > 0) {
        z.next_in = (const unsigned char *)f->in;
        z.avail_in = (uInt)n;
        code = gzip_piece(f, &z, &rc, err);
        if (code == MR_OK)
            code = fill(f, &n, err);
    }
    inflateEnd(&z);
    return code == MR_OK && rc != Z_STREAM_END ? cut_short(f, err) : code;
}

enum mr_code mr_inflate_file(const char *path, enum mr_codec c, mr_inflate_cb cb, void *arg, struct mr_err *err)
{
    struct inflater f = {.path = path, .cb = cb, .arg = arg};
    f.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f.fd < 0)
        return mr_err_sys(err, errno, "open %s", path);
    enum mr_code code;
    f.in = malloc(2 * CHUNK);
    if (!f.in) {
        code = mr_err_sys(err, ENOMEM, "read %s", path);
    } else {
        f.out = f.in + CHUNK;
        code = c == MR_CODEC_ZSTD   ? inflate_zstd(&f, err)
               : c == MR_CODEC_GZIP ? inflate_gzip(&f, err)
                                    : inflate_none(&f, err);
    }
    free(f.in);
    close(f.fd);
    return code;
}

uint32_t mr_crc32(struct mr_str bytes)
{
    return (uint32_t)crc32_z(0, (const unsigned char *)(bytes.n ? bytes.p : ""), bytes.n);
}
