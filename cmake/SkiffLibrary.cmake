# One static library a folder: skiff_library(content SOURCES a.cc DEPS base metadata TESTS a_test.cc).
# DEPS name skiff folders or, with LINK, outside libraries. Each folder's unit tests become one
# program, <name>_test, registered with CTest under the label "unit".
find_package(PkgConfig REQUIRED)
find_package(GTest REQUIRED)
include(GoogleTest)

function(skiff_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;LINK;TESTS;TEST_DEPS;TEST_LINK" ${ARGN})
  if(A_SOURCES)
    add_library(skiff_${name} STATIC ${A_SOURCES})
    set(scope PUBLIC)
  else()
    add_library(skiff_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  list(TRANSFORM A_DEPS PREPEND skiff_)
  target_link_libraries(skiff_${name} ${scope} ${A_DEPS} ${A_LINK})
  if(A_TESTS)
    skiff_test(${name}_test SOURCES ${A_TESTS} DEPS ${name} ${A_TEST_DEPS} LINK ${A_TEST_LINK} LABEL unit)
  endif()
endfunction()

# A test program. LABEL is unit, suite, integration or crash.
function(skiff_test name)
  cmake_parse_arguments(A "" "LABEL;TIMEOUT" "SOURCES;DEPS;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  list(TRANSFORM A_DEPS PREPEND skiff_)
  target_link_libraries(${name} PRIVATE ${A_DEPS} ${A_LINK} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE SKIFF_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             SKIFF_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  # One CTest entry a program: programs run side by side, their cases one after another.
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABEL}" TIMEOUT ${A_TIMEOUT})
  # All programs of one label: ninja unit_tests.
  if(NOT TARGET ${A_LABEL}_tests)
    add_custom_target(${A_LABEL}_tests)
  endif()
  add_dependencies(${A_LABEL}_tests ${name})
endfunction()

# A program of bin/. STATIC links everything in, libc too.
function(skiff_program name)
  cmake_parse_arguments(A "STATIC" "" "SOURCES;DEPS;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  list(TRANSFORM A_DEPS PREPEND skiff_)
  target_link_libraries(${name} PRIVATE ${A_DEPS} ${A_LINK})
  if(A_STATIC AND NOT SKIFF_SANITIZE)
    target_link_options(${name} PRIVATE -static)
  endif()
endfunction()
