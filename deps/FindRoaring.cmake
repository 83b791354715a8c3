# Roaring::Roaring, from Debian's package libroaring-dev, which has no pkg-config file.
find_path(ROARING_INCLUDE_DIR roaring/roaring.h)
find_library(ROARING_LIBRARY roaring)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Roaring REQUIRED_VARS ROARING_INCLUDE_DIR ROARING_LIBRARY)
if(Roaring_FOUND AND NOT TARGET Roaring::Roaring)
  add_library(Roaring::Roaring UNKNOWN IMPORTED)
  set_target_properties(Roaring::Roaring PROPERTIES IMPORTED_LOCATION ${ROARING_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${ROARING_INCLUDE_DIR})
endif()
