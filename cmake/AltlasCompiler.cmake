# Flags that every target of ours is compiled with.
add_library(altlas_flags INTERFACE)
target_include_directories(altlas_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(altlas_flags INTERFACE
  -Wall -Wextra -Werror -Wno-missing-field-initializers
  -ffp-contract=off        # A product and a sum become one FMA only where the code says so: same bits on every target.
  -fno-math-errno -fvisibility-inlines-hidden)
target_compile_definitions(altlas_flags INTERFACE
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
  BOOST_ASIO_NO_TS_EXECUTORS SPDLOG_FMT_EXTERNAL ALTLAS_VERSION="${PROJECT_VERSION}")
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(altlas_flags INTERFACE -Wno-unused-command-line-argument -Wno-deprecated-declarations)
  find_program(ALTLAS_LLD NAMES ld.lld-19 ld.lld)
  if(ALTLAS_LLD)
    add_link_options(--ld-path=${ALTLAS_LLD})
  endif()
else()
  target_compile_options(altlas_flags INTERFACE -Wno-psabi -Wno-deprecated-declarations -Wno-interference-size -Wno-tsan
    -Wno-restrict -Wno-stringop-overflow -Wno-maybe-uninitialized -Wno-uninitialized)  # g++ 12 -O3 sees ghosts in std::string, fmt, variant.
endif()
if(ALTLAS_SANITIZE)
  add_compile_options(-fsanitize=${ALTLAS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ALTLAS_SANITIZE})
  target_compile_definitions(altlas_flags INTERFACE ALTLAS_SANITIZED=1)
endif()
find_program(ALTLAS_CCACHE ccache)
if(ALTLAS_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${ALTLAS_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${ALTLAS_CCACHE})
endif()
