#!/usr/bin/env bash
# Keeps the floors of the house: who includes what, first lines, leftovers, sleeps. layers.sh [ROOT]; each fault is a line.
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

folders=()
for folder in protocol runtime storage metad router broker clients examples tests; do
  [[ ! -d $folder ]] || folders+=("$folder")
done

# files PATTERN...: our files with such names.
files() {
  local names=() pattern
  for pattern in "$@"; do names+=(-o -name "$pattern"); done
  find "${folders[@]}" \( -name node_modules -o -name __pycache__ -o -name corpus \) -prune -o \
    -type f \( "${names[@]:1}" \) -print
}

# Which folder may include from which; and which files may include a library. Tests may include anything.
check_includes() {
  files '*.hpp' '*.cpp' '*.h' | xargs grep -HE '^[[:space:]]*#[[:space:]]*include' | awk '
    BEGIN {
      split("protocol runtime storage metad router broker clients examples", names)
      for (i in names) is_folder[names[i]] = 1
      allowed["protocol"] = "protocol"
      allowed["runtime"] = "protocol runtime"
      allowed["storage"] = "protocol runtime storage"
      allowed["metad"] = "protocol runtime metad"
      allowed["router"] = "protocol runtime router"
      allowed["broker"] = "protocol runtime storage metad router broker dmq"
      allowed["clients"] = "protocol runtime clients dmq"
      allowed["examples"] = "dmq"
      library["lmdb.h"] = "^(storage/log[a-z_]*|metad/catalog_store)[.][ch]pp$"
      library["msgpack.hpp"] = "^protocol/"
      library["msgpack.h"] = "^protocol/"
      zmq = "^(runtime/|broker/|clients/|storage/(worker|peer_links|main)|metad/(daemon|main)|router/(router|main))"
      library["zmq.hpp"] = library["zmq_addon.hpp"] = library["zmq.h"] = zmq
    }
    function fault(why) { print file ": " why ": " line; faults = 1 }
    {
      file = substr($0, 1, index($0, ":") - 1)
      line = substr($0, index($0, ":") + 1)
      if (!match(line, /[<"][^>"]+[>"]/)) { fault("an include that cannot be read"); next }
      name = substr(line, RSTART + 1, RLENGTH - 2)
      quoted = substr(line, RSTART, 1) == "\""
      from = file; sub(/\/.*/, "", from)
      to = name; sub(/\/.*/, "", to)
      if (from == "tests") next

      if (name in library && file !~ library[name]) fault("this file may not use the library")
      if (name ~ /^msgpack\// && from != "protocol") fault("only protocol/ may use msgpack")
      if (file ~ /\/include\/dmq\//) {
        if (quoted ? to != "dmq" : name ~ /[.\/]/) fault("a public header needs only the standard library and dmq/")
        next
      }
      if (quoted && name !~ /\//) fault("give the path from the root of the project")
      if ((to in is_folder || to == "dmq" || to == "tests") && index(" " allowed[from] " ", " " to " ") == 0) {
        fault(from "/ may not include from " to "/")
      }
    }
    END { exit faults }'
}

# The first line, after #!, says what a file is for.
check_first_lines() {
  files '*.hpp' '*.cpp' '*.h' '*.py' '*.js' '*.mjs' '*.ts' '*.sh' '*.cmake' 'CMakeLists.txt' | while read -r file; do
    { read -r line || true; [[ $line != '#!'* ]] || read -r line || true; } <"$file"
    [[ $line =~ ^(//|#|/\*|\"\"\") && ! $line =~ ^#(include|pragma|define|if) ]] || echo "$file: its first line does not say what it is for"
  done | { ! grep .; }
}

check_leftovers() {
  files '*.hpp' '*.cpp' '*.h' '*.py' '*.js' '*.mjs' '*.ts' '*.sh' '*.cmake' 'CMakeLists.txt' |
    { ! xargs grep -nHwE 'T[O]DO|F[I]XME|X[X]X'; }
}

# Whoever sleeps and hopes is wrong on a slow machine; examples may, whose readers know what they wait for.
check_sleeps() {
  files '*.hpp' '*.cpp' '*.py' '*.js' | grep -v '^examples/' |
    { ! xargs grep -nHE '(sleep_for|sleep_until|usleep|nanosleep|time[.]sleep) *[(]'; }
}

status=0
check_includes || status=1
check_first_lines || status=1
check_leftovers || status=1
check_sleeps || status=1
exit $status
