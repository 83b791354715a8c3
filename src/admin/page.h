/* SPDX-License-Identifier: Apache-2.0 */
/* page.h - the bytes of page.html, which the build turns into a C file (embed.cmake), so that the binary is all there
 * is to install. */
#ifndef MILLRACE_ADMIN_PAGE_H
#define MILLRACE_ADMIN_PAGE_H

#include <stddef.h>

extern const unsigned char mr_admin_page[];
extern const size_t mr_admin_page_size;

#endif
