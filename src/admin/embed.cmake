# cmake -D IN=page.html -D OUT=page_html.c -P embed.cmake: the file's bytes as mr_admin_page[] (page.h).
file(READ ${IN} hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
file(WRITE ${OUT} "/* Made from page.html by embed.cmake. */
#include \"admin/page.h\"

const unsigned char mr_admin_page[] = {
${hex}
};
const size_t mr_admin_page_size = ${size};
")
