#!/bin/sh
# The holder alone, for tests and benchmarks: native/holder/build.sh OUTPUT [flags of the compiler...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=$1
shift
exec ${CC:-cc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror \
    -O2 -g -pthread "$@" "$here"/*.c -o "$output"
