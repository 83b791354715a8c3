/* SPDX-License-Identifier: Apache-2.0 */
/* parse.c - what cli_parse() makes of a command line, and what the binary itself prints and exits with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* -- cli_parse ----------------------------------------------------------------------------------------------------- */

struct parsed {
    const char *to;
    bool once;
    struct cli_args args;
    int exit_code;
    bool ok;
};

/* Its messages go to a file of their own: tests must not look as if they had failed. */
static int silenced(int fd)
{
    int kept = dup(fd), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    fflush(NULL);
    dup2(null, fd);
    close(null);
    return kept;
}

static void restored(int fd, int kept)
{
    fflush(NULL);
    dup2(kept, fd);
    close(kept);
}

static char *words[16]; /* cli_parse() moves the words to the front */

static void parse(struct parsed *p, const char *const *argv)
{
    int argc = 0;
    *p = (struct parsed){0};
    const struct cli_flag flags[] = {{"--to", &p->to, NULL}, {"--once", NULL, &p->once}, {0}};
    for (; argv[argc]; argc++)
        words[argc] = (char *)(uintptr_t)argv[argc];
    int out = silenced(STDOUT_FILENO), err = silenced(STDERR_FILENO);
    p->ok = cli_parse(argc, words, "the help\n", flags, &p->args, &p->exit_code);
    restored(STDERR_FILENO, err);
    restored(STDOUT_FILENO, out);
}
#define PARSE(p, ...) parse(p, (const char *const[]){"verb", __VA_ARGS__, NULL})

static void options_and_words_may_stand_in_any_order(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "one", "-c", "file", "two", "--once", "--to", "there", "three");
    assert_true(p.ok);
    assert_string_equal(p.args.config, "file");
    assert_string_equal(p.to, "there");
    assert_true(p.once);
    assert_int_equal(p.args.words_count, 3);
    assert_string_equal(p.args.words[0], "one");
    assert_string_equal(p.args.words[1], "two");
    assert_string_equal(p.args.words[2], "three");
}

static void the_long_name_of_the_config_is_the_same(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "--config", "file");
    assert_true(p.ok);
    assert_string_equal(p.args.config, "file");
    assert_int_equal(p.args.words_count, 0);
    assert_false(p.once);
    assert_null(p.to);
}

static void a_dash_alone_is_a_word(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "-c", "file", "source", "-");
    assert_true(p.ok);
    assert_int_equal(p.args.words_count, 2);
    assert_string_equal(p.args.words[1], "-");
}

static void what_stands_behind_two_dashes_is_words(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "-c", "file", "--", "--once", "-c", "--");
    assert_true(p.ok);
    assert_false(p.once);
    assert_string_equal(p.args.config, "file");
    assert_int_equal(p.args.words_count, 3);
    assert_string_equal(p.args.words[0], "--once");
    assert_string_equal(p.args.words[2], "--");
}

static void a_value_may_look_like_an_option(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "-c", "file", "--to", "--once");
    assert_true(p.ok);
    assert_string_equal(p.to, "--once");
    assert_false(p.once);
}

static void help_ends_with_0_whatever_else_is_wrong(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "word", "--help");
    assert_false(p.ok);
    assert_int_equal(p.exit_code, 0);
    PARSE(&p, "-h", "--nonsense");
    assert_false(p.ok);
    assert_int_equal(p.exit_code, 0);
}

static void usage_that_is_wrong_ends_with_2(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "word");
    assert_true(!p.ok && p.exit_code == 2); /* no config */
    PARSE(&p, "-c");
    assert_true(!p.ok && p.exit_code == 2);
    PARSE(&p, "-c", "file", "--to");
    assert_true(!p.ok && p.exit_code == 2);
    PARSE(&p, "-c", "file", "--onc");
    assert_true(!p.ok && p.exit_code == 2);
    PARSE(&p, "-c", "file", "--once=yes");
    assert_true(!p.ok && p.exit_code == 2);
    PARSE(&p, "-c", "file", "-x");
    assert_true(!p.ok && p.exit_code == 2);
}

