# Finds every library that dmq stands on; each is a Debian package and an imported target here.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(cppzmq REQUIRED)        # cppzmq-dev, libzmq3-dev: target cppzmq
find_package(CLI11 REQUIRED)         # libcli11-dev: target CLI11::CLI11
find_package(spdlog REQUIRED)        # libspdlog-dev: target spdlog::spdlog
find_package(nlohmann_json REQUIRED) # nlohmann-json3-dev
find_package(tl-expected REQUIRED)   # libexpected-dev: target tl::expected
find_package(PkgConfig REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)

# libmsgpack-cxx-dev is headers only and wants Boost unless told otherwise.
find_path(MSGPACK_INCLUDE msgpack.hpp REQUIRED)
add_library(dmq_msgpack INTERFACE)
target_include_directories(dmq_msgpack SYSTEM INTERFACE ${MSGPACK_INCLUDE})
target_compile_definitions(dmq_msgpack INTERFACE MSGPACK_NO_BOOST MSGPACK_USE_STD_VARIANT_ADAPTOR=0)
