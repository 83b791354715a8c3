/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/state/child.h"

#include "unit/state/fixture.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static enum mr_code decide_step(struct fix *f, int64_t expected)
{
    struct small s;
    struct mr_seen id = {.day = TEST_DAY};
    struct mr_row row = {MR_STR("s"), MR_STR("t"), MR_STR("k"), MR_STR("count"), MR_STR("0"), expected};
    char count[16];
    snprintf(count, sizeof count, "%d", (int)expected + 1);
    row.value = mr_str_c(count);
    id.id[0] = (unsigned char)(expected + 1);
    small_init(&s, f, "p", expected, (int)expected + 1);
    small_file(&s, TEST_DAY);
    s.d.rows = &row;
    s.d.rows_count = 1;
    s.d.seen = &id;
    s.d.seen_count = 1;
    return fix_decide(f, &s.d);
}

/* -- a disk that fails at the commit: no file may grow, or hold a byte at all -------------------------------------- */

struct healer {
    uv_timer_t timer;
    struct fix *fix;
    bool healed, alerted;
};

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        exit(1);
}

static void heal(uv_timer_t *timer)
{
    struct healer *h = MR_OF(timer, struct healer, timer);
    h->healed = true;
    h->alerted = mr_alerts_open_count(h->fix->loop.alerts) == 1;
    limit_files(RLIM_INFINITY);
    uv_close((uv_handle_t *)timer, NULL);
}

static enum mr_code broken_disk(struct fix *f, const char *url, bool nothing_works)
{
    struct healer h = {.fix = f};
    struct stat st;
    char log[256];
    signal(SIGXFSZ, SIG_IGN); /* then a write beyond the limit fails with EFBIG, which is not "no room" */
    snprintf(log, sizeof log, "%s-wal", url + strlen("sqlite:"));
    if (decide_step(f, 0) != MR_OK || stat(log, &st) != 0)
        return MR_ECORRUPT;
    limit_files(nothing_works ? 0 : (rlim_t)st.st_size);
    uv_timer_init(&f->loop.uv, &h.timer);
    uv_timer_start(&h.timer, heal, 1200, 0);
    if (decide_step(f, 1) != MR_EIO || h.healed != nothing_works)
        return MR_ECORRUPT; /* with nothing to write to nobody could know, so nobody may be told */
    while (!h.healed)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    if (!h.alerted)
        return MR_ECORRUPT;
    enum mr_code code = decide_step(f, 1);
    return mr_alerts_open_count(f->loop.alerts) == 0 ? code : MR_ECORRUPT;
}

/* Nobody can know what became of the decision: it is answered as canceled, soon, and the store can be closed. */
static enum mr_code ending(struct fix *f)
{
    struct small s;
    signal(SIGXFSZ, SIG_IGN);
    alarm(30);
    if (decide_step(f, 0) != MR_OK)
        return MR_ECORRUPT;
    limit_files(0);
    small_init(&s, f, "p", 1, 2);
    small_file(&s, TEST_DAY);
    unsigned answers = f->answers;
    mr_store_decide(f->store, &s.d, fix_on_decided, f);
    mr_store_ending(f->store);
    fix_run_until(f, answers + 1);
    enum mr_code code = f->code;
    if (fix_position(f, "s", "t", "p") != MR_ECANCELED) /* what is asked for later does not wait again */
        code = MR_ECORRUPT;
    fix_close(f);
    limit_files(RLIM_INFINITY);
    return code;
}

static enum mr_code chain(struct fix *f, bool again)
{
    enum mr_code code = decide_step(f, 0);
    for (int64_t step = 1; step < 2 && code == MR_OK; step++) {
        code = decide_step(f, step);
        if (again && (code == MR_EIO || code == MR_ENOSPC)) {
            if (mr_alerts_open_count(f->loop.alerts) != 1)
                exit(1);
            code = decide_step(f, step);
            if (mr_alerts_open_count(f->loop.alerts) != 0)
                exit(1);
        }
    }
    return code;
}

/* Several of these at once: each step is won by one of them. */
static enum mr_code climb(struct fix *f)
{
    int won = 0, lost = 0;
    alarm(150); /* nobody may be left spinning */
    puts("up");
    fflush(stdout);
    while (won < 100) {
        struct small s;
        if (fix_position(f, "s", "t", "p") != MR_OK) {
            if (mr_code_class(f->code) != MR_CLASS_RETRY)
                return f->code;
            poll(NULL, 0, 20);
            continue;
        }
        small_init(&s, f, "p", f->version, (int)f->version + 1);
        small_file(&s, TEST_DAY);
        snprintf(s.landing, sizeof s.landing, "L-%d-%d", (int)getpid(), won + lost);
        s.d.landing = mr_str_c(s.landing);
        enum mr_code code = fix_decide(f, &s.d);
        won += code == MR_OK;
        lost += code != MR_OK;
        if (code != MR_OK && code != MR_EFENCED && mr_code_class(code) != MR_CLASS_RETRY)
            return code;
        if (code != MR_OK && code != MR_EFENCED)
            poll(NULL, 0, 20);
    }
    printf("%d\n", lost);
    return MR_OK;
}

static enum mr_code until_it_works(struct fix *f)
{
    enum mr_code code = decide_step(f, 0);
    if (code != MR_OK)
        return code;
    for (int tries = 0; tries < 200 && (code = decide_step(f, 1)) != MR_OK && mr_code_class(code) == MR_CLASS_RETRY; tries++)
        printf("%s\n", f->msg);
    return code;
}

int child_main(const char *what, const char *url)
{
    struct fix *f = fix_new(url);
    enum mr_code code = MR_EIO;
    rmdir(f->dir); /* the store is in the parent's; a child that is killed leaves nothing */
    bool set = strcmp(what, "set") == 0;
    if (strcmp(what, "open") == 0 || strcmp(what, "make") == 0) {
        code = fix_open(f, strcmp(what, "make") == 0);
        printf("%s\n", f->msg);
        fix_free(f);
        return 10 + (int)code;
    }
    if (fix_open(f, !set) != MR_OK || (!set && fix_begin(f) != MR_OK))
        return 1;
    if (set)
        code = WAIT_DONE(f, mr_store_position_set(f->store, MR_STR("s"), MR_STR("t"), MR_STR("p"),
                                                  MR_STR("{\"at\":77}"), fix_on_done, f));
    else if (strcmp(what, "stale") == 0)
        code = decide_step(f, 0) == MR_OK ? decide_step(f, 0) : MR_EIO;
    else if (strcmp(what, "broken") == 0 || strcmp(what, "dead") == 0)
        code = broken_disk(f, url, strcmp(what, "dead") == 0);
    else if (strcmp(what, "ending") == 0)
        code = ending(f);
    else if (strcmp(what, "climb") == 0)
        code = climb(f);
    else if (strcmp(what, "again2") == 0)
        code = until_it_works(f);
    else
        code = chain(f, strcmp(what, "again") == 0);
    fix_free(f);
    return 10 + (int)code;
}

int child_run(const char *what, const char *url, const char *variable)
{
    int status;
    char name[64], *copy = variable ? strdup(variable) : NULL;
    if (copy) {
        *strchr(copy, '=') = '\0';
        snprintf(name, sizeof name, "%s", copy);
    }
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (copy)
            setenv(name, strchr(variable, '=') + 1, 1);
        execl("/proc/self/exe", "test_state", what, url, (char *)NULL);
        _exit(127);
    }
    free(copy);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}
