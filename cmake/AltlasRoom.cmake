# altlas_room(NAME kv DEPS base config [LIBS PkgConfig::HWY ...] [TEST_DEPS ...] [PCH std|asio|none])
# makes library altlas_kv of every *.cc in the folder, test kv_test of every *_test.cc, benches and fuzzers of
# *_bench.cc and *_fuzz.cc. DEPS are rooms above this one: naming another is a configure error.
set_property(GLOBAL PROPERTY ALTLAS_ROOMS "")
if(ALTLAS_FUZZ)
  add_custom_target(fuzzers)
endif()

# Precompiled headers, each compiled once: std and fmt for rooms, Asio and JSON too for those that
# say PCH asio. They have no header of ours, so editing one rebuilds only what includes it.
set(pch_std <algorithm> <array> <bit> <charconv> <chrono> <cmath> <cstdint> <cstring> <deque> <filesystem> <fstream>
  <functional> <limits> <map> <memory> <mutex> <optional> <set> <span> <sstream> <string> <string_view> <thread> <utility>
  <variant> <vector> <fmt/format.h>)
set(pch_asio <boost/asio.hpp> <boost/json.hpp>)
file(WRITE ${CMAKE_BINARY_DIR}/pch.cc "")
function(altlas_pch name)
  add_library(altlas_pch_${name} OBJECT ${CMAKE_BINARY_DIR}/pch.cc)
  target_link_libraries(altlas_pch_${name} PRIVATE altlas_flags fmt::fmt Boost::json)
  target_precompile_headers(altlas_pch_${name} PRIVATE ${ARGN})
  # Without the time of the headers in it, the same headers give the same bytes, which ccache needs.
  target_compile_options(altlas_pch_${name} PRIVATE $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)
endfunction()
altlas_pch(std ${pch_std})
altlas_pch(asio ${pch_std} ${pch_asio})

function(altlas_room)
  cmake_parse_arguments(ROOM "" "NAME;PCH" "DEPS;LIBS;TEST_DEPS" ${ARGN})
  if(NOT ROOM_PCH)
    set(ROOM_PCH std)
  endif()
  get_property(known GLOBAL PROPERTY ALTLAS_ROOMS)
  foreach(dep ${ROOM_DEPS} ${ROOM_TEST_DEPS})
    if(NOT dep IN_LIST known)
      message(FATAL_ERROR "room ${ROOM_NAME} depends on ${dep}, which is not above it (rooms so far: ${known})")
    endif()
  endforeach()
  set_property(GLOBAL APPEND PROPERTY ALTLAS_ROOMS ${ROOM_NAME})

  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cc)
  file(GLOB_RECURSE protos CONFIGURE_DEPENDS *.proto)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  set(benches ${sources})
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  set(fuzzers ${sources})
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_bench|_fuzz|/main)\\.cc$")

  set(room altlas_${ROOM_NAME})
  set(links)
  foreach(dep ${ROOM_DEPS})
    list(APPEND links altlas_${dep})
  endforeach()
  if(sources OR protos)
    add_library(${room} STATIC ${sources})
    target_link_libraries(${room} PUBLIC altlas_flags ${links} ${ROOM_LIBS})
    if(NOT ROOM_PCH STREQUAL "none")
      target_precompile_headers(${room} REUSE_FROM altlas_pch_${ROOM_PCH})
    endif()
    # room/x.proto becomes gen/room/x.pb.h and .cc; protos import each other as "room/x.proto".
    foreach(proto ${protos})
      file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR}/src ${proto})
      string(REGEX REPLACE "\\.proto$" ".pb" out ${CMAKE_BINARY_DIR}/gen/${path})
      add_custom_command(OUTPUT ${out}.h ${out}.cc DEPENDS ${proto}
        COMMAND protobuf::protoc -I ${CMAKE_SOURCE_DIR}/src --cpp_out ${CMAKE_BINARY_DIR}/gen ${proto})
      target_sources(${room} PRIVATE ${out}.cc ${out}.h)
      target_include_directories(${room} SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/gen)
    endforeach()
  else()
    add_library(${room} INTERFACE)
    target_link_libraries(${room} INTERFACE altlas_flags ${links} ${ROOM_LIBS})
  endif()

  if(ALTLAS_TESTS AND tests)
    add_executable(${ROOM_NAME}_test ${tests})
    if("ops" IN_LIST ROOM_DEPS)
      target_sources(${ROOM_NAME}_test PRIVATE ${CMAKE_SOURCE_DIR}/src/ops/simd_environment_test.cc)
    endif()
    set(test_links)
    foreach(dep ${ROOM_TEST_DEPS})
      list(APPEND test_links altlas_${dep})
    endforeach()
    target_link_libraries(${ROOM_NAME}_test PRIVATE ${room} altlas_testing ${test_links} GTest::gmock GTest::gtest_main)
    target_compile_definitions(${ROOM_NAME}_test PRIVATE ALTLAS_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    set(discover DISCOVERY_MODE PRE_TEST TEST_PREFIX "${ROOM_NAME}/"
      PROPERTIES LABELS "${ROOM_NAME}" TIMEOUT 300)
    if(tests MATCHES "_speed_test\\.cc")  # What is timed has the machine to itself.
      gtest_discover_tests(${ROOM_NAME}_test TEST_FILTER "*Speed.*" ${discover} RUN_SERIAL ON)
      gtest_discover_tests(${ROOM_NAME}_test TEST_FILTER "-*Speed.*" ${discover})
    else()
      gtest_discover_tests(${ROOM_NAME}_test ${discover})
    endif()
  endif()
  if(ALTLAS_TESTS AND benches)
    add_executable(${ROOM_NAME}_bench ${benches})
    target_link_libraries(${ROOM_NAME}_bench PRIVATE ${room} altlas_testing benchmark::benchmark_main)
    # Benches run with tiny inputs in every test run, so that they cannot rot.
    add_test(NAME ${ROOM_NAME}/bench_smoke COMMAND ${ROOM_NAME}_bench --benchmark_min_time=0.001)
    set_tests_properties(${ROOM_NAME}/bench_smoke PROPERTIES LABELS "${ROOM_NAME};bench" ENVIRONMENT ALTLAS_BENCH_TINY=1
      FAIL_REGULAR_EXPRESSION "ERROR OCCURRED")  # A bench that gives up ends with 0.
  endif()
  if(ALTLAS_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(name ${fuzzer} NAME_WE)
      add_executable(${name} ${fuzzer})
      target_link_libraries(${name} PRIVATE ${room})
      target_link_options(${name} PRIVATE -fsanitize=fuzzer)
      add_dependencies(fuzzers ${name})
      # A smoke test: the same inputs each time, as many as take some seconds.
      add_test(NAME ${ROOM_NAME}/${name} COMMAND ${name} -seed=1 -runs=20000 -max_len=2048 -timeout=20)
      set_tests_properties(${ROOM_NAME}/${name} PROPERTIES LABELS "fuzz" TIMEOUT 300
        WORKING_DIRECTORY ${CMAKE_BINARY_DIR})  # What it finds lies there.
    endforeach()
  endif()
endfunction()

# altlas_binary(NAME main.cc): the program of the room it is called in.
function(altlas_binary name main)
  get_filename_component(room ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  add_executable(${name} ${main})
  target_link_libraries(${name} PRIVATE altlas_${room})
endfunction()
