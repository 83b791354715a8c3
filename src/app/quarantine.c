/* SPDX-License-Identifier: Apache-2.0 */
/* quarantine.c - bytes in quarantine are for a person to look at: shown as a metric, and kept for
 * state.keep. */
#include "app.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct quarantine_look {
    struct mr_job job;
    struct app *app;
    int64_t before_us;
    struct quarantine_found {
        char source[256];
        double bytes;
    } * found;
    size_t found_count;
    uint64_t deleted;
};

static double look_at_folder(struct quarantine_look *q, const char *path)
{
    double bytes = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        if ((int64_t)st.st_mtim.tv_sec * 1000000 < q->before_us && unlinkat(dirfd(d), e->d_name, 0) == 0)
            q->deleted++;
        else
            bytes += (double)st.st_size;
    }
    if (d)
        closedir(d);
    return bytes;
}

static void look_run(struct mr_job *job) /* Runs on: worker */
{
    struct quarantine_look *q = MR_OF(job, struct quarantine_look, job);
    char root[4096], path[4096 + 256];
    snprintf(root, sizeof root, "%s/quarantine", q->app->data_dir);
    DIR *d = opendir(root);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        struct quarantine_found *found = realloc(q->found, (q->found_count + 1) * sizeof *found);
        if (!found)
            break;
        q->found = found;
        snprintf(path, sizeof path, "%s/%s", root, e->d_name);
        struct quarantine_found *f = &found[q->found_count++];
        snprintf(f->source, sizeof f->source, "%s", e->d_name);
        f->bytes = look_at_folder(q, path);
    }
    if (d)
        closedir(d);
}

static void look_done(struct mr_job *job, bool canceled)
{
    struct quarantine_look *q = MR_OF(job, struct quarantine_look, job);
    struct app *a = q->app;
    for (size_t i = 0; i < q->found_count && !canceled; i++)
        mr_cell_set(mr_metric(a->loop.metrics, MR_M_QUARANTINE_BYTES, q->found[i].source), q->found[i].bytes);
    if (q->deleted)
        mr_log_info(a->log, NULL, "quarantine_swept", MR_I("files", q->deleted), MR_S("why", "older than state.keep"));
    free(q->found);
    free(q);
    a->quarantine_out = false;
    app_next(a);
}

void quarantine_look(struct app *a)
{
    struct quarantine_look *q = calloc(1, sizeof *q);
    if (!q || a->quarantine_out) {
        free(q);
        return;
    }
    q->app = a;
    q->before_us = mr_wall_us() - a->config->config->state.keep_ms * 1000;
    q->job = (struct mr_job){.run = look_run, .done = look_done};
    a->quarantine_out = true;
    mr_worker_submit(a->loop.workers, MR_LANE_MISC, &q->job);
}