/* -- the binary ---------------------------------------------------------------------------------------------------- */

struct ran {
    int code;
    char out[1 << 16], err[1 << 16];
};

static void slurp(FILE *f, char *text, size_t cap)
{
    rewind(f);
    size_t n = fread(text, 1, cap - 1, f);
    text[n] = 0;
    fclose(f);
}

static void run(struct ran *r, const char *const *args)
{
    char *argv[16] = {(char *)(uintptr_t)MILLRACE_BIN};
    FILE *out = tmpfile(), *err = tmpfile();
    int status, n = 1;
    assert_true(out && err);
    for (; args[n - 1]; n++)
        argv[n] = (char *)(uintptr_t)args[n - 1];
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        alarm(30);
        execv(MILLRACE_BIN, argv);
        _exit(127);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    slurp(out, r->out, sizeof r->out);
    slurp(err, r->err, sizeof r->err);
}
#define RUN(r, ...) run(r, (const char *const[]){__VA_ARGS__, NULL})

static const char *const verbs[] = {"run", "check", "status", "state", "pause", "resume", "replay", "verify", "send", "explain", "config"};

static void expect(const struct ran *r, int code, const char *out_part, const char *err_part)
{
    if (r->code != code || (out_part ? !strstr(r->out, out_part) : r->out[0] != 0) || (err_part ? !strstr(r->err, err_part) : r->err[0] != 0))
        fail_msg("exit code %d, not %d\nstdout: %s\nstderr: %s", r->code, code, r->out, r->err);
}

static void help_of_the_program_names_every_verb(void **state)
{
    (void)state;
    struct ran r;
    RUN(&r, "--help");
    expect(&r, 0, "usage: millrace VERB", NULL);
    for (size_t i = 0; i < MR_COUNT(verbs); i++)
        assert_non_null(strstr(r.out, verbs[i]));
    RUN(&r, "help");
    expect(&r, 0, "usage: millrace VERB", NULL);
    RUN(&r, "--version");
    expect(&r, 0, "millrace " MR_VERSION "\n", NULL);
}

static void help_of_every_verb_teaches_and_ends_with_0(void **state)
{
    (void)state;
    for (size_t i = 0; i < MR_COUNT(verbs); i++) {
        struct ran r;
        char usage[64];
        RUN(&r, verbs[i], "--help");
        snprintf(usage, sizeof usage, "millrace %s", verbs[i]);
        expect(&r, 0, usage, NULL);
        assert_int_equal(strncmp(r.out, "usage: millrace ", 16), 0);
        size_t lines = 0;
        for (const char *p = r.out; (p = strchr(p, '\n')) != NULL; p++)
            lines++;
        assert_true(lines >= 4); /* more than a reminder of its options */
    }
}

static void no_verb_or_a_wrong_one_ends_with_2(void **state)
{
    (void)state;
    struct ran r;
    run(&r, (const char *const[]){NULL});
    expect(&r, 2, NULL, "usage: millrace VERB");
    RUN(&r, "rnu");
    expect(&r, 2, NULL, "no verb \"rnu\"; there are: run check");
}

static void a_verb_without_a_config_says_which_option_is_missing(void **state)
{
    (void)state;
    for (size_t i = 0; i < MR_COUNT(verbs); i++) {
        struct ran r;
        RUN(&r, verbs[i]);
        assert_int_equal(r.code, 2);
        assert_string_equal(r.out, "");
        assert_non_null(strstr(r.err, strcmp(verbs[i], "config") == 0 ? "usage: millrace config" : "Give -c FILE"));
        RUN(&r, verbs[i], "--nonsense");
        assert_int_equal(r.code, 2);
        assert_string_equal(r.out, "");
    }
}

