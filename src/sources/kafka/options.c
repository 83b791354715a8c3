/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - the rows of `sources.<name>.kafka`, what they must not be, and the client's settings. Why each setting is as it is stands beside it. */
#include "options.h"

#include "millrace/clock.h"
#include "millrace/record.h"

#include <regex.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct kafka_options, field)
#define TLS(field) (offsetof(struct kafka_options, tls.field) - offsetof(struct kafka_options, tls))
#define SASL(field) offsetof(struct kafka_sasl, field)
#define REGISTRY(field) offsetof(struct kafka_registry, field)
#define OAUTH(field) offsetof(struct kafka_oauth, field)

static const char *const isolations[] = {"read_committed", "read_uncommitted", NULL};
static const char *const files[] = {"auto", "per_partition", "per_topic", NULL};
static const char *const assignments[] = {"cooperative-sticky", "range", "roundrobin", NULL};
static const char *const payloads[] = {[MR_PAYLOAD_JSON] = "json", [MR_PAYLOAD_EXACT] = "exact", NULL};
static const char *const losses[] = {"continue", "stop", NULL};
static const char *const foreigns[] = {"stop", "follow", NULL};
static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI", NULL};

static const struct mr_option tls_rows[] = {
    {.name = "ca", .type = MR_T_PATH, .offset = TLS(ca), .doc = "PEM file of the authorities that are trusted. Default: the system's."},
    {.name = "cert", .type = MR_T_PATH, .offset = TLS(cert), .doc = "PEM file of our own certificate, where the brokers want one."},
    {.name = "key", .type = MR_T_PATH, .offset = TLS(key), .doc = "PEM file of its key."},
    {.name = "password", .type = MR_T_SECRET, .offset = TLS(password), .doc = "The key's password, if it has one."},
    {.name = "verify", .type = MR_T_BOOL, .offset = TLS(verify), .def = "true", .doc = "Check the brokers' names against their certificates. `false` trusts anybody who answers."},
    {0},
};

static const struct mr_option oauth_rows[] = {
    {.name = "url", .type = MR_T_STRING, .offset = OAUTH(url), .flags = MR_OPT_MANDATORY, .doc = "Where tokens are had: the https:// address of the token endpoint."},
    {.name = "client_id", .type = MR_T_STRING, .offset = OAUTH(client_id), .flags = MR_OPT_MANDATORY, .doc = "Who we are there."},
    {.name = "client_secret", .type = MR_T_SECRET, .offset = OAUTH(client_secret), .flags = MR_OPT_MANDATORY, .doc = "And its secret."},
    {.name = "ca", .type = MR_T_PATH, .offset = OAUTH(ca), .doc = "PEM file of the authorities that vouch for the endpoint. Default: the system's."},
    {.name = "scope", .type = MR_T_STRING, .offset = OAUTH(scope), .doc = "What is asked for, if the endpoint wants to know."},
    {0},
};

static const struct mr_option sasl_rows[] = {
    {.name = "mechanism", .type = MR_T_ENUM, .offset = SASL(mechanism), .choices = mechanisms, .def = "PLAIN", .doc = "How the brokers know us. SCRAM against Kafka 4 needs librdkafka 2.6.1 or later."},
    {.name = "username", .type = MR_T_STRING, .offset = SASL(username), .doc = "PLAIN and SCRAM: who we are."},
    {.name = "password", .type = MR_T_SECRET, .offset = SASL(password), .doc = "PLAIN and SCRAM: the password."},
    {.name = "oauth",
     .type = MR_T_MAP,
     .offset = SASL(oauth_given),
     .offset2 = SASL(oauth),
     .sub = oauth_rows,
     .flags = MR_OPT_PRESENT,
     .doc = "OAUTHBEARER: client credentials, for which a token is fetched ahead of each expiry."},
    {0},
};

