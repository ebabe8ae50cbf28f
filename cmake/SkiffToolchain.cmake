# Compiler, linker and sanitizer settings that every target shares.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON) # statement expressions carry SKIFF_TRY
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(SKIFF_FUZZ "Build the fuzz targets (clang only)" OFF)
option(SKIFF_GRPC "Build the parts that need gRPC (proxy snapshotter)" ON)
set(SKIFF_SANITIZE "" CACHE STRING "Sanitizers, comma-separated: address,undefined or thread")

add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -ffunction-sections -fdata-sections)
# g++ 12 reports false positives of these two through std::expected and std::string at -O2.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-maybe-uninitialized -Wno-restrict)
endif()
add_link_options(-Wl,--gc-sections)
# Quoted includes only: with -I, src/sys/socket.h would hide the system's <sys/socket.h>.
add_compile_options("SHELL:-iquote ${CMAKE_SOURCE_DIR}/src" "SHELL:-iquote ${CMAKE_SOURCE_DIR}")
add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64)

find_program(SKIFF_CCACHE ccache)
if(SKIFF_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${SKIFF_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SKIFF_CCACHE})
endif()
find_program(SKIFF_MOLD mold)
if(SKIFF_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

if(SKIFF_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link) # coverage, for libFuzzer to follow
endif()
if(SKIFF_SANITIZE)
  add_compile_options(-fsanitize=${SKIFF_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SKIFF_SANITIZE})
endif()
