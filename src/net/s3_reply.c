/* SPDX-License-Identifier: Apache-2.0 */
/* s3_reply.c - which leaf of an answer is which field. */
#include "s3_reply.h"

#include "xml.h"

#include <stdio.h>
#include <stdlib.h>

static void keep(char *out, size_t cap, struct mr_str text)
{
    size_t n = text.n < cap ? text.n : cap - 1;
    memcpy(out, text.n ? text.p : "", n);
    out[n] = 0;
}

/* ---- single answers ---- */

struct single {
    struct s3_error error;
    bool is_error;
    char upload_id[S3_UPLOAD_ID_MAX], etag[S3_ETAG_MAX];
    bool too_long;
};

static void single_leaf(void *arg, const char *path, struct mr_str text)
{
    struct single *s = arg;
    if (strcmp(path, "Error") == 0)
        s->is_error = true;
    else if (strcmp(path, "Error/Code") == 0)
        keep(s->error.code, sizeof s->error.code, text);
    else if (strcmp(path, "Error/Message") == 0)
        keep(s->error.message, sizeof s->error.message, text);
    else if (strcmp(path, "Error/Region") == 0)
        keep(s->error.region, sizeof s->error.region, text);
    else if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0) {
        s->too_long |= text.n >= sizeof s->upload_id;
        keep(s->upload_id, sizeof s->upload_id, text);
    } else if (strcmp(path, "CompleteMultipartUploadResult/ETag") == 0) {
        s->too_long |= text.n >= sizeof s->etag;
        keep(s->etag, sizeof s->etag, text);
    }
}

bool s3_read_error(struct mr_str xml, struct s3_error *out)
{
    struct single s = {.is_error = false};
    struct mr_err err;
    bool whole = xml_read(xml, single_leaf, &s, &err) == MR_OK;
    *out = whole && s.is_error ? s.error : (struct s3_error){.code = ""};
    return whole && s.is_error;
}

static enum mr_code read_single(struct mr_str xml, struct single *s, struct mr_err *err)
{
    if (xml_read(xml, single_leaf, s, err) != MR_OK)
        return err->code;
    if (s->is_error)
        return mr_err_set(err, MR_ENET, "%s: %s", s->error.code, s->error.message);
    return s->too_long ? mr_err_set(err, MR_EMALFORMED, "a longer id than any") : MR_OK;
}

enum mr_code s3_read_upload(struct mr_str xml, char upload_id[S3_UPLOAD_ID_MAX], struct mr_err *err)
{
    struct single s = {.is_error = false};
    if (read_single(xml, &s, err) != MR_OK)
        return err->code;
    memcpy(upload_id, s.upload_id, sizeof s.upload_id);
    return *upload_id ? MR_OK : mr_err_set(err, MR_EMALFORMED, "no InitiateMultipartUploadResult with an UploadId");
}

enum mr_code s3_read_completed(struct mr_str xml, char etag[S3_ETAG_MAX], struct mr_err *err)
{
    struct single s = {.is_error = false};
    if (read_single(xml, &s, err) != MR_OK)
        return err->code;
    memcpy(etag, s.etag, sizeof s.etag);
    return *etag ? MR_OK : mr_err_set(err, MR_EMALFORMED, "no CompleteMultipartUploadResult with an ETag");
}

/* ---- lists ---- */

/* Where an item's fields are, by list. */
static const struct kind {
    const char *root, *item;
    const char *more, *next, *next_upload; /* below the root */
} kinds[] = {
    {"ListBucketResult", "Contents", "IsTruncated", "NextContinuationToken", NULL},
    {"ListMultipartUploadsResult", "Upload", "IsTruncated", "NextKeyMarker", "NextUploadIdMarker"},
    {"ListPartsResult", "Part", "IsTruncated", "NextPartNumberMarker", NULL},
};

struct list {
    const struct kind *kind;
    s3_each each; /* NULL: only the page is looked at */
    void *arg;
    struct s3_page *page;
    char encoding[16], key[S3_TEXT_MAX], etag[S3_ETAG_MAX], modified[64], initiated[64], storage_class[64], upload_id[S3_UPLOAD_ID_MAX];
    int64_t size, part;
    bool too_long;
};

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place; AWS writes a blank as `+`. What is no escape stays. */
static void url_decode(char *s)
{
    char *out = s;
    for (; *s; s++) {
        int high = *s == '%' ? hex_digit(s[1]) : -1, low = high >= 0 ? hex_digit(s[2]) : -1;
        if (low >= 0) {
            *out++ = (char)(high << 4 | low);
            s += 2;
        } else {
            *out++ = *s == '+' ? ' ' : *s;
        }
    }
    *out = 0;
}

static int64_t number(struct mr_str text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || n > INT64_MAX / 10 - 9)
            return -1;
        n = n * 10 + (text.p[i] - '0');
    }
    return text.n ? n : -1;
}

static void clear_item(struct list *l)
{
    l->key[0] = l->etag[0] = l->modified[0] = l->initiated[0] = l->storage_class[0] = l->upload_id[0] = 0;
    l->size = l->part = -1;
}

static void item_field(struct list *l, const char *name, struct mr_str text)
{
    const struct {
        const char *name;
        char *out;
        size_t cap;
    } fields[] = {
        {"Key", l->key, sizeof l->key},
        {"ETag", l->etag, sizeof l->etag},
        {"LastModified", l->modified, sizeof l->modified},
        {"Initiated", l->initiated, sizeof l->initiated},
        {"StorageClass", l->storage_class, sizeof l->storage_class},
        {"UploadId", l->upload_id, sizeof l->upload_id},
    };
    for (size_t i = 0; i < MR_COUNT(fields); i++)
        if (strcmp(name, fields[i].name) == 0) {
            l->too_long |= text.n >= fields[i].cap;
            keep(fields[i].out, fields[i].cap, text);
        }
    if (strcmp(name, "Size") == 0)
        l->size = number(text);
    if (strcmp(name, "PartNumber") == 0)
        l->part = number(text);
}

