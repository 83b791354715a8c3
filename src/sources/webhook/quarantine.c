/* SPDX-License-Identifier: Apache-2.0 */
#include "quarantine.h"

#include "millrace/fault.h"
#include "millrace/file.h"

#include <stdio.h>

enum mr_code mr_quarantine_put(const char *data_dir, struct mr_str source, const char *name, struct mr_str bytes,
                               struct mr_err *err)
{
    char dir[4096], path[4096 + 256];
    int fault = MR_POINT(quarantine_write);
    if (fault)
        return mr_err_sys(err, fault, "quarantine %s", name);
    if (snprintf(dir, sizeof dir, "%s/quarantine/%.*s", data_dir, (int)source.n, source.p) >= (int)sizeof dir ||
        snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return mr_err_set(err, MR_ETOOBIG, "quarantine: path of %s", name);
    if (mr_dir_make(dir, 0750, err) != MR_OK || mr_file_replace(path, bytes, 0640, err) != MR_OK)
        return mr_err_wrap(err, "quarantine %s", name);
    return MR_OK;
}
