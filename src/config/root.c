/* SPDX-License-Identifier: Apache-2.0 */
#include "config/root.h"

#include "config/memory.h"

#include <stddef.h>

#define AT(member) offsetof(struct mr_config, member)
#define STATE(member) (offsetof(struct mr_config, state.member) - AT(state))
#define ZONE(member) (offsetof(struct mr_config, zone.member) - AT(zone))
#define S3(member) (offsetof(struct mr_config, zone.s3.member) - AT(zone.s3))
#define ROLL(member) (offsetof(struct mr_config, zone.roll.member) - AT(zone.roll))
#define LIMIT(member) (offsetof(struct mr_config, limits.member) - AT(limits))
#define PROXY(member) (offsetof(struct mr_config, proxy.member) - AT(proxy))
#define LOG(member) (offsetof(struct mr_config, log.member) - AT(log))

/* In the order of enum mr_codec, enum mr_log_format, enum mr_level. */
static const char *const codecs[] = {"none", "zstd", "gzip", NULL};
static const char *const addressings[] = {"auto", "path", "host", NULL}; /* enum mr_zone_style */
static const char *const formats[] = {"auto", "json", "text", NULL};
static const char *const levels[] = {"debug", "info", "warn", "error", NULL};

static const struct mr_option state_rows[] = {
    {.name = "url", .type = MR_T_STRING, .offset = STATE(url), .def = "sqlite", .flags = MR_OPT_FIXED,
     .doc = "Where positions, landings and seen event ids are kept. sqlite: one file below data_dir, which any sqlite3 can open. "
            "postgres://user@host:5432/database: tables of a Postgres server (15 or later), in the schema millrace or the one that the URL names "
            "by schema=NAME; several processes, each with a data_dir of its own, may share it. With a password in it, write \"${env:NAME}\" or \"${file:PATH}\"."},
    {.name = "keep", .type = MR_T_DURATION, .offset = STATE(keep_ms), .def = "90d", .min = "1m", .max = "3650d",
     .doc = "How long the history of landings, files, runs and closed alerts is kept, and bytes in quarantine. Positions are kept for ever. Longer costs disk only."},
    {0},
};

static const struct mr_option roll_rows[] = {
    {.name = "size", .type = MR_T_SIZE, .offset = ROLL(size), .def = "128MiB", .min = "1KiB", .max = "16GiB",
     .doc = "A file of the zone is closed when this much was written to it (compressed). Larger files suit readers, smaller ones appear sooner."},
    {.name = "age", .type = MR_T_DURATION, .offset = ROLL(age_ms), .def = "60s", .min = "1s", .max = "1d",
     .doc = "A file of the zone is closed this long after its first record, whatever its size: an event is in the zone at most this long after its "
            "2xx. Short ages make many small files."},
    {0},
};

static const struct mr_option s3_rows[] = {
    {.name = "endpoint", .type = MR_T_STRING, .offset = S3(endpoint), .min = "1", .max = "300", .flags = MR_OPT_FIXED,
     .doc = "https://host:port of a store that speaks S3 and is not AWS (MinIO, Ceph, R2). Without it: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL of the environment, else AWS."},
    {.name = "region", .type = MR_T_STRING, .offset = S3(region), .min = "1", .max = "63", .flags = MR_OPT_FIXED,
     .doc = "Region of the bucket, such as eu-central-1. Without it: AWS_REGION or AWS_DEFAULT_REGION of the environment, else us-east-1, and what the bucket says."},
    {.name = "addressing", .type = MR_T_ENUM, .offset = S3(addressing), .def = "auto", .choices = addressings, .flags = MR_OPT_FIXED,
     .doc = "Whether the bucket stands in the path or in the host's name. auto: in the path with an endpoint of one's own, else in the name where it fits."},
    {.name = "access_key", .type = MR_T_SECRET, .offset = S3(access_key), .flags = MR_OPT_FIXED,
     .doc = "Access key id, with secret_key. Without both they are looked for as AWS's SDKs do: environment, web identity, container, instance; those are renewed ahead of their end."},
    {.name = "secret_key", .type = MR_T_SECRET, .offset = S3(secret_key), .flags = MR_OPT_FIXED, .doc = "Secret access key, with access_key."},
    {.name = "session_token", .type = MR_T_SECRET, .offset = S3(session_token), .flags = MR_OPT_FIXED, .doc = "Session token, if the keys are temporary. Such keys end; better let millrace look for them."},
    {.name = "ca", .type = MR_T_PATH, .offset = S3(ca), .flags = MR_OPT_FIXED, .doc = "PEM file of the authorities to trust instead of the system's."},
    {0},
};