static const struct mr_option registry_rows[] = {
    {.name = "url", .type = MR_T_STRING, .offset = REGISTRY(url), .flags = MR_OPT_MANDATORY, .doc = "Its address: https://registry:8081."},
    {.name = "username", .type = MR_T_STRING, .offset = REGISTRY(username), .doc = "For basic authentication, as its password."},
    {.name = "password", .type = MR_T_SECRET, .offset = REGISTRY(password), .doc = "The password, or an API key's secret."},
    {.name = "ca", .type = MR_T_PATH, .offset = REGISTRY(ca), .doc = "PEM file of the authorities that vouch for it. Default: the system's."},
    {.name = "stream", .type = MR_T_STRING, .offset = REGISTRY(stream), .def = "_schema_registry", .doc = "The stream in which schemas land."},
    {0},
};

const struct mr_option kafka_rows[] = {
    {.name = "brokers", .type = MR_T_STRINGS, .offset = AT(brokers), .min = "1", .flags = MR_OPT_MANDATORY, .doc = "Some brokers of the cluster, host:port; they name the others."},
    {.name = "topics",
     .type = MR_T_STRINGS,
     .offset = AT(topics),
     .min = "1",
     .flags = MR_OPT_MANDATORY,
     .doc = "Topics, each a stream of the zone. A name that begins with ^ is a pattern (`^orders\\.`); topics that come later are found within half a minute."},
    {.name = "group", .type = MR_T_STRING, .offset = AT(group), .doc = "The consumer group, which the environment is put in front of: `dev.clicks`. Default: the source's name."},
    {.name = "start",
     .type = MR_T_STRING,
     .offset = AT(start),
     .def = "earliest",
     .doc = "Where a topic begins that was never read: `earliest`, `latest`, or a time such as 2026-11-01T00:00:00Z. Settled once, for all of its partitions; "
            "a partition that comes later, and a topic that turns up later under a pattern, is read from its first record."},
    {.name = "isolation",
     .type = MR_T_ENUM,
     .offset = AT(isolation),
     .choices = isolations,
     .def = "read_committed",
     .doc = "`read_committed` waits for the end of transactions and leaves out what was aborted."},
    {.name = "files",
     .type = MR_T_ENUM,
     .offset = AT(files),
     .choices = files,
     .def = "auto",
     .doc = "A file for each partition or for each topic, at each roll. `auto`: by topic where this process reads more than 16 partitions. Within a partition the order is kept either way."},
    {.name = "payload",
     .type = MR_T_ENUM,
     .offset = AT(payload),
     .choices = payloads,
     .def = "json",
     .doc = "`json`: a value that is JSON lands as `data`, any other as text or bytes. `exact`: always the bytes as they came."},
    {.name = "on_loss",
     .type = MR_T_ENUM,
     .offset = AT(on_loss),
     .choices = losses,
     .def = "continue",
     .doc = "Records are gone before they were read, or the topic was made anew. Either way it is told, with numbers. `continue` goes on from the first record there is, `stop` waits "
            "for `millrace state set`."},
    {.name = "on_foreign_store",
     .type = MR_T_ENUM,
     .offset = AT(on_foreign_store),
     .choices = foreigns,
     .def = "stop",
     .doc = "The group's offsets were committed by a millrace with another state store, beyond our position: what lies between would land twice. `stop` waits for a person; `follow` "
            "goes on from there."},
    {.name = "instance",
     .type = MR_T_STRING,
     .offset = AT(instance),
     .doc = "Static membership (group.instance.id): a restart within the session's time moves no partitions; a process that is gone for good holds them that long. Must differ between "
            "processes. Default: none."},
    {.name = "assignment",
     .type = MR_T_ENUM,
     .offset = AT(assignment),
     .choices = assignments,
     .def = "cooperative-sticky",
     .doc = "How the group shares partitions. All its members must have the same; the other two stop the whole group at each change."},
    {.name = "prefetch",
     .type = MR_T_SIZE,
     .offset = AT(prefetch),
     .def = "16MiB",
     .min = "1MiB",
     .max = "1GiB",
     .doc = "Memory for what was fetched and not yet landed, taken from limits.memory."},
    {.name = "retention_warning",
     .type = MR_T_DURATION,
     .offset = AT(retention_warning_ms),
     .def = "1h",
     .doc = "An alert while the topic's retention, at its pace and ours, would reach what is not yet landed within this time. 0s: never."},
    {.name = "transaction_warning",
     .type = MR_T_DURATION,
     .offset = AT(transaction_warning_ms),
     .def = "15m",
     .doc = "An alert when an open transaction has held back a partition for this long. 0s: never."},
    {.name = "tls",
     .type = MR_T_MAP,
     .offset = AT(tls_given),
     .offset2 = AT(tls),
     .sub = tls_rows,
     .flags = MR_OPT_PRESENT,
     .doc = "Speak TLS with the brokers; `{}` for one that the system's authorities vouch for."},
    {.name = "sasl", .type = MR_T_MAP, .offset = AT(sasl_given), .offset2 = AT(sasl), .sub = sasl_rows, .flags = MR_OPT_PRESENT, .doc = "Who we are to the brokers."},
    {.name = "schema_registry",
     .type = MR_T_MAP,
     .offset = AT(registry_given),
     .offset2 = AT(registry),
     .sub = registry_rows,
     .flags = MR_OPT_PRESENT,
     .doc = "A registry of schemas (Confluent's interface). Records land as bytes with `position.schema_id` whether it answers or not; each schema that they name lands beside them, once."},
    {.name = "librdkafka",
     .type = MR_T_PAIRS,
     .offset = AT(librdkafka),
     .doc = "Any other property of the client library, as its own page names it. Those that would break what millrace promises are refused."},
    {0},
};

