/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/near.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Damerau-Levenshtein in its restricted form (no edit inside a swapped pair): three rows of the table are enough. */
size_t mr_near_distance(struct mr_str a, struct mr_str b)
{
    if (a.n > MR_NEAR_WORD_MAX || b.n > MR_NEAR_WORD_MAX)
        return (size_t)-1;
    size_t rows[3][MR_NEAR_WORD_MAX + 1] = {{0}};
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.n; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            char x = lower(a.p[i - 1]), y = lower(b.p[j - 1]);
            now[j] = least(least(last[j] + 1, now[j - 1] + 1), last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == lower(b.p[j - 2]) && lower(a.p[i - 2]) == y)
                now[j] = least(now[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b.n];
}

void mr_near_offer(struct mr_near *near, const char *known)
{
    struct mr_str k = mr_str_c(known);
    size_t longer = k.n > near->word.n ? k.n : near->word.n;
    /* About a third of the letters, at most three: "urll" is near "url", "abc" is not. */
    size_t bound = least(longer > 4 ? (longer + 1) / 3 : 1, 3);
    size_t distance = mr_near_distance(near->word, k);
    if (distance > bound || (near->best && distance >= near->distance))
        return;
    near->best = known;
    near->distance = distance;
}