static const struct mr_option zone_rows[] = {
    {.name = "url", .type = MR_T_STRING, .offset = ZONE(url), .def = "file:./raw", .flags = MR_OPT_FIXED,
     .doc = "The raw zone: file: and a folder, or s3://bucket/prefix. Relative folders count from the config file's folder. One zone belongs to one state store."},
    {.name = "compression", .type = MR_T_ENUM, .offset = ZONE(compression), .def = "zstd", .choices = codecs,
     .doc = "How files of the zone are compressed. zstd is smaller and faster than gzip; take gzip if a reader of yours lacks zstd."},
    {.name = "roll", .type = MR_T_MAP, .offset = ZONE(roll), .sub = roll_rows,
     .doc = "When a file that grows is closed and appears in the zone: at the first of size, age and midnight UTC."},
    {.name = "seal_after", .type = MR_T_DURATION, .offset = ZONE(seal_after_ms), .def = "10m", .min = "0s", .max = "7d",
     .doc = "How long after its end (UTC) a day is sealed, once nothing that belongs to it is open. A sealed day never changes."},
    {.name = "seal", .type = MR_T_BOOL, .offset = ZONE(seal), .def = "false",
     .doc = "Whether a sealed day also gets a file _SEALED with its counts in each of its folders, for jobs that wait for a whole day."},
    {.name = "s3", .type = MR_T_MAP, .offset = ZONE(s3), .sub = s3_rows,
     .doc = "How the bucket of an s3:// zone is reached. Nothing of it is needed for a bucket of AWS and keys of the environment."},
    {0},
};

static const struct mr_option admin_rows[] = {
    {.name = "listen", .type = MR_T_LISTEN, .offset = 0, .def = "127.0.0.1:9464", .flags = MR_OPT_FIXED,
     .doc = "Address of the admin listener: /metrics, /healthz, /readyz, /api/status and the status page. It has no password: keep it on an address "
            "that only your own people and scrapers reach."},
    {0},
};

static const struct mr_option alerts_rows[] = {
    {.name = "url", .type = MR_T_STRING, .offset = 0, .min = "1", .max = "2048",
     .doc = "http:// or https:// URL that is told by a POST of JSON when an alert opens or closes; its member text suits chat services. In order, and again until it is "
            "taken; the log, the metrics and the status page have them in any case. May be \"${env:NAME}\" or \"${file:PATH}\", if the URL itself is a secret."},
    {0},
};

static const struct mr_option proxy_rows[] = {
    {.name = "url", .type = MR_T_STRING, .offset = PROXY(url), .min = "1", .max = "2048", .flags = MR_OPT_FIXED,
     .doc = "http:// or https:// URL of the proxy. With a user and a password in it, write \"${env:NAME}\" or \"${file:PATH}\"."},
    {.name = "except", .type = MR_T_STRINGS, .offset = PROXY(except), .flags = MR_OPT_FIXED,
     .doc = "Hosts that are asked directly: names with all below them (example.com), addresses, address ranges (10.0.0.0/8)."},
    {0},
};

static const struct mr_option limits_rows[] = {
    {.name = "memory", .type = MR_T_SIZE, .offset = LIMIT(memory), .def = "512MiB", .min = "16MiB", .max = "1TiB", .flags = MR_OPT_FIXED,
     .doc = "What outside input may make the program hold at once. When it is used up, sockets are not read until there is room, "
            "or senders are told to come later (503 with Retry-After); nothing acknowledged is lost. A body_limit may be an eighth of it."},
    {.name = "disk_reserve", .type = MR_T_SIZE, .offset = LIMIT(disk_reserve), .def = "256MiB", .min = "0B", .max = "1TiB",
     .doc = "Free space that must stay on the disks of data_dir and zone. Below it new events are refused with 503 and an alert opens, so that what was "
            "acknowledged can still land."},
    {0},
};

