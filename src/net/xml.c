/* SPDX-License-Identifier: Apache-2.0 */
#include "xml.h"

#include <expat.h>
#include <stdint.h>
#include <stdlib.h>

enum { DEPTH_MAX = 12, PATH_MAX_BYTES = 256 };

struct reader {
    XML_Parser parser;
    char path[PATH_MAX_BYTES];
    size_t path_n, starts[DEPTH_MAX];
    int depth;
    struct mr_buf text;
    xml_leaf *on_leaf;
    void *arg;
    const char *why; /* it was ended by us */
};

static void give_up(struct reader *r, const char *why)
{
    r->why = why;
    XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL on_start(void *arg, const char *name, const char **attributes)
{
    struct reader *r = arg;
    const char *colon = strrchr(name, ':');
    (void)attributes;
    name = colon ? colon + 1 : name; /* whatever prefix the namespace has */
    size_t n = strlen(name);
    if (r->depth == DEPTH_MAX || r->path_n + n + 2 > sizeof r->path) {
        give_up(r, "deeper than any answer");
        return;
    }
    r->starts[r->depth++] = r->path_n;
    if (r->path_n)
        r->path[r->path_n++] = '/';
    memcpy(r->path + r->path_n, name, n + 1);
    r->path_n += n;
    mr_buf_clear(&r->text);
}

static void XMLCALL on_text(void *arg, const char *bytes, int n)
{
    struct reader *r = arg;
    mr_buf_put(&r->text, bytes, (size_t)n);
    if (r->text.failed)
        give_up(r, "a longer text than any");
}

static void XMLCALL on_end(void *arg, const char *name)
{
    struct reader *r = arg;
    (void)name;
    r->on_leaf(r->arg, r->path, mr_buf_str(&r->text));
    r->path_n = r->starts[--r->depth];
    r->path[r->path_n] = 0;
    mr_buf_clear(&r->text);
}

static void XMLCALL on_doctype(void *arg, const char *name, const char *system, const char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    give_up(arg, "a document type"); /* and with it all entities */
}

enum mr_code xml_read(struct mr_str xml, xml_leaf *on_leaf, void *arg, struct mr_err *err)
{
    struct reader r = {.parser = XML_ParserCreate("UTF-8"), .on_leaf = on_leaf, .arg = arg};
    enum mr_code code = MR_OK;
    if (!r.parser)
        return mr_err_set(err, MR_ENOMEM, "XML");
    if (xml.n > INT32_MAX)
        xml.n = INT32_MAX;
    mr_buf_init(&r.text, XML_LEAF_MAX);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    if (XML_Parse(r.parser, xml.n ? xml.p : "", (int)xml.n, 1) != XML_STATUS_OK)
        code = mr_err_set(err, MR_EMALFORMED, "not the XML that was expected, at byte %ld: %s", (long)XML_GetCurrentByteIndex(r.parser),
                          r.why ? r.why : XML_ErrorString(XML_GetErrorCode(r.parser)));
    mr_buf_free(&r.text);
    XML_ParserFree(r.parser);
    return code;
}
