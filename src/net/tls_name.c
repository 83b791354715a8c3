/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_name.h"

#include <strings.h>

bool mr_tls_name_fits(struct mr_str pattern, struct mr_str name)
{
    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (pattern.n == 0 || name.n == 0 || memchr(name.p, 0, name.n) || memchr(pattern.p, 0, pattern.n))
        return false;
    if (pattern.n > 2 && pattern.p[0] == '*' && pattern.p[1] == '.') {
        const char *dot = memchr(name.p, '.', name.n);
        if (!dot || dot == name.p)
            return false;
        pattern = (struct mr_str){pattern.p + 1, pattern.n - 1};
        name = (struct mr_str){dot, name.n - (size_t)(dot - name.p)};
    }
    return pattern.n == name.n && !memchr(pattern.p, '*', pattern.n) && strncasecmp(pattern.p, name.p, name.n) == 0;
}
