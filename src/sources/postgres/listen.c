/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c - a NOTIFY on the channel of the config starts runs at once: of the stream that its payload names, or of all. A hint only: what is missed while
 * the connection is down, the schedule finds; and once it is up again, all run. */
#include "postgres.h"

#include "millrace/hash.h"

static void wake(struct postgres *pg, struct mr_str name)
{
    bool known = false;
    for (size_t i = 0; i < pg->streams_count; i++)
        known |= mr_str_eq(name, mr_str_c(pg->streams[i].name));
    for (size_t i = 0; i < pg->streams_count; i++)
        if (!known || mr_str_eq(name, mr_str_c(pg->streams[i].name)))
            pg->streams[i].wanted = true;
    streams_pump(pg);
}

static void on_notify(void *arg, struct mr_str channel, struct mr_str payload)
{
    struct postgres *pg = arg;
    if (mr_str_eq(channel, mr_str_c(pg->o->listen)))
        wake(pg, payload);
}

static void again_later(struct postgres *pg, const struct mr_err *err)
{
    mr_log_warn(pg->loop->log, pg->name, "listen_again", MR_S("why", err->msg));
    pg->listen_at_ms = mr_loop_now_ms(pg->loop) + (uint64_t)mr_backoff_next(&pg->listen_backoff, mr_random_u64());
}

static void on_listening(void *arg, const struct mr_err *err, const char *state)
{
    struct postgres *pg = arg;
    (void)state;
    if (err->code == MR_ECANCELED)
        return;
    if (err->code != MR_OK) {
        pg_conn_close(pg->listener);
        again_later(pg, err);
        return;
    }
    mr_backoff_reset(&pg->listen_backoff);
    wake(pg, (struct mr_str){0});
}

static void on_open(void *arg, const struct mr_err *err)
{
    struct postgres *pg = arg;
    const struct pg_query q = {.on_end = on_listening, .arg = pg};
    struct mr_buf sql;
    if (err->code != MR_OK) {
        again_later(pg, err);
        return;
    }
    mr_buf_init(&sql, 4096);
    mr_buf_puts(&sql, "LISTEN ");
    pg_ident_put(&sql, pg->o->listen);
    pg_conn_query(pg->listener, mr_buf_cstr(&sql), &q);
    mr_buf_free(&sql);
}

void listen_pump(struct postgres *pg)
{
    if (!pg->o->listen || !pg->up || pg->core->once || pg->draining || pg->stopping)
        return;
    if (!pg->listener) {
        const bool primary = pg->has_primary; /* a standby hears nothing */
        const struct pg_conn_options options = {.loop = pg->loop,
                                                .source = pg->name,
                                                .dsn = primary ? pg->o->primary_dsn : pg->o->dsn,
                                                .password = primary ? pg->primary_password : pg->o->password.value,
                                                .stall_ms = pg->o->stall_ms,
                                                .on_notify = on_notify,
                                                .arg = pg};
        pg->listen_backoff = mr_backoff_of(500, 30000);
        pg->listener = pg_conn_new(&options);
    }
    if (pg_conn_ready(pg->listener) || pg_conn_busy(pg->listener) || mr_loop_now_ms(pg->loop) < pg->listen_at_ms)
        return;
    pg_conn_open(pg->listener, on_open, pg);
}

static void on_gone(void *arg)
{
    struct postgres *pg = arg;
    pg->closing--;
    postgres_pump(pg);
}

void listen_close(struct postgres *pg)
{
    if (!pg->listener)
        return;
    pg->closing++;
    pg_conn_free(pg->listener, on_gone, pg);
    pg->listener = NULL;
}
