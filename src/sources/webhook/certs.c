/* SPDX-License-Identifier: Apache-2.0 */
#include "certs.h"

#include "millrace/alert.h"
#include "millrace/clock.h"
#include "millrace/worker.h"

#include <assert.h>
#include <stdlib.h>

enum { PAIRS_MAX = 64 };
static const int64_t SOON_US = INT64_C(14) * 86400 * 1000000;
static const int64_t LOOK_EVERY_US = INT64_C(60) * 1000000;

static const char *const auths[] = {"required", "optional", NULL};
#define PAIR(field) offsetof(struct certs_pair, field)
static const struct mr_option pair_rows[] = {
    {.name = "cert", .type = MR_T_PATH, .offset = PAIR(cert), .flags = MR_OPT_MANDATORY, .doc = "PEM file: the certificate with its chain."},
    {.name = "key", .type = MR_T_PATH, .offset = PAIR(key), .flags = MR_OPT_MANDATORY, .doc = "PEM file: its private key, without a password."},
    {0},
};
#define AT(field) offsetof(struct certs_options, field)
const struct mr_option certs_rows[] = {
    {.name = "cert",
     .type = MR_T_PATH,
     .offset = AT(cert),
     .flags = MR_OPT_MANDATORY,
     .doc = "PEM file: the certificate with its chain, for whoever names no server, or one that no certificate is for. SIGHUP reads it anew."},
    {.name = "key", .type = MR_T_PATH, .offset = AT(key), .flags = MR_OPT_MANDATORY, .doc = "PEM file: its private key, without a password."},
    {.name = "more",
     .type = MR_T_LIST,
     .offset = AT(more),
     .sub = pair_rows,
     .sub_size = sizeof(struct certs_pair),
     .max = "63",
     .doc = "Further certificates. The client's server name (SNI) chooses, by the names in them."},
    {.name = "client_ca",
     .type = MR_T_PATH,
     .offset = AT(client_ca),
     .doc = "PEM file: who may sign clients' certificates (mutual TLS). Without it none is asked for."},
    {.name = "client_auth",
     .type = MR_T_ENUM,
     .offset = AT(client_auth),
     .def = "required",
     .choices = auths,
     .doc = "With client_ca: required, or optional, which lets a client without a certificate in too."},
    {0},
};

/* ---- reading ---- */

struct files { /* copies: a config may go while a worker reads */
    struct mr_tls_pair pairs[PAIRS_MAX];
    struct mr_tls_options options;
};

static void files_of(struct files *f, const struct certs_options *o)
{
    const struct certs_pair *more = o->more.items;
    f->pairs[0] = (struct mr_tls_pair){o->cert, o->key};
    size_t n = 1;
    for (size_t i = 0; i < o->more.count && n < PAIRS_MAX; i++)
        f->pairs[n++] = (struct mr_tls_pair){more[i].cert, more[i].key};
    f->options = (struct mr_tls_options){.pairs = f->pairs, .pairs_count = n, .client_ca = o->client_ca, .client_optional = o->client_auth == 1};
}

enum mr_code certs_read(const struct certs_options *o, struct mr_tls **out, struct mr_err *err)
{
    struct files f;
    files_of(&f, o);
    return mr_tls_new(&f.options, out, err);
}

/* ---- in use ---- */

struct certs {
    struct mr_loop *loop;
    struct mr_tls *tls;
    int64_t looked_us;
    /* a reload */
    struct mr_job job;
    bool out, again;
    struct files wanted; /* of the job that is out; its strings are ours */
    const struct certs_options *next; /* of the one after it */
    struct mr_http_server **server;
    struct mr_tls *read;
    struct mr_err err;
    void (*stop_cb)(void *arg);
    void *stop_arg;
};

struct certs *certs_new(struct mr_loop *loop)
{
    struct certs *c = calloc(1, sizeof *c);
    assert(c);
    c->loop = loop;
    return c;
}

/* Those that end soon, in the alert and the metric. */
static void look(struct certs *c, int64_t now_us)
{
    size_t worst = 0;
    c->looked_us = now_us;
    if (!c->tls)
        return;
    for (size_t i = 0; i < mr_tls_pairs(c->tls); i++) {
        int64_t ends_us = mr_tls_expires_us(c->tls, i);
        mr_cell_set(mr_metric(c->loop->metrics, MR_M_TLS_EXPIRY, mr_tls_path(c->tls, i)), (double)ends_us / 1e6);
        worst = ends_us < mr_tls_expires_us(c->tls, worst) ? i : worst;
    }
    int64_t left_us = mr_tls_expires_us(c->tls, worst) - now_us;
    if (left_us < 0)
        mr_alert_open(c->loop->alerts, MR_A_CERTIFICATE, NULL, NULL, "%s has ended", mr_tls_path(c->tls, worst));
    else if (left_us < SOON_US)
        mr_alert_open(c->loop->alerts, MR_A_CERTIFICATE, NULL, NULL, "%s ends in %lld days", mr_tls_path(c->tls, worst),
                      (long long)(left_us / 86400 / 1000000));
    else
        mr_alert_close(c->loop->alerts, MR_A_CERTIFICATE, NULL, NULL);
}