static void a_config_that_is_not_there_or_wrong_ends_with_2(void **state)
{
    (void)state;
    static const char *const lines[][3] = {{"run"}, {"check"}, {"status"}, {"state", "show"}, {"pause", "s"}, {"resume", "s"},
                                           {"verify"}, {"send", "s"}, {"explain", "s", "-"}};
    char wrong[] = "/tmp/mr-cli-XXXXXX";
    int fd = mkstemp(wrong);
    static const char text[] = "sources:\n  shop: {webhok: {path: /x}}\n";
    assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == sizeof text - 1);
    close(fd);
    for (size_t i = 0; i < MR_COUNT(lines); i++) {
        struct ran r;
        RUN(&r, lines[i][0], "-c", "/nonexistent/millrace.yaml", lines[i][1], lines[i][1] ? lines[i][2] : NULL);
        expect(&r, 2, NULL, "/nonexistent/millrace.yaml");
        RUN(&r, lines[i][0], "-c", wrong, lines[i][1], lines[i][1] ? lines[i][2] : NULL);
        expect(&r, 2, NULL, "webhook"); /* the nearest known key */
        assert_non_null(strstr(r.err, ":2:"));
    }
    unlink(wrong);
}

/* -- explain and send, which need no server ------------------------------------------------------------------------- */

struct files {
    char folder[32], config[64], request[64];
};

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static int files_up(void **state)
{
    struct files *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->folder, sizeof f->folder, "/tmp/mr-cli-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->config, sizeof f->config, "%s/millrace.yaml", f->folder);
    snprintf(f->request, sizeof f->request, "%s/request.json", f->folder);
    setenv("MR_TEST_SECRET", "It's a Secret to Everybody", 1);
    put(f->config, "http: {listen: \"127.0.0.1:1\"}\nsources:\n  hub:\n    webhook:\n      path: /hooks/hub\n"
                   "      verify: {scheme: github, secrets: [\"${env:MR_TEST_SECRET}\"]}\n");
    *state = f;
    return 0;
}

static int files_down(void **state)
{
    struct files *f = *state;
    unlink(f->config);
    unlink(f->request);
    assert_int_equal(rmdir(f->folder), 0); /* neither command makes anything */
    free(f);
    return 0;
}

#define REQUEST(digest)                                                                                                \
    "{\"method\": \"POST\", \"path\": \"/hooks/hub\", \"headers\": [[\"X-Hub-Signature-256\", \"sha256=" digest        \
    "\"]], \"body_base64\": \"SGVsbG8sIFdvcmxkIQ==\"}"
#define GOOD REQUEST("757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
#define BAD  REQUEST("000007ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")

static void explain_exits_with_what_became_of_all_requests(void **state)
{
    struct files *f = *state;
    static const struct {
        const char *text;
        int code;
        size_t verdicts;
    } cases[] = {
        {GOOD, 0, 1},
        {GOOD "\n", 0, 1},
        {"\n  " GOOD "  \n\n", 0, 1},
        {GOOD "\n\n" GOOD "\r\n", 0, 2},
        {BAD, 1, 1},
        {GOOD "\n" BAD "\n" GOOD, 1, 3},
        {"", 2, 0},
        {"\n \n", 2, 0},
        {"not json", 2, 0},
        {GOOD "\n{\"method\": \"POST\"}\n" GOOD, 2, 1},
        {"{\"method\":\"POST\",\"path\":\"/\",\"headers\":{}}", 2, 0},
        {"{\"method\":\"POST\",\"path\":\"/\",\"headers\":[[\"a\"]]}", 2, 0},
        {"{\"method\":\"POST\",\"path\":\"/\",\"headers\":[[\"a\",\"b\",\"c\"]]}", 2, 0},
        {"{\"method\":\"POST\",\"path\":\"/\",\"headers\":[],\"body_base64\":\"=\"}", 2, 0},
        {"{\"method\":\"POST\",\"path\":\"/\",\"headers\":[]}", 1, 1},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct ran r;
        put(f->request, cases[i].text);
        RUN(&r, "explain", "-c", f->config, "hub", f->request);
        size_t verdicts = 0;
        for (const char *p = r.out; (p = strstr(p, "{\"verdict\":")) != NULL; p++)
            verdicts++;
        if (r.code != cases[i].code || verdicts != cases[i].verdicts || (r.err[0] != 0) != (cases[i].code == 2))
            fail_msg("%s\nexit code %d\nstdout: %s\nstderr: %s", cases[i].text, r.code, r.out, r.err);
    }
}

