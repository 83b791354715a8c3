/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>

static json_t *parsed(struct log_pipe *p)
{
    json_error_t why;
    const char *text = log_pipe_read(p);
    size_t n = strlen(text);
    assert_true(n > 0 && text[n - 1] == '\n');
    assert_ptr_equal(strchr(text, '\n'), text + n - 1); /* one line */
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (!line)
        fail_msg("%s: %s", why.text, text);
    return line;
}

static const char *field(json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

static void a_json_line_has_time_level_source_event_and_facts(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    mr_log_warn(p->log, "orders", "fetch_failed", MR_I("try", 3), MR_R("load", 0.5),
                MR_S("why", "connection \"reset\""));
    json_t *line = parsed(p);
    assert_int_equal(strlen(field(line, "ts")), 27);
    assert_string_equal(field(line, "level"), "warn");
    assert_string_equal(field(line, "source"), "orders");
    assert_string_equal(field(line, "event"), "fetch_failed");
    assert_int_equal(json_integer_value(json_object_get(line, "try")), 3);
    assert_true(json_real_value(json_object_get(line, "load")) == 0.5);
    assert_string_equal(field(line, "why"), "connection \"reset\"");
    json_decref(line);
    log_pipe_free(p);
}

static void a_text_line_reads_like_a_sentence(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_TEXT);
    mr_log_warn(p->log, "orders", "fetch_failed", MR_I("try", 3), MR_S("next_in", "8s"), MR_S("why", "reset by peer"),
                MR_S("empty", ""));
    const char *text = log_pipe_read(p);
    assert_string_equal(text + 27,
                        " warn  source=orders event=fetch_failed try=3 next_in=8s why=\"reset by peer\" empty=\"\"\n");
    mr_log_info(p->log, NULL, "started", MR_I("pid", 1));
    assert_string_equal(log_pipe_read(p) + 27, " info  event=started pid=1\n");
    log_pipe_free(p);
}

static void a_pipe_gets_json_when_nobody_chose(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_AUTO);
    mr_log_error(p->log, NULL, "x", MR_I("a", 1));
    assert_int_equal(log_pipe_read(p)[0], '{');
    log_pipe_free(p);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    mr_log_debug(p->log, NULL, "quiet", MR_I("a", 1));
    assert_string_equal(log_pipe_read(p), "");
    mr_log_level(p->log, MR_LOG_DEBUG);
    mr_log_debug(p->log, NULL, "heard", MR_I("a", 1));
    assert_non_null(strstr(log_pipe_read(p), "heard"));
    mr_log_level(p->log, MR_LOG_ERROR);
    mr_log_warn(p->log, NULL, "quiet", MR_I("a", 1));
    assert_string_equal(log_pipe_read(p), "");
    assert_int_equal(mr_log_lost(p->log), 0);
    mr_log_info(NULL, NULL, "nowhere", MR_I("a", 1));
    assert_int_equal(mr_log_lost(NULL), 0);
    log_pipe_free(p);
}

