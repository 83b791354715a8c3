/* SPDX-License-Identifier: Apache-2.0 */
/* crons.c - lines of "AFTER_US<tab>CRON" in; out for each the next TIMES times in microseconds, or "never", or "refused: why". For cron.py. */
#include "millrace/schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TIMES = 4 };

int main(void)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char *text;
        int64_t at = strtoll(line, &text, 10);
        struct mr_err err;
        struct mr_cron cron;
        text[strcspn(text, "\n")] = '\0';
        if (*text != '\t' || !mr_cron_parse(text + 1, &cron, &err)) {
            printf("refused: %s\n", *text == '\t' ? err.msg : "no tab");
            continue;
        }
        for (int i = 0; i < TIMES && at != MR_NO_TIME; i++) {
            at = mr_cron_next(&cron, at);
            if (at == MR_NO_TIME)
                printf("never ");
            else
                printf("%" PRId64 " ", at);
        }
        putchar('\n');
    }
    return 0;
}