bool kafka_start_of(const char *text, enum kafka_start *start, int64_t *ms)
{
    int64_t us = 0;
    *ms = 0;
    *start = KAFKA_EARLIEST;
    if (strcmp(text, "earliest") == 0)
        return true;
    *start = KAFKA_LATEST;
    if (strcmp(text, "latest") == 0)
        return true;
    *start = KAFKA_FROM_TIME;
    if (!mr_time_parse(mr_str_c(text), &us))
        return false;
    *ms = us / 1000;
    return us >= 0;
}

void kafka_group(const struct kafka_options *o, const char *environment, const char *source, char out[512])
{
    snprintf(out, 512, "%s.%s", environment, o->group && *o->group ? o->group : source);
}

/* ---- what is refused ---- */

/* With these the library would commit, skip, start or deliver in another way than the position says. */
static const struct {
    const char *name, *why;
} refused[] = {
    {"enable.auto.commit", "positions live in the state store"},
    {"enable.auto.offset.store", "positions live in the state store"},
    {"auto.commit.enable", "positions live in the state store"},
    {"auto.commit.interval.ms", "positions live in the state store"},
    {"offset.store.method", "positions live in the state store"},
    {"offset.store.path", "positions live in the state store"},
    {"offset.store.sync.interval.ms", "positions live in the state store"},
    {"auto.offset.reset", "a position out of range is told, never reset in silence; see on_loss"},
    {"enable.partition.eof", "the end of a partition moves its position"},
    {"isolation.level", "set isolation"},
    {"group.id", "set group"},
    {"group.instance.id", "set instance"},
    {"partition.assignment.strategy", "set assignment"},
    {"group.protocol", "partitions are handed over by the classic protocol"},
    {"group.remote.assignor", "partitions are handed over by the classic protocol"},
    {"bootstrap.servers", "set brokers"},
    {"metadata.broker.list", "set brokers"},
    {"queued.max.messages.kbytes", "set prefetch"},
    {"consume.callback.max.messages", "there are no callbacks"},
    {"enabled_events", "the loop reads events"},
    {"statistics.interval.ms", "lag is read from the statistics"},
    {"log.queue", "the log is millrace's"},
    {"log_level", "the log is millrace's; `debug` works"},
    {"plugin.library.paths", "code of others is not loaded"},
    {"ssl.engine.location", "code of others is not loaded"},
    {"sasl.kerberos.kinit.cmd", "commands are not run"},
    {"builtin.features", "it cannot be changed"},
    {"security.protocol", "set tls and sasl"},
    {"sasl.mechanisms", "set sasl.mechanism"},
    {"sasl.mechanism", "set sasl.mechanism"},
    {"sasl.username", "set sasl.username"},
    {"sasl.password", "set sasl.password, which keeps it secret"},
    {"ssl.key.password", "set tls.password, which keeps it secret"},
    {"ssl.key.pem", "set tls.key"},
    {"ssl.keystore.password", "it would be no secret here; take PEM files"},
    {"sasl.oauthbearer.client.secret", "set sasl.oauth, which keeps it secret"},
    {"sasl.oauthbearer.config", "set sasl.oauth"},
    {"sasl.oauthbearer.method", "set sasl.oauth"},
    {"enable.ssl.certificate.verification", "set tls.verify"},
    {"client.software.name", "the name is millrace's"},
};