static const struct mr_option log_rows[] = {
    {.name = "format", .type = MR_T_ENUM, .offset = LOG(format), .def = "auto", .choices = formats, .flags = MR_OPT_FIXED,
     .doc = "Lines on stderr as JSON or for people. auto: for people on a terminal, else JSON."},
    {.name = "level", .type = MR_T_ENUM, .offset = LOG(level), .def = "info", .choices = levels,
     .doc = "The least level that is written. info: changes of state; warn: what heals by itself; error: someone must act."},
    {0},
};

static const struct mr_option rows[] = {
    {.name = "environment", .type = MR_T_STRING, .offset = AT(environment), .def = "dev", .min = "1", .max = "64", .flags = MR_OPT_FIXED,
     .doc = "Name of this installation, of [A-Za-z0-9._-]: it keeps what dev and prod share on outside servers apart."},
    {.name = "data_dir", .type = MR_T_PATH, .offset = AT(data_dir), .def = "./data", .flags = MR_OPT_FIXED,
     .doc = "Folder of the durable queue, the state and the quarantine. Put it on a disk that survives a restart; one server at a time."},
    {.name = "state", .type = MR_T_MAP, .offset = AT(state), .sub = state_rows, .flags = MR_OPT_SCALAR,
     .doc = "The state store. \"state: sqlite\" is short for \"state: {url: sqlite}\", and so is a URL alone."},
    {.name = "zone", .type = MR_T_MAP, .offset = AT(zone), .sub = zone_rows, .flags = MR_OPT_SCALAR,
     .doc = "Where everything lands, as <zone>/source=<name>/stream=<name>/ingest_date=<YYYY-MM-DD>/*.ndjson*."},
    {.name = "admin", .type = MR_T_MAP, .offset = AT(admin), .sub = admin_rows, .doc = "How the inside is shown."},
    {.name = "alerts", .type = MR_T_MAP, .offset = AT(alerts), .sub = alerts_rows, .doc = "Who is told when something needs a person."},
    {.name = "proxy", .type = MR_T_MAP, .offset = AT(proxy), .sub = proxy_rows, .flags = MR_OPT_SCALAR,
     .doc = "The HTTP proxy through which millrace asks others: alerts.url, certificates of vendors. None from the environment is ever used. \"proxy: URL\" is short for \"proxy: {url: URL}\"."},
    {.name = "limits", .type = MR_T_MAP, .offset = AT(limits), .sub = limits_rows, .doc = "What the program may use of this machine."},
    {.name = "log", .type = MR_T_MAP, .offset = AT(log), .sub = log_rows, .doc = "The log, on stderr."},
    {.name = "shutdown_timeout", .type = MR_T_DURATION, .offset = AT(shutdown_timeout_ms), .def = "30s", .min = "100ms", .max = "1h",
     .doc = "How long SIGTERM waits for what is captured to land. What does not make it in time is kept and lands after the next start."},
    {0},
};

const struct mr_option *mr_root_rows(void)
{
    return rows;
}

static bool all_of(struct mr_str s, const char *more)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (c == '\0' || !strchr(more, c)))
            return false;
    }
    return true;
}