void certs_look(struct certs *c, int64_t now_us)
{
    int64_t since_us = now_us - c->looked_us;
    if (since_us >= LOOK_EVERY_US || since_us < 0)
        look(c, now_us);
}

enum mr_code certs_open(struct certs *c, const struct certs_options *o, struct mr_err *err)
{
    if (o && certs_read(o, &c->tls, err) != MR_OK)
        return mr_err_wrap(err, "http.tls");
    look(c, mr_wall_us());
    return MR_OK;
}

struct mr_tls *certs_tls(const struct certs *c)
{
    return c->tls;
}

/* ---- a reload ---- */

static char *copy(const char *s)
{
    char *p = s ? strdup(s) : NULL;
    assert(p || !s);
    return p;
}

static void wanted_free(struct files *f)
{
    for (size_t i = 0; i < f->options.pairs_count; i++) {
        free((char *)(uintptr_t)f->pairs[i].cert);
        free((char *)(uintptr_t)f->pairs[i].key);
    }
    free((char *)(uintptr_t)f->options.client_ca);
    f->options.pairs_count = 0;
    f->options.client_ca = NULL;
}

static void read_run(struct mr_job *job) /* Runs on: worker */
{
    struct certs *c = MR_OF(job, struct certs, job);
    if (mr_tls_new(&c->wanted.options, &c->read, &c->err) != MR_OK)
        c->read = NULL;
}

static void use(struct certs *c, struct mr_tls *tls)
{
    mr_tls_drop(c->tls);
    c->tls = tls;
    if (*c->server)
        mr_http_tls_set(*c->server, tls);
    look(c, mr_wall_us());
}

static void certs_free(struct certs *c)
{
    mr_tls_drop(c->tls);
    free(c);
}

static void read_done(struct mr_job *job, bool canceled)
{
    struct certs *c = MR_OF(job, struct certs, job);
    c->out = false;
    wanted_free(&c->wanted);
    if (c->stop_cb) {
        void (*cb)(void *) = c->stop_cb;
        void *arg = c->stop_arg;
        mr_tls_drop(c->read);
        certs_free(c);
        cb(arg);
        return;
    }
    if (c->read) {
        use(c, c->read);
        mr_log_info(c->loop->log, NULL, "certificates", MR_I("count", mr_tls_pairs(c->tls)), MR_S("for", "new connections"));
    } else if (!canceled) {
        mr_log_error(c->loop->log, NULL, "certificates_refused", MR_S("why", c->err.msg), MR_S("hint", "the old ones are in use"));
        mr_alert_open(c->loop->alerts, MR_A_CERTIFICATE, NULL, NULL, "%s; the old ones are in use", c->err.msg);
    }
    c->read = NULL;
    if (c->again) {
        c->again = false;
        certs_reload(c, c->next, c->server);
    }
}

void certs_reload(struct certs *c, const struct certs_options *o, struct mr_http_server **server)
{
    struct files f;
    c->server = server;
    if (c->out) {
        c->again = true;
        c->next = o;
        return;
    }
    if (!o) {
        use(c, NULL);
        return;
    }
    files_of(&f, o);
    c->wanted = f;
    c->wanted.options.pairs = c->wanted.pairs;
    c->wanted.options.client_ca = copy(f.options.client_ca);
    for (size_t i = 0; i < f.options.pairs_count; i++)
        c->wanted.pairs[i] = (struct mr_tls_pair){copy(f.pairs[i].cert), copy(f.pairs[i].key)};
    c->out = true;
    c->read = NULL;
    c->job = (struct mr_job){.run = read_run, .done = read_done};
    mr_worker_submit(c->loop->workers, MR_LANE_MISC, &c->job);
}

void certs_stop(struct certs *c, void (*cb)(void *arg), void *arg)
{
    if (c->out) {
        c->stop_cb = cb;
        c->stop_arg = arg;
        return;
    }
    certs_free(c);
    cb(arg);
}
