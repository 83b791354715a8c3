/* SPDX-License-Identifier: Apache-2.0 */
/* secrets.c - a source's verifier: the secrets of the config, then those that its vendor handed over. */
#include "hub.h"

#include "millrace/hash.h"

#include <stdlib.h>

enum mr_code webhook_verifier(const struct webhook_options *o, const struct mr_secrets *kept, struct mr_verifier **out,
                              struct mr_err *err)
{
    struct mr_shaker *shaker = NULL;
    if (mr_shaker_new(&o->handshake, o->verify.scheme, &o->verify.secrets, &shaker, err) != MR_OK)
        return err->code;
    bool keeps = mr_shaker_keeps(shaker);
    mr_shaker_free(shaker);
    if (!keeps)
        return mr_verifier_new(&o->verify, out, err);
    struct mr_verify_options all = o->verify;
    unsigned char random[32];
    struct mr_buf unknown;
    size_t count = o->verify.secrets.count, more = kept ? kept->count : 0;
    struct mr_secret *items = calloc(count + more + 1, sizeof *items);
    if (!items)
        return mr_err_set(err, MR_ENOMEM, "secrets");
    mr_buf_init(&unknown, 128);
    mr_random(random, sizeof random);
    mr_hex_put(&unknown, random, sizeof random);
    if (count)
        memcpy(items, o->verify.secrets.items, count * sizeof *items);
    if (more)
        memcpy(items + count, kept->items, more * sizeof *items);
    all.secrets = (struct mr_secrets){items, count + more};
    if (all.secrets.count == 0)
        items[all.secrets.count++] = (struct mr_secret){unknown.p, unknown.n, NULL};
    enum mr_code code = mr_verifier_new(&all, out, err);
    if (unknown.p)
        mr_cleanse(unknown.p, unknown.n);
    mr_buf_free(&unknown);
    free(items);
    return code;
}