bool mr_source_name_ok(struct mr_str name)
{
    return name.n > 0 && name.n <= MR_SOURCE_NAME_MAX && name.p[0] != '_' && name.p[0] != '.' && all_of(name, "._-");
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static struct mr_where place(const struct mr_fill *fill, const char *path)
{
    return mr_config_where(fill->errors, (struct mr_where){0, 0}, path);
}

/* No message shows the value: a URL may hold a password. */
static void check_state(struct mr_config *config, struct mr_fill *fill)
{
    if (strcmp(config->state.url, "sqlite") == 0)
        return;
    if (!begins(config->state.url, "postgres://") && !begins(config->state.url, "postgresql://"))
        mr_fill_error(fill, place(fill, "state.url"), "state.url: expected sqlite, or a URL such as \"postgres://user@host/database\"");
}

/* What else a bucket's name may not be is told when it is opened. */
static void check_s3(const struct mr_config *config, struct mr_fill *fill)
{
    const char *url = config->zone.url, *bucket = url + strlen("s3:"), *endpoint = config->zone.s3.endpoint;
    size_t n = begins(bucket, "//") ? strcspn(bucket + 2, "/") : 0;
    if (n < 3 || n > 63 || !all_of((struct mr_str){bucket + 2, n}, "-._"))
        mr_fill_error(fill, place(fill, "zone.url"), "zone.url: expected s3://bucket/prefix; a bucket's name is 3 to 63 letters, digits and `-`");
    else if (!all_of(mr_str_c(bucket + 2 + n), "/!-_.*'()=") || strstr(bucket + 2 + n, "//") || strstr(bucket + 2 + n, "/../"))
        mr_fill_error(fill, place(fill, "zone.url"), "zone.url: expected a prefix of letters, digits and / ! - _ . * ' ( ) = alone, without empty parts");
    if (endpoint && !begins(endpoint, "http://") && !begins(endpoint, "https://"))
        mr_fill_error(fill, place(fill, "zone.s3.endpoint"), "zone.s3.endpoint: expected a URL such as https://minio.example.com:9000");
    if (!config->zone.s3.access_key.value != !config->zone.s3.secret_key.value)
        mr_fill_error(fill, place(fill, "zone.s3"), "zone.s3: expected access_key and secret_key together, or neither");
    if (config->zone.s3.session_token.value && !config->zone.s3.access_key.value)
        mr_fill_error(fill, place(fill, "zone.s3.session_token"), "zone.s3.session_token: belongs to an access_key and a secret_key, which are not there");
}

/* file:./raw, file:raw, file:/raw and file:///raw all become file:/… */
static void check_zone(struct mr_config *config, struct mr_fill *fill)
{
    const char *path = config->zone.url;
    if (begins(path, "s3:")) {
        check_s3(config, fill);
        return;
    }
    if (!begins(path, "file:")) {
        mr_fill_error(fill, place(fill, "zone.url"), "zone.url: expected file: and a folder, such as \"file:./raw\", or \"s3://bucket/prefix\"");
        return;
    }
    path += strlen("file:");
    if (begins(path, "///"))
        path += 2;
    if (*path == '\0' || begins(path, "//")) {
        mr_fill_error(fill, place(fill, "zone.url"), "zone.url: expected file: and a folder of this machine, such as \"file:./raw\"");
        return;
    }
    char *folder = mr_path_absolute(config->folder, mr_str_c(path));
    size_t n = strlen(folder) + sizeof "file:";
    char *url = mr_config_alloc(1, n);
    snprintf(url, n, "file:%s", folder);
    mr_config_drop_string(folder);
    mr_config_drop_string(config->zone.url);
    config->zone.url = url;
}

static void check_alerts(const struct mr_config *config, struct mr_fill *fill)
{
    const char *url = config->alerts.url;
    if (!url)
        return;
    const char *host = begins(url, "http://") ? url + 7 : begins(url, "https://") ? url + 8 : "";
    bool clean = true;
    for (const char *c = url; *c != '\0'; c++)
        clean = clean && (unsigned char)*c > ' ' && *c != 0x7f;
    if (!clean || *host == '\0' || *host == '/')
        mr_fill_error(fill, place(fill, "alerts.url"), "alerts.url: expected a URL such as https://example.com/alerts");
}

static void check_proxy(const struct mr_config *config, struct mr_fill *fill)
{
    const char *url = config->proxy.url;
    const char *host = !url ? "-" : begins(url, "http://") ? url + 7 : begins(url, "https://") ? url + 8 : "";
    if (*host == '\0' || *host == '/' || (url && strpbrk(url, " \t\r\n")))
        mr_fill_error(fill, place(fill, "proxy.url"), "proxy.url: expected a URL such as http://proxy.example.com:3128");
    for (size_t i = 0; i < config->proxy.except.count; i++)
        if (!all_of(mr_str_c(config->proxy.except.items[i]), ".-:/_"))
            mr_fill_error(fill, place(fill, "proxy.except"), "proxy.except: expected names, addresses or ranges, such as example.com or 10.0.0.0/8");
    if (!url && config->proxy.except.count)
        mr_fill_error(fill, place(fill, "proxy.except"), "proxy.except: there is no proxy.url to make exceptions from");
}

void mr_root_check(struct mr_config *config, struct mr_fill *fill)
{
    check_state(config, fill);
    check_zone(config, fill);
    check_alerts(config, fill);
    check_proxy(config, fill);
    if (!all_of(mr_str_c(config->environment), "._-"))
        mr_fill_error(fill, place(fill, "environment"), "environment: expected letters, digits and any of . _ - alone");
}
