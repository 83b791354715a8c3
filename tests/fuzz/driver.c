/* SPDX-License-Identifier: Apache-2.0 */
/* driver.c - replays a fuzz target's corpus without libFuzzer: every file of every folder given, and with each file every
 * prefix and a few hundred one-byte changes of it, so that a run under gcc and ASan is more than a smoke test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { FILE_MAX = 1 << 20, PREFIXES_MAX = 512, CHANGES = 300 };

static void run_copy(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1); /* exact size: ASan sees the first byte read past the end */
    if (!copy)
        abort();
    memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    uint8_t *bytes = malloc(FILE_MAX);
    if (!bytes)
        abort();
    size_t n = fread(bytes, 1, FILE_MAX, f);
    fclose(f);
    run_copy(bytes, n);
    size_t step = n / PREFIXES_MAX + 1;
    for (size_t cut = 0; cut < n; cut += step)
        run_copy(bytes, cut);
    uint32_t seed = 2463534242u; /* xorshift32: the same changes on every machine */
    for (int i = 0; i < CHANGES && n > 0; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        uint8_t kept = bytes[seed % n];
        bytes[seed % n] = (uint8_t)(seed >> 16);
        run_copy(bytes, n);
        bytes[seed % n] = kept;
    }
    free(bytes);
    return 1;
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (!d) {
            fprintf(stderr, "cannot open %s\n", argv[i]);
            return 1;
        }
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            char path[4096];
            if (e->d_name[0] != '.' && snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name) < (int)sizeof path)
                files += run_file(path);
        }
        closedir(d);
    }
    printf("%d corpus files replayed\n", files);
    return files > 0 ? 0 : 1; /* an empty corpus proves nothing */
}
