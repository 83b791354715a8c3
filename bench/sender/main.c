/* SPDX-License-Identifier: Apache-2.0 */
/* bench/sender/main.c - the command line of the sender, and its one line of JSON. */
#include "sender/sender.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char help[] =
    "usage: mr_bench_sender --url http(s)://ADDRESS:PORT/PATH [options]      secret in BENCH_SECRET\n"
    "  --connections N    keep-alive connections, one request each at a time (1)\n"
    "  --rate R           open loop: R events a second, latency from the due time (closed loop)\n"
    "  --seconds S        measured time; --warmup S before it is sent but not measured (10, or none with --count; 0)\n"
    "  --count N          at most N events\n"
    "  --acked FILE       ids of the events that got a 2xx, one a line\n"
    "  --retry on|off     send an event again until it gets a 2xx (off)\n"
    "  --timeout S        for an answer (10)\n"
    "  --scheme github|stripe|none   how events are signed (github)\n"
    "  --size B           bytes of a body (1024)\n"
    "  --run XXXXXXXX     first eight characters of every id (random)\n"
    "  --method M         (POST)\n";

struct command {
    struct mr_sender_config sender;
    struct mr_event_config event;
    char host[64], authority[80], run[MR_EVENT_RUN + 1];
    const char *path;
    bool seconds_given;
};

static bool parse_url(struct command *cmd, const char *url)
{
    cmd->sender.tls = strncmp(url, "https://", 8) == 0;
    if (!cmd->sender.tls && strncmp(url, "http://", 7) != 0)
        return false;
    url += cmd->sender.tls ? 8 : 7;
    size_t host = strcspn(url, ":/");
    if (host == 0 || host >= sizeof cmd->host || url[host] != ':')
        return false;
    memcpy(cmd->host, url, host);
    char *rest;
    cmd->sender.port = (int)strtol(url + host + 1, &rest, 10);
    cmd->path = *rest == '/' ? rest : "/";
    snprintf(cmd->authority, sizeof cmd->authority, "%s:%d", cmd->host, cmd->sender.port);
    return cmd->sender.port > 0 && cmd->sender.port < 65536 && (*rest == '/' || *rest == '\0');
}

static bool parse_scheme(struct command *cmd, const char *name)
{
    static const char *const names[] = {"none", "github", "stripe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            cmd->event.scheme = (enum mr_event_scheme)i;
            return true;
        }
    }
    return false;
}

static bool parse_number(const char *text, double min, double max, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return *text && !*end && *out >= min && *out <= max;
}

static bool parse_option(struct command *cmd, int option, const char *value)
{
    double n = 0;
    bool ok = true;
    switch (option) {
    case 'u':
        return parse_url(cmd, value);
    case 'c':
        ok = parse_number(value, 1, 20000, &n);
        cmd->sender.connections = (unsigned)n;
        return ok;
    case 'r':
        return parse_number(value, 0.1, 1e6, &cmd->sender.rate_per_s);
    case 's':
        cmd->seconds_given = true;
        return parse_number(value, 0.01, 1e6, &cmd->sender.seconds);
    case 'w':
        return parse_number(value, 0, 1e6, &cmd->sender.warmup_s);
    case 'n':
        ok = parse_number(value, 1, 1e12, &n);
        cmd->sender.count = (uint64_t)n;
        return ok;
    case 'a':
        cmd->sender.acked_path = value;
        return true;
    case 'y':
        cmd->sender.retry = strcmp(value, "on") == 0;
        return cmd->sender.retry || strcmp(value, "off") == 0;
    case 't':
        return parse_number(value, 0.01, 3600, &cmd->sender.timeout_s);
    case 'S':
        return parse_scheme(cmd, value);
    case 'b':
        ok = parse_number(value, MR_EVENT_BODY_MIN, 1 << 20, &n);
        cmd->event.body_bytes = (size_t)n;
        return ok;
    case 'R':
        snprintf(cmd->run, sizeof cmd->run, "%s", value);
        return strlen(value) == MR_EVENT_RUN && strspn(value, "0123456789abcdefghijklmnopqrstuvwxyz_") == MR_EVENT_RUN;
    case 'm':
        cmd->event.method = value;
        return true;
    default:
        return false;
    }
}