static void item_ends(struct list *l)
{
    if (l->each && strcmp(l->encoding, "url") == 0)
        url_decode(l->key);
    if (l->each)
        l->each(l->arg, &(struct s3_item){.key = mr_str_c(l->key), .size = l->size, .etag = mr_str_c(l->etag), .modified = mr_str_c(l->modified),
                                          .storage_class = mr_str_c(l->storage_class), .upload_id = mr_str_c(l->upload_id),
                                          .initiated = mr_str_c(l->initiated), .part = l->part});
    clear_item(l);
}

static void page_field(struct list *l, const char *name, struct mr_str text)
{
    const struct kind *k = l->kind;
    if (strcmp(name, "EncodingType") == 0)
        keep(l->encoding, sizeof l->encoding, text);
    else if (strcmp(name, k->more) == 0)
        l->page->more = mr_str_eq(text, MR_STR("true"));
    else if (strcmp(name, k->next) == 0)
        keep(l->page->next, sizeof l->page->next, text);
    else if (k->next_upload && strcmp(name, k->next_upload) == 0)
        keep(l->page->next_upload, sizeof l->page->next_upload, text);
    l->too_long |= text.n >= S3_TEXT_MAX;
}

static void find_kind(struct list *l, const char *path, size_t root)
{
    for (size_t i = 0; i < MR_COUNT(kinds); i++)
        if (strlen(kinds[i].root) == root && strncmp(path, kinds[i].root, root) == 0)
            l->kind = &kinds[i];
}

static void list_leaf(void *arg, const char *path, struct mr_str text)
{
    struct list *l = arg;
    const char *slash = strchr(path, '/');
    if (!l->kind)
        find_kind(l, path, slash ? (size_t)(slash - path) : strlen(path));
    if (!l->kind || !slash)
        return;
    const char *name = slash + 1, *below = strchr(name, '/');
    size_t item = strlen(l->kind->item);
    if (strcmp(name, l->kind->item) == 0)
        item_ends(l);
    else if (!below)
        page_field(l, name, text);
    else if ((size_t)(below - name) == item && strncmp(name, l->kind->item, item) == 0 && !strchr(below + 1, '/'))
        item_field(l, below + 1, text);
}

enum mr_code s3_read_list(struct mr_str xml, s3_each each, void *arg, struct s3_page *page, struct mr_err *err)
{
    struct list l = {.arg = arg, .page = page};
    *page = (struct s3_page){.more = false};
    clear_item(&l);
    for (int pass = 0; pass < 2; pass++, l.each = each) /* how keys are encoded may stand behind them */
        if (xml_read(xml, list_leaf, &l, err) != MR_OK)
            return err->code;
    if (!l.kind)
        return mr_err_set(err, MR_EMALFORMED, "no list of S3's");
    if (l.too_long)
        return mr_err_set(err, MR_EMALFORMED, "a longer name than any");
    if (strcmp(l.encoding, "url") == 0 && l.kind && strcmp(l.kind->next, "NextKeyMarker") == 0)
        url_decode(page->next);
    return page->more && !page->next[0] ? mr_err_set(err, MR_EMALFORMED, "a list that goes on nowhere") : MR_OK;
}

/* ---- lifecycle ---- */

struct lifecycle {
    bool known, enabled;
    int64_t days, least;
};

static void lifecycle_leaf(void *arg, const char *path, struct mr_str text)
{
    struct lifecycle *l = arg;
    l->known |= strncmp(path, "LifecycleConfiguration", 22) == 0;
    if (strcmp(path, "LifecycleConfiguration/Rule/Status") == 0)
        l->enabled = mr_str_eq(text, MR_STR("Enabled"));
    else if (strcmp(path, "LifecycleConfiguration/Rule/AbortIncompleteMultipartUpload/DaysAfterInitiation") == 0)
        l->days = number(text);
    else if (strcmp(path, "LifecycleConfiguration/Rule") == 0) {
        if (l->enabled && l->days > 0 && (l->least == 0 || l->days < l->least))
            l->least = l->days;
        l->enabled = false;
        l->days = 0;
    }
}

enum mr_code s3_read_lifecycle(struct mr_str xml, int64_t *abort_days, struct mr_err *err)
{
    struct lifecycle l = {.known = false};
    if (xml_read(xml, lifecycle_leaf, &l, err) != MR_OK)
        return err->code;
    *abort_days = l.least;
    return l.known ? MR_OK : mr_err_set(err, MR_EMALFORMED, "no lifecycle configuration");
}

/* ---- what they are told ---- */

static void put_escaped(struct mr_buf *out, const char *s)
{
    for (; *s; s++) {
        const char *as = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : NULL;
        if (as)
            mr_buf_puts(out, as);
        else
            mr_buf_putc(out, *s);
    }
}

void s3_put_completion(struct mr_buf *out, const char *const *etags, size_t count)
{
    mr_buf_puts(out, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < count; i++) {
        mr_buf_printf(out, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
        put_escaped(out, etags[i]);
        mr_buf_puts(out, "</ETag></Part>");
    }
    mr_buf_puts(out, "</CompleteMultipartUpload>");
}
