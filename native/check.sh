#!/bin/sh
# Compiles everything here with warnings as errors, then builds check.c, check_holder.c, check_state.c and
# check_directories.c with the pure parts under ASan and UBSan and runs them: native/check.sh [seed [rounds]]. A long
# run has some thousand rounds.
# Nothing is left behind. CC and PYTHON choose the tools.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

flags="-std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror"
include=$("${PYTHON:-python3}" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
$cc $flags -O3 -fPIC -isystem "$include" -c "$here/module.c" -o "$work/module.o"

# -O2 as well as the sanitizers: vector code is only interesting when it is optimised
$cc $flags -Wmissing-prototypes -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
    -Wl,--wrap=pread,--wrap=pwrite,--wrap=write \
    "$here/check.c" "$here/checksum.c" "$here/xxh3.c" "$here/copy.c" -o "$work/check"
$cc $flags -Wmissing-prototypes -D_GNU_SOURCE -O1 -g -pthread -fsanitize=address,undefined -fno-sanitize-recover=all \
    "$here/check_holder.c" "$here/holder/fuse_wire.c" "$here/holder/pieces.c" "$here/holder/served.c" \
    "$here/holder/gate.c" "$here/holder/inflight.c" "$here/holder/tokens.c" "$here/holder/whole_io.c" \
    -o "$work/check_holder"
$cc $flags -Wmissing-prototypes -D_GNU_SOURCE -O1 -g -pthread -fsanitize=address,undefined -fno-sanitize-recover=all \
    -Wl,--wrap=pread,--wrap=pwrite,--wrap=write,--wrap=ioctl \
    "$here/check_state.c" "$here/holder/known.c" "$here/holder/hot_table.c" "$here/holder/hot_attributes.c" \
    "$here/holder/hot_list.c" "$here/holder/whole_io.c" -o "$work/check_state"
$cc $flags -Wmissing-prototypes -D_GNU_SOURCE -O1 -g -pthread -fsanitize=address,undefined -fno-sanitize-recover=all \
    "$here/check_directories.c" "$here/holder/directories.c" "$here/holder/fuse_wire.c" -o "$work/check_directories"
# the holder's tables live as long as its process: nothing frees them
cd "$work"
ASAN_OPTIONS=detect_leaks=0 ./check_holder "$@"
ASAN_OPTIONS=detect_leaks=0 ./check_state "$@"
ASAN_OPTIONS=detect_leaks=0 ./check_directories "$@"
./check "$@"
