/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/fault.h"

static const char *const point_names[] = {
#define MR_POINT_NAME(name) #name,
    MR_POINTS(MR_POINT_NAME)
#undef MR_POINT_NAME
};

const char *mr_point_name(enum mr_point p)
{
    return (unsigned)p < MR_POINT_COUNT ? point_names[p] : "?";
}

#if MR_FAULTS
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPECS_MAX = 32, SPEC_LEN_MAX = 128 };

struct spec {
    enum mr_point point;
    long first, last; /* passings, from 1, both inclusive */
    int sys;          /* 0: crash */
};

/* Written once under pthread_once, read-only afterwards; the counters are atomic. */
static struct {
    struct spec specs[SPECS_MAX];
    int count;
    bool mutants[MR_MUTANT_COUNT];
} plan;
static atomic_long passed[MR_POINT_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A campaign that silently tests nothing is worse than none: any mistake ends the program. */
static _Noreturn void refuse(const char *variable, const char *spec, const char *why)
{
    fprintf(stderr, "%s: \"%s\": %s\n", variable, spec, why);
    fflush(stderr);
    _exit(2);
}

static bool take_number(const char *text, char **end, long *v)
{
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *v = strtol(text, end, 10);
    return errno == 0 && *v > 0;
}

static bool parse_range(const char *text, struct spec *spec)
{
    char *end;
    if (strcmp(text, "*") == 0) {
        spec->first = 1;
        spec->last = LONG_MAX;
        return true;
    }
    if (!take_number(text, &end, &spec->first))
        return false;
    spec->last = spec->first;
    if (*end == '-' && !take_number(end + 1, &end, &spec->last))
        return false;
    return *end == '\0' && spec->last >= spec->first;
}

static int parse_errno(const char *text)
{
    char *end;
    long v;
    if (take_number(text, &end, &v) && *end == '\0' && v < 4096)
        return (int)v;
    for (int sys = 1; sys < 256; sys++) {
        const char *name = strerrorname_np(sys);
        if (name && strcmp(name, text) == 0)
            return sys;
    }
    return 0;
}

static bool parse_point(const char *text, enum mr_point *point)
{
    for (int p = 0; p < MR_POINT_COUNT; p++)
        if (strcmp(point_names[p], text) == 0) {
            *point = (enum mr_point)p;
            return true;
        }
    return false;
}

/* "point:n" or, if `fails`, "point:n:ERRNO". */
static void add_spec(const char *variable, char *text, bool fails)
{
    char whole[SPEC_LEN_MAX];
    snprintf(whole, sizeof whole, "%s", text);
    struct spec spec = {0};
    char *rest = text, *name = strsep(&rest, ":"), *range = strsep(&rest, ":"), *sys = strsep(&rest, ":");
    if (!parse_point(name, &spec.point))
        refuse(variable, whole, "no such point (include/millrace/fault.h lists them)");
    if (!range || !parse_range(range, &spec))
        refuse(variable, whole, "the passing must be n, a-b or *, from 1");
    if (!fails && (sys || spec.first != spec.last))
        refuse(variable, whole, "must be point:n");
    if (fails && (!sys || rest || (spec.sys = parse_errno(sys)) == 0))
        refuse(variable, whole, "must be point:n:ERRNO");
    if (plan.count == SPECS_MAX)
        refuse(variable, whole, "too many");
    plan.specs[plan.count++] = spec;
}

static void add_mutant(const char *variable, char *text, bool fails)
{
    static const char *const names[] = {
#define MR_MUTANT_NAME(name) #name,
        MR_MUTANTS(MR_MUTANT_NAME)
#undef MR_MUTANT_NAME
    };
    (void)fails;
    for (int m = 0; m < MR_MUTANT_COUNT; m++)
        if (strcmp(names[m], text) == 0) {
            plan.mutants[m] = true;
            return;
        }
    refuse(variable, text, "no such mutant (no_sync, no_dirsync, no_cas)");
}

static void read_variable(const char *variable, void (*add)(const char *, char *, bool), bool fails)
{
    const char *value = getenv(variable);
    if (!value || !*value)
        return;
    char copy[SPECS_MAX * SPEC_LEN_MAX];
    if (strlen(value) >= sizeof copy)
        refuse(variable, "...", "too long");
    memcpy(copy, value, strlen(value) + 1);
    char *rest = copy;
    for (char *one; (one = strsep(&rest, ",")) != NULL;)
        add(variable, one, fails);
}

static void read_plan(void)
{
    read_variable("MILLRACE_CRASH", add_spec, false);
    read_variable("MILLRACE_FAIL", add_spec, true);
    read_variable("MILLRACE_MUTANT", add_mutant, false);
}

int mr_point_hit(enum mr_point p)
{
    pthread_once(&once, read_plan);
    long n = atomic_fetch_add(&passed[p], 1) + 1;
    int sys = 0;
    for (int i = 0; i < plan.count; i++) {
        const struct spec *spec = &plan.specs[i];
        if (spec->point != p || n < spec->first || n > spec->last)
            continue;
        if (spec->sys == 0) {
            kill(getpid(), SIGKILL); /* not abort(): no handler, no flush, as the kernel's own killer would */
            for (;;)
                pause(); /* the signal may reach another thread first; nothing after the point may happen */
        }
        sys = spec->sys;
    }
    return sys;
}

int mr_mutant_on(enum mr_mutant m)
{
    pthread_once(&once, read_plan);
    return plan.mutants[m];
}
#endif
