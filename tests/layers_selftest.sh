#!/usr/bin/env bash
# Shows that layers.sh sees each kind of fault: plants one at a time in a copy of a small house.
set -euo pipefail
layers=$(realpath "$(dirname "${BASH_SOURCE[0]}")/layers.sh")
house=$(mktemp -d)
trap 'rm -rf "$house"' EXIT
failed=0

# put FILE LINE...: a source with a good first line, then these lines.
put() {
  mkdir -p "$(dirname "$house/$1")"
  printf '%s\n' '// A file of the small house.' "${@:2}" >"$house/$1"
}

build_house() {
  rm -rf "${house:?}"/*
  put protocol/ids.hpp '#include <msgpack.hpp>' '#include <string>'
  put runtime/sockets.hpp '#include <zmq.hpp>' '#include "protocol/ids.hpp"'
  put storage/queue.hpp '#include "runtime/sockets.hpp"' '#include "storage/log.hpp"'
  put storage/log.hpp '#include <lmdb.h>'
  put storage/worker.cpp '#include <zmq.hpp>'
  put metad/catalog_store.cpp '#include <lmdb.h>'
  put router/router.cpp '#include <zmq.hpp>'
  put broker/broker.cpp '#include "dmq/broker.hpp"' '#include "storage/queue.hpp"' '#include "metad/daemon.hpp"'
  put broker/include/dmq/broker.hpp '#include <string>' '#include "dmq/client.hpp"'
  put clients/cpp/client.cpp '#include "dmq/client.hpp"' '#include "runtime/sockets.hpp"'
  put tests/unit/queue_test.cpp '#include <catch2/catch.hpp>' '#include "storage/queue.hpp"' '#include "clients/cpp/x.hpp"'
}

# refused WHAT FILE LINE...: with these lines in FILE, the test must fail and name the file.
refused() {
  build_house
  put "${@:2}"
  expect_fault "$1" "$2"
}

expect_fault() {
  local output
  if output=$("$layers" "$house") || [[ $output != *"$2"* ]]; then
    echo "not seen: $1"
    failed=1
  fi
}

build_house
"$layers" "$house" || { echo 'the small house without a fault was refused'; failed=1; }

refused 'protocol on runtime' protocol/ids.hpp '#include "runtime/sockets.hpp"'
refused 'runtime on storage' runtime/clock.hpp '#include "storage/queue.hpp"'
refused 'storage on metad' storage/queue.hpp '#include "metad/daemon.hpp"'
refused 'router on storage' router/admission.cpp '#  include "storage/queue.hpp"'
refused 'metad on router' metad/daemon.hpp '#include "router/router.hpp"'
refused 'metad on broker' metad/daemon.hpp '#include "broker/broker.hpp"'
refused 'clients on storage' clients/cli/main.cpp '#include "storage/queue.hpp"'
refused 'broker on clients' broker/main.cpp '#include "clients/cpp/client.hpp"'
refused 'a layer on the public headers' storage/queue.cpp '#include "dmq/client.hpp"'
refused 'a layer on the tests' router/router.cpp '#include "tests/unit/script.hpp"'
refused 'a system header in a public one' broker/include/dmq/broker.hpp '#include <zmq.hpp>'
refused 'an inner header in a public one' broker/include/dmq/broker.hpp '#include "broker/broker.hpp"'
refused 'msgpack outside protocol' router/router.cpp '#include <msgpack.hpp>'
refused 'lmdb in the queue core' storage/queue.cpp '#include <lmdb.h>'
refused 'zmq in a core' metad/controller.cpp '#include <zmq.hpp>'
refused 'a path that is not from the root' storage/queue.cpp '#include "log.hpp"'
refused 'a sleep' tests/unit/queue_test.cpp 'std::this_thread::sleep_for(std::chrono::seconds(1));'
refused 'a leftover' storage/queue.cpp "// TO""DO: later"
build_house
printf '#include <string>\n' >"$house/storage/queue.hpp"
expect_fault 'a first line that says nothing' storage/queue.hpp
exit $failed
