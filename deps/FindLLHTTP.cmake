# LLHTTP::LLHTTP, from Debian's package node-llhttp, which ships sources rather than a library.
#
# LLHTTP_STRICT_MODE=1 is for the library and for every includer: without it, llhttp 8.1 takes "\r\n\rX" as the end of the
# headers (CVE-2025-23167) and rubbish after a chunk.
find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp)
find_path(LLHTTP_SOURCE_DIR NAMES llhttp.c PATHS /usr/share/llhttp)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LLHTTP REQUIRED_VARS LLHTTP_INCLUDE_DIR LLHTTP_SOURCE_DIR)
if(LLHTTP_FOUND AND NOT TARGET LLHTTP::LLHTTP)
  add_library(mr_llhttp STATIC ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c ${LLHTTP_SOURCE_DIR}/llhttp.c)
  target_include_directories(mr_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
  target_compile_definitions(mr_llhttp PUBLIC LLHTTP_STRICT_MODE=1)
  target_compile_options(mr_llhttp PRIVATE -w -O2)
  add_library(LLHTTP::LLHTTP ALIAS mr_llhttp)
endif()