static void explain_says_what_is_wrong_with_its_words(void **state)
{
    struct files *f = *state;
    struct ran r;
    put(f->request, GOOD);
    RUN(&r, "explain", "-c", f->config, "hub");
    expect(&r, 2, NULL, "give SOURCE and REQUEST.json");
    RUN(&r, "explain", "-c", f->config, "hbu", f->request);
    expect(&r, 2, NULL, "no source \"hbu\"");
    RUN(&r, "explain", "-c", f->config, "hub", "/nonexistent");
    expect(&r, 2, NULL, "REQUEST cannot be read");
    static const char *const at[] = {"soon", "", "12x", "-1", "99999999999999999", "9223372036854775807"};
    for (size_t i = 0; i < MR_COUNT(at); i++) {
        RUN(&r, "explain", "-c", f->config, "hub", f->request, "--at", at[i]);
        expect(&r, 2, NULL, "--at is a number of seconds");
    }
    RUN(&r, "explain", "-c", f->config, "hub", f->request, "--at", "1700000000");
    expect(&r, 0, "\"accept\"", NULL);
}

static void send_to_nobody_ends_with_1_and_to_nonsense_with_2(void **state)
{
    struct files *f = *state;
    struct ran r;
    RUN(&r, "send", "-c", f->config, "hub", f->config); /* port 1 of this machine: nobody listens */
    expect(&r, 1, NULL, "is the server running?");
    RUN(&r, "send", "-c", f->config, "hub", "-", "--to", "ftp://127.0.0.1/");
    expect(&r, 2, NULL, "--to must be http://host:port/path or https://…, not \"ftp://127.0.0.1/\"");
    RUN(&r, "send", "-c", f->config, "hub", "-", "--to", "http:///x");
    expect(&r, 2, NULL, "--to must be");
    RUN(&r, "send", "-c", f->config, "hbu");
    expect(&r, 2, NULL, "no source \"hbu\"");
    RUN(&r, "send", "-c", f->config);
    expect(&r, 2, NULL, "which source?");
    RUN(&r, "send", "-c", f->config, "hub", "/nonexistent");
    expect(&r, 2, NULL, "/nonexistent: No such file");
}

#define WITH_FILES(name) cmocka_unit_test_setup_teardown(name, files_up, files_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_words_may_stand_in_any_order),
        cmocka_unit_test(the_long_name_of_the_config_is_the_same),
        cmocka_unit_test(a_dash_alone_is_a_word),
        cmocka_unit_test(what_stands_behind_two_dashes_is_words),
        cmocka_unit_test(a_value_may_look_like_an_option),
        cmocka_unit_test(help_ends_with_0_whatever_else_is_wrong),
        cmocka_unit_test(usage_that_is_wrong_ends_with_2),
        cmocka_unit_test(help_of_the_program_names_every_verb),
        cmocka_unit_test(help_of_every_verb_teaches_and_ends_with_0),
        cmocka_unit_test(no_verb_or_a_wrong_one_ends_with_2),
        cmocka_unit_test(a_verb_without_a_config_says_which_option_is_missing),
        cmocka_unit_test(a_config_that_is_not_there_or_wrong_ends_with_2),
        WITH_FILES(explain_exits_with_what_became_of_all_requests),
        WITH_FILES(explain_says_what_is_wrong_with_its_words),
        WITH_FILES(send_to_nobody_ends_with_1_and_to_nonsense_with_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
