#!/bin/sh
# Compiles everything here with warnings as errors, then builds check.c with the pure parts under ASan and
# UBSan and runs it: native/check.sh [seed]. Nothing is left behind. CC and PYTHON choose the tools.
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
    -Wl,--wrap=pread,--wrap=pwrite \
    "$here/check.c" "$here/checksum.c" "$here/xxh3.c" "$here/copy.c" -o "$work/check"
cd "$work" && ./check "$@"