static bool parse(struct command *cmd, int argc, char **argv)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'},     {"connections", required_argument, NULL, 'c'},
        {"rate", required_argument, NULL, 'r'},    {"seconds", required_argument, NULL, 's'},
        {"warmup", required_argument, NULL, 'w'},  {"count", required_argument, NULL, 'n'},
        {"acked", required_argument, NULL, 'a'},   {"retry", required_argument, NULL, 'y'},
        {"timeout", required_argument, NULL, 't'}, {"scheme", required_argument, NULL, 'S'},
        {"size", required_argument, NULL, 'b'},    {"run", required_argument, NULL, 'R'},
        {"method", required_argument, NULL, 'm'},  {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (!parse_option(cmd, option, optarg)) {
            fprintf(stderr, "sender: bad option or value: %s\n", option == '?' ? argv[optind - 1] : optarg);
            return false;
        }
    }
    if (!cmd->seconds_given && cmd->sender.count == 0)
        cmd->sender.seconds = 10;
    return cmd->path && optind == argc;
}

static double ms(const struct mr_histogram *h, double q)
{
    return (double)mr_histogram_quantile_ns(h, q) / 1e6;
}

static void print_report(const struct command *cmd, const struct mr_sender_report *r)
{
    printf("{\"run\":\"%s\",\"sent\":%llu,\"acked\":%llu,\"given_up\":%llu,\"unsent\":%llu,\"errors\":{", cmd->run,
           (unsigned long long)r->sent, (unsigned long long)r->acked, (unsigned long long)r->given_up,
           (unsigned long long)r->unsent);
    printf("\"reset\":%llu,\"timeout\":%llu,\"refused\":%llu", (unsigned long long)r->resets,
           (unsigned long long)r->timeouts, (unsigned long long)r->refused);
    for (int status = 0; status < MR_SENDER_STATUSES; status++)
        if (r->statuses[status] && status / 100 != 2)
            printf(",\"%d\":%llu", status, (unsigned long long)r->statuses[status]);
    double measured = r->measured ? (double)r->measured : 1;
    printf("},\"measured\":%llu,\"seconds\":%.3f,\"rate\":%.1f,", (unsigned long long)r->measured, r->measured_s,
           r->measured_s > 0 ? (double)r->measured / r->measured_s : 0.0);
    printf("\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"p99_ms\":%.4f,\"p999_ms\":%.4f,\"max_ms\":%.4f,", ms(&r->latency, 0.5),
           ms(&r->latency, 0.9), ms(&r->latency, 0.99), ms(&r->latency, 0.999), (double)r->latency.max_ns / 1e6);
    printf("\"sender_cpu_s\":%.3f,\"sender_cpu_us_per_event\":%.2f}\n", r->cpu_s, r->cpu_s * 1e6 / measured);
}

static void make_run(char run[MR_EVENT_RUN + 1])
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        abort();
    snprintf(run, MR_EVENT_RUN + 1, "%08x", random);
}

int main(int argc, char **argv)
{
    static struct mr_sender_report report; /* 30 KB of buckets: not for the stack */
    struct command cmd = {
        .sender = {.connections = 1, .timeout_s = 10},
        .event = {.method = "POST", .scheme = MR_EVENT_GITHUB, .body_bytes = 1024},
    };
    make_run(cmd.run);
    if (!parse(&cmd, argc, argv)) {
        fputs(help, stderr);
        return 2;
    }
    const char *secret = getenv("BENCH_SECRET");
    if (!secret && cmd.event.scheme != MR_EVENT_UNSIGNED) {
        fputs("sender: BENCH_SECRET is not set\n", stderr);
        return 2;
    }
    cmd.sender.host = cmd.host;
    cmd.event.secret = secret ? secret : "";
    cmd.event.path = cmd.path;
    cmd.event.host = cmd.authority;
    cmd.event.run = cmd.run;
    struct mr_event_maker *maker = mr_event_maker_new(&cmd.event);
    if (!maker) {
        fputs("sender: cannot make such events (path too long?)\n", stderr);
        return 2;
    }
    int error = mr_sender_run(&cmd.sender, maker, &report);
    mr_event_maker_free(maker);
    if (error) {
        fprintf(stderr, "sender: %s\n", strerror(error));
        return 1;
    }
    print_report(&cmd, &report);
    return 0;
}