static const char *refusal_of(const char *name)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strcmp(name, refused[i].name) == 0)
            return refused[i].why;
    return NULL;
}

bool kafka_topic_ok(const char *t)
{
    size_t n = strlen(t);
    return n >= 1 && n <= 249 && strcmp(t, ".") != 0 && strcmp(t, "..") != 0 &&
           strspn(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static void validate_topics(const char *name, const struct kafka_options *o, struct mr_where where, struct mr_config_errors *errors)
{
    struct mr_where at = mr_config_where(errors, where, "topics");
    for (size_t i = 0; i < o->topics.count; i++) {
        const char *t = o->topics.items[i];
        regex_t pattern;
        if (t[0] != '^') {
            if (!kafka_topic_ok(t))
                mr_config_error(errors, at, "source %s: \"%s\" is no name of a topic (letters, digits, `.`, `_`, `-`, 249 at most); a pattern begins with ^", name, t);
        } else if (regcomp(&pattern, t, REG_EXTENDED | REG_NOSUB) != 0) {
            mr_config_error(errors, at, "source %s: the pattern %s is no extended regular expression", name, t);
        } else {
            regfree(&pattern);
        }
        for (size_t k = 0; k < i; k++)
            if (strcmp(t, o->topics.items[k]) == 0)
                mr_config_error(errors, at, "source %s: topic %s stands there twice", name, t);
    }
}

static void validate_registry(const char *name, const struct kafka_options *o, struct mr_where where, struct mr_config_errors *errors)
{
    const struct kafka_registry *r = &o->registry;
    struct mr_where at = mr_config_where(errors, where, "schema_registry");
    if (!o->registry_given || !r->url)
        return;
    if (strncmp(r->url, "https://", 8) != 0 && strncmp(r->url, "http://", 7) != 0)
        mr_config_error(errors, at, "source %s: schema_registry.url begins with https:// or http://, not \"%s\"", name, r->url);
    if (!r->username != !r->password.value)
        mr_config_error(errors, at, "source %s: schema_registry.username and password go together", name);
    for (size_t i = 0; i < o->topics.count; i++)
        if (strcmp(o->topics.items[i], r->stream) == 0)
            mr_config_error(errors, at, "source %s: schema_registry.stream %s is the name of a topic, too", name, r->stream);
}

static void validate_sasl(const char *name, const struct kafka_options *o, struct mr_where where, struct mr_config_errors *errors)
{
    if (!o->sasl_given)
        return;
    struct mr_where at = mr_config_where(errors, where, "sasl");
    enum kafka_mechanism m = o->sasl.mechanism + 1;
    bool password = m == KAFKA_PLAIN || m == KAFKA_SCRAM_256 || m == KAFKA_SCRAM_512;
    if (password && (!o->sasl.username || !o->sasl.password.value))
        mr_config_error(errors, at, "source %s: sasl %s needs username and password", name, mechanisms[m - 1]);
    if (m == KAFKA_OAUTHBEARER && !o->sasl.oauth_given)
        mr_config_error(errors, at, "source %s: sasl OAUTHBEARER needs oauth: {url, client_id, client_secret}", name);
    if (m == KAFKA_OAUTHBEARER && o->sasl.oauth_given && o->sasl.oauth.url && strncmp(o->sasl.oauth.url, "https://", 8) != 0 &&
        strncmp(o->sasl.oauth.url, "http://127.0.0.1", 16) != 0 && strncmp(o->sasl.oauth.url, "http://localhost", 16) != 0)
        mr_config_error(errors, mr_config_where(errors, where, "sasl.oauth.url"), "source %s: sasl.oauth.url must be https://, the secret goes there", name);
}

void kafka_validate(const char *name, const void *options, struct mr_where where, struct mr_config_errors *errors)
{
    const struct kafka_options *o = options;
    enum kafka_start start;
    int64_t ms;
    struct mr_err err = {0};
    rd_kafka_conf_t *conf = NULL;
    validate_topics(name, o, where, errors);
    validate_sasl(name, o, where, errors);
    validate_registry(name, o, where, errors);
    if (o->start && !kafka_start_of(o->start, &start, &ms))
        mr_config_error(errors, mr_config_where(errors, where, "start"), "source %s: start is earliest, latest, or a time such as 2026-11-01T00:00:00Z, not \"%s\"", name, o->start);
    if (o->tls_given && !o->tls.cert != !o->tls.key)
        mr_config_error(errors, mr_config_where(errors, where, "tls"), "source %s: tls.cert and tls.key go together", name);
    bool refused_any = false;
    for (size_t i = 0; i < o->librdkafka.count; i++) {
        const char *why = refusal_of(o->librdkafka.items[i].name);
        refused_any |= why != NULL;
        if (why)
            mr_config_error(errors, mr_config_where(errors, where, "librdkafka"), "source %s: librdkafka.%s cannot be set: %s", name, o->librdkafka.items[i].name, why);
    }
    if (refused_any)
        return;
    if (kafka_conf(o, "group", (int64_t)256 << 20, &conf, &err) == MR_OK)
        rd_kafka_conf_destroy(conf);
    else
        mr_config_error(errors, mr_config_where(errors, where, "librdkafka"), "source %s: %s", name, err.msg);
}

void kafka_validate_all(const char *const *names, const void *const *options, const struct mr_where *wheres, size_t count, const void *hub_options, int64_t memory,
                        struct mr_config_errors *errors)
{
    int64_t sum = 0;
    (void)hub_options;
    for (size_t i = 0; i < count; i++) {
        sum += ((const struct kafka_options *)options[i])->prefetch;
        if (sum > memory / 2) {
            mr_config_error(errors, mr_config_where(errors, wheres[i], "prefetch"),
                            "source %s: with it the kafka sources prefetch %lld bytes, more than half of limits.memory (%lld bytes): lower prefetch or raise limits.memory", names[i],
                            (long long)sum, (long long)memory);
            return;
        }
    }
}

/* ---- the client's settings ---- */

struct making {
    rd_kafka_conf_t *conf;
    struct mr_err *err;
    bool failed;
};

static void set(struct making *m, const char *name, const char *value)
{
    char why[256];
    if (m->failed || !value)
        return;
    if (rd_kafka_conf_set(m->conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK)
        return;
    m->failed = true;
    mr_err_set(m->err, MR_ECONFIG, "librdkafka %s: %s", rd_kafka_version_str(), why);
}

static void set_int(struct making *m, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    set(m, name, text);
}

static int64_t within(int64_t least, int64_t value, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static void set_access(struct making *m, const struct kafka_options *o)
{
    static const char *const protocols[2][2] = {{"plaintext", "sasl_plaintext"}, {"ssl", "sasl_ssl"}};
    set(m, "security.protocol", protocols[o->tls_given][o->sasl_given]);
    if (o->tls_given) {
        set(m, "ssl.ca.location", o->tls.ca);
        set(m, "ssl.certificate.location", o->tls.cert);
        set(m, "ssl.key.location", o->tls.key);
        set(m, "ssl.key.password", o->tls.password.value);
        set(m, "enable.ssl.certificate.verification", o->tls.verify ? "true" : "false");
        set(m, "ssl.endpoint.identification.algorithm", o->tls.verify ? "https" : "none");
    }
    if (o->sasl_given) {
        set(m, "sasl.mechanisms", mechanisms[o->sasl.mechanism]);
        set(m, "sasl.username", o->sasl.username);
        set(m, "sasl.password", o->sasl.password.value);
    }
}

static void set_all(struct making *m, const struct kafka_options *o, const char *group, int64_t memory)
{
    char brokers[8192] = "";
    size_t n = 0;
    for (size_t i = 0; i < o->brokers.count && n < sizeof brokers; i++)
        n += (size_t)snprintf(brokers + n, sizeof brokers - n, "%s%s", i ? "," : "", o->brokers.items[i]);
    set(m, "bootstrap.servers", brokers);
    set(m, "client.id", "millrace");
    set(m, "topic.metadata.refresh.interval.ms", "30000"); /* new topics and partitions; the library's own is five minutes */
    set(m, "socket.keepalive.enable", "true");
    set(m, "socket.nagle.disable", "true");
    set(m, "log.queue", "true");
    set(m, "enable.auto.commit", "false");
    set(m, "enable.auto.offset.store", "false");
    set(m, "auto.offset.reset", "error"); /* all others skip or repeat with a line of log at most */
    set(m, "enable.partition.eof", "true");
    set(m, "check.crcs", "true");
    set(m, "isolation.level", isolations[o->isolation]);
    set(m, "fetch.wait.max.ms", "100");
    set(m, "queued.min.messages", "10000000"); /* below it the library pauses a second after each 100,000 small records */
    set_int(m, "queued.max.messages.kbytes", o->prefetch / 1024);
    if (rd_kafka_version() >= 0x020200ff)
        set(m, "fetch.queue.backoff.ms", "5"); /* before: a second; see consume_nudge() */
    /* What bounds memory on a topic that compresses 500-fold: the limits above count what was unpacked only once it is there. */
    set_int(m, "fetch.message.max.bytes", within(16 << 10, memory / 2048, 1 << 20));
    /* Of all partitions in one answer: what is in it is unpacked before any of it can be taken. Large answers are faster, so where there is memory for one unpacked
     * 400-fold beside the rest it may be larger. */
    const int64_t small = 256 << 20;
    int64_t fetch = within(64 << 10, memory <= small ? memory / 1024 : small / 1024 + (memory - small) / 400, 16 << 20);
    set_int(m, "message.max.bytes", within(1000, fetch, 1000000)); /* the least that the next one may be; a larger record comes all the same */
    set_int(m, "fetch.max.bytes", fetch);
    set_int(m, "statistics.interval.ms", group ? 5000 : 0);
    if (group) {
        set(m, "group.id", group);
        set(m, "group.instance.id", o->instance && *o->instance ? o->instance : NULL);
        set(m, "partition.assignment.strategy", assignments[o->assignment]);
        set(m, "session.timeout.ms", "45000");
        set(m, "heartbeat.interval.ms", "3000");
    }
    set_access(m, o);
    for (size_t i = 0; i < o->librdkafka.count; i++)
        set(m, o->librdkafka.items[i].name, o->librdkafka.items[i].value);
}

enum mr_code kafka_conf(const struct kafka_options *o, const char *group, int64_t memory, rd_kafka_conf_t **out, struct mr_err *err)
{
    struct making m = {.conf = rd_kafka_conf_new(), .err = err};
    set_all(&m, o, group, memory);
    if (m.failed) {
        rd_kafka_conf_destroy(m.conf);
        return err->code;
    }
    *out = m.conf;
    return MR_OK;
}