static void outside_text_cannot_break_a_line_or_a_terminal(void **state)
{
    (void)state;
    struct mr_str evil =
        MR_STR("a\nb\rc\x1b[31m\0d\x7f \xc2\x9b \xff\xc0\xaf \xed\xa0\x80 \xe2\x82 \xf0\x9f\x98\x80 \"\\");
    for (int format = MR_LOG_JSON; format <= MR_LOG_TEXT; format++) {
        struct log_pipe *p = log_pipe_new((enum mr_log_format)format);
        mr_log_info(p->log, NULL, "request", MR_SN("path", evil));
        const char *text = log_pipe_read(p);
        size_t n = strlen(text);
        assert_true(n > 30 && text[n - 1] == '\n');
        for (size_t i = 0; i + 1 < n; i++)
            assert_true((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
        assert_null(strstr(text, "\xc2\x9b"));
        assert_non_null(strstr(text, "\xf0\x9f\x98\x80"));
        log_pipe_free(p);
    }
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    mr_log_info(p->log, NULL, "request", MR_SN("path", MR_STR("\xff ok")));
    json_t *line = parsed(p);
    assert_string_equal(field(line, "path"), "\xef\xbf\xbd ok");
    json_decref(line);
    log_pipe_free(p);
}

static void any_bytes_make_a_line_that_parses(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    uint32_t seed = 2463534242u;
    for (int round = 0; round < 3000; round++) {
        char bytes[600];
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            bytes[i] = (char)(round % 2         ? seed >> 8
                              : (seed >> 8) % 4 ? 0xc0 + (seed >> 16) % 64
                                                : 0x80 + (seed >> 16) % 64);
        }
        mr_log_info(p->log, NULL, "noise", MR_SN("bytes", ((struct mr_str){bytes, seed % (sizeof bytes + 1)})));
        json_decref(parsed(p));
    }
    log_pipe_free(p);
}

static void a_long_text_is_cut_at_512_bytes_and_says_so(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    char text[1400];
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    mr_log_info(p->log, NULL, "long", MR_SN("even", ((struct mr_str){text, 1400})),
                MR_SN("odd", ((struct mr_str){text + 1, 1399})), MR_SN("fits", ((struct mr_str){text, 512})));
    json_t *line = parsed(p);
    assert_int_equal(strlen(field(line, "even")), 512 + 3);
    assert_string_equal(field(line, "even") + 510, "\xc3\xa9...");
    assert_string_equal(field(line, "odd") + strlen(field(line, "odd")) - 5, "\xc3\xa9...");
    assert_int_equal(strlen(field(line, "fits")), 512);
    json_decref(line);
    log_pipe_free(p);
}

static void a_line_never_exceeds_what_a_pipe_takes_whole(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    char text[512];
    memset(text, 1, sizeof text); /* six bytes each, escaped */
    struct mr_kv facts[12] = {{0}};
    for (int i = 0; i < 10; i++)
        facts[i] = MR_SN("fact", ((struct mr_str){text, 300}));
    facts[10] = MR_I("last", 7); /* a short one after what did not fit */
    mr_log_write(p->log, MR_LOG_INFO, "s", "big", facts);
    const char *got = log_pipe_read(p);
    assert_true(strlen(got) <= PIPE_BUF);
    assert_non_null(strstr(got, ",\"cut\":true}\n"));
    json_error_t why;
    json_t *line = json_loads(got, 0, &why);
    assert_non_null(line);
    json_decref(line);
    log_pipe_free(p);
}

static void numbers_that_json_has_not_are_null(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    mr_log_info(p->log, NULL, "numbers", MR_R("nan", (double)NAN), MR_R("inf", (double)INFINITY),
                MR_I("min", INT64_MIN), MR_SN("absent", ((struct mr_str){0})));
    json_t *line = parsed(p);
    assert_true(json_is_null(json_object_get(line, "nan")));
    assert_true(json_is_null(json_object_get(line, "inf")));
    assert_true(json_is_null(json_object_get(line, "absent")));
    assert_true(json_integer_value(json_object_get(line, "min")) == INT64_MIN);
    json_decref(line);
    log_pipe_free(p);
}

/* The writing end blocks: only by asking first can the log not hang here. */
static void a_full_pipe_loses_lines_and_blocks_nobody(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    int written = 0;
    while (mr_log_lost(p->log) == 0 && ++written < 100000)
        mr_log_info(p->log, NULL, "flood", MR_I("n", written));
    assert_int_equal(mr_log_lost(p->log), 1);
    mr_log_info(p->log, NULL, "flood", MR_I("n", 0));
    assert_int_equal(mr_log_lost(p->log), 2);
    static char drain[1 << 17];
    assert_true(read(p->ends[0], drain, sizeof drain) > 0);
    mr_log_info(p->log, NULL, "heard_again", MR_I("n", 0));
    assert_int_equal(mr_log_lost(p->log), 2);
    assert_non_null(strstr(log_pipe_read(p), "heard_again"));
    log_pipe_free(p);
}

static void a_closed_pipe_loses_lines_and_raises_no_signal(void **state)
{
    (void)state;
    struct log_pipe *p = log_pipe_new(MR_LOG_JSON);
    signal(SIGPIPE, SIG_DFL);
    close(p->ends[0]);
    p->ends[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    errno = EXDEV;
    mr_log_info(p->log, NULL, "nobody", MR_I("n", 0));
    assert_int_equal(errno, EXDEV);
    assert_int_equal(mr_log_lost(p->log), 1);
    log_pipe_free(p);
}

static void a_full_disk_and_a_closed_descriptor_lose_lines(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct mr_log *log = mr_log_new(fd, MR_LOG_AUTO, MR_LOG_INFO);
    mr_log_info(log, NULL, "full", MR_I("n", 0));
    assert_int_equal(mr_log_lost(log), 1);
    close(fd);
    mr_log_info(log, NULL, "closed", MR_I("n", 0));
    assert_int_equal(mr_log_lost(log), 2);
    mr_log_free(log);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *arg)
{
    char filler[201];
    memset(filler, 'f', 200);
    filler[200] = '\0';
    for (int i = 0; i < LINES; i++)
        mr_log_info(arg, "thread", "line", MR_S("filler", filler), MR_I("i", i));
    return NULL;
}

static void lines_of_many_threads_never_mix(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fcntl(fileno(file), F_SETFL, O_APPEND), 0);
    struct mr_log *log = mr_log_new(fileno(file), MR_LOG_JSON, MR_LOG_INFO);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, log), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    rewind(file);
    int lines = 0;
    for (char text[PIPE_BUF + 1]; fgets(text, sizeof text, file); lines++) {
        json_t *line = json_loads(text, 0, NULL);
        assert_non_null(line);
        json_decref(line);
    }
    assert_int_equal(lines, THREADS * LINES);
    assert_int_equal(mr_log_lost(log), 0);
    mr_log_free(log);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_line_has_time_level_source_event_and_facts),
        cmocka_unit_test(a_text_line_reads_like_a_sentence),
        cmocka_unit_test(a_pipe_gets_json_when_nobody_chose),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(outside_text_cannot_break_a_line_or_a_terminal),
        cmocka_unit_test(any_bytes_make_a_line_that_parses),
        cmocka_unit_test(a_long_text_is_cut_at_512_bytes_and_says_so),
        cmocka_unit_test(a_line_never_exceeds_what_a_pipe_takes_whole),
        cmocka_unit_test(numbers_that_json_has_not_are_null),
        cmocka_unit_test(a_full_pipe_loses_lines_and_blocks_nobody),
        cmocka_unit_test(a_closed_pipe_loses_lines_and_raises_no_signal),
        cmocka_unit_test(a_full_disk_and_a_closed_descriptor_lose_lines),
        cmocka_unit_test(lines_of_many_threads_never_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
