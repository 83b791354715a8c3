/* SPDX-License-Identifier: Apache-2.0 */
/* xml.h - XML by leaves: an element's place ("ListBucketResult/Contents/Key", namespaces left out) and its text, when it ends. Outside bytes: no document
 * type and so no entities, bounded depth and texts. Pure. */
#ifndef MR_NET_XML_H
#define MR_NET_XML_H

#include "millrace/buf.h"
#include "millrace/err.h"

enum { XML_LEAF_MAX = 4096 }; /* bytes of a text */
typedef void xml_leaf(void *arg, const char *path, struct mr_str text); /* both borrowed for the call */
/* MR_EMALFORMED: where and what is wrong; what leaves have told before is to be forgotten. */
MR_MUST enum mr_code xml_read(struct mr_str xml, xml_leaf *leaf, void *arg, struct mr_err *err);

#endif
