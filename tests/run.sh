#!/usr/bin/env bash
# Installs what the tests need and runs all of them: style, types, layers, the native code, then pytest in stages.
#
#   ./tests/run.sh              everything (about 20 minutes on 2 cores)
#   ./tests/run.sh --long       everything, with the long variants, the tests that take hours and the benchmarks
#   ./tests/run.sh --fast       no mounts and no servers: style, types, layers, native, unit
#   ./tests/run.sh --setup      only install; prints how to call pytest by hand
#   ./tests/run.sh -- ARGS...   one pytest run with these arguments, e.g. -- -k rename -x
#
# Ends with "PASSED" or "FAILED" and a line of counts. Exit codes: 0 all passed, 1 something failed, 2 cannot set up,
# 130 interrupted. What the run mounted or started is gone when it ends, however it ends.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repo"
. deploy/lib.sh

mode=all
is_long=
pytest_args=()
while [ $# -gt 0 ]; do
  case $1 in
  --long) is_long=1 ;;
  --fast) mode=fast ;;
  --setup) mode=setup ;;
  -h | --help)
    sed -n '2,/^set /{s/^# \{0,1\}//;/^set /!p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  --)
    shift
    mode=pytest
    pytest_args=("$@")
    break
    ;;
  *) die 2 "unknown argument $1; try --help" ;;
  esac
  shift
done

# ---- set up ---------------------------------------------------------------------------------------------------------
started_s=$SECONDS
ensure_packages ca-certificates git gcc libc6-dev make pkg-config fuse3 libfuse3-dev python3 python3-dev python3-venv \
  fio rsync sqlite3 attr acl procps util-linux
ensure_fuse_device
[ "$mode" = all ] && try_package chromium-headless-shell # looks at the dashboard
python=$(find_python) || die 2 "no Python 3.11 or newer with venv and headers; on Debian: apt-get install python3-dev python3-venv"

venv=$repo/.venv
extras=dev
# the DataLoader test's torch is pinned to a release whose CPU build is known for 3.11; elsewhere it may be gigabytes
if [ "$("$python" -c 'import sys; print(sys.version_info[:2] == (3, 11))')" = True ]; then
  extras=dev,torch
fi
interpreter="$("$python" -VV) $repo"
stamp=$({
  printf '%s %s\n' "$interpreter" "$extras"
  cat pyproject.toml
} | sha256sum | cut -d' ' -f1)
native_stamp=$({
  printf '%s\n' "$stamp"
  find native -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
} | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$stamp" ]; then
  say "installing into .venv with $("$python" -V)"
  if [ "$(cat "$venv/.interpreter" 2>/dev/null)" != "$interpreter" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv" || die 2 "cannot make a virtual environment with $python"
    printf '%s\n' "$interpreter" >"$venv/.interpreter"
  fi
  quiet_pip "$venv" -e ".[$extras]" || die 2 "pip install failed (its output is above)"
  printf '%s\n' "$stamp" >"$venv/.stamp"
  printf '%s\n' "$native_stamp" >"$venv/.native-stamp"
elif [ "$(cat "$venv/.native-stamp" 2>/dev/null)" != "$native_stamp" ]; then
  say "building the native extension"
  quiet_pip "$venv" --no-deps -e . || die 2 "building the native extension failed"
  printf '%s\n' "$native_stamp" >"$venv/.native-stamp"
fi
bin=$venv/bin
[ "$mode" = all ] && try_program "$venv/tools" promtool prometheus # checks metrics and alert rules
export PATH=$PATH:$venv/tools
say "ready after $((SECONDS - started_s)) s: $("$bin/python" -V), kernel $(uname -r)"
if [ "$mode" = setup ]; then
  say "run single tests with: .venv/bin/python -m pytest tests/unit"
  exit 0
fi

# ---- what this run makes, and how it goes away ----------------------------------------------------------------------
run_dir=$(mktemp -d "${TMPDIR:-/tmp}/tierfs-tests.XXXXXX")
tally=$run_dir/tally
export TMPDIR=$run_dir/tmp  # servers and helpers put their data there, so that it goes with the rest
mkdir "$tally" "$TMPDIR"
# every process of this run inherits it: what is left at the end is found by it and ended by its id
export TIERFS_TEST_RUN=$run_dir
export TIERFS_TEST_LONG=$is_long
# no test may find the credentials, the settings or the cloud of whoever runs it
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_REGION AWS_DEFAULT_REGION
export PYTHONUNBUFFERED=1
# the tests start the commands hundreds of times: they must not be compiled anew each time
unset PYTHONDONTWRITEBYTECODE
children=()  # process groups

left_processes() {
  local proc
  for proc in /proc/[0-9]*; do
    [ "${proc#/proc/}" = $$ ] && continue
    if tr '\0' '\n' <"$proc/environ" 2>/dev/null | grep -qxF "TIERFS_TEST_RUN=$run_dir"; then
      printf '%s\n' "${proc#/proc/}"
    fi
  done 2>/dev/null
}

# mount points below the run's directory, deepest first, with the minor number that fusectl knows them by
left_mounts() {
  awk -v top="$run_dir/" 'index($5, top) == 1 { split($3, device, ":"); print device[2], $5 }' /proc/self/mountinfo | tac
}

# release: takes away whatever this run left mounted or running, and notes it as a failed check
release() {
  local pid minor where mounts
  mounts=$(left_mounts)
  if [ -n "$mounts" ]; then
    printf 'failed no-mount-is-left\n' >>"$tally/checks"
    mountpoint -q /sys/fs/fuse/connections || as_root mount -t fusectl none /sys/fs/fuse/connections 2>/dev/null || true
    while read -r minor where; do
      say "unmounting what a test left: ${where#"$run_dir"/}"
      # abort first: no request of a hung mount may hold the unmount
      if [ -e "/sys/fs/fuse/connections/$minor/abort" ]; then
        echo 1 | as_root tee "/sys/fs/fuse/connections/$minor/abort" >/dev/null 2>&1 || true
      fi
      where=$(printf '%b' "$where")
      as_root timeout 20 umount -l "$where" 2>/dev/null || timeout 20 fusermount3 -u -z "$where" 2>/dev/null || true
    done <<<"$mounts"
  fi
  [ -n "$(left_processes)" ] || return 0
  printf 'failed no-process-is-left\n' >>"$tally/checks"
  for pid in $(left_processes); do
    say "ending what a test left: $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-160)"
    kill -TERM "$pid" 2>/dev/null || true
  done
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -n "$(left_processes)" ] || return 0
    sleep 0.3
  done
  for pid in $(left_processes); do kill -KILL "$pid" 2>/dev/null || true; done
}

clean_up() {
  release
  if [ -z "$(left_mounts)" ]; then
    rm -rf --one-file-system "$run_dir"
  else
    say "warning: still mounted below $run_dir"
  fi
}

interrupted() {
  trap '' INT TERM HUP
  local child
  for child in "${children[@]}"; do kill -INT -- "-$child" 2>/dev/null || true; done
  for child in "${children[@]}"; do
    for _ in $(seq 20); do
      kill -0 "$child" 2>/dev/null || break
      sleep 0.5
    done
  done
  trap - EXIT
  clean_up
  say "FAILED (interrupted)"
  exit 130
}
trap clean_up EXIT
trap interrupted INT TERM HUP

# begin COMMAND...: in its own process group, so that an interrupt reaches it at once and this script's traps run
begin() {
  set -m
  "$@" </dev/null &
  children+=("$!")
  set +m
}

# finish: waits for all that was begun; the exit code of the last one that failed
finish() {
  local child code=0
  for child in "${children[@]}"; do wait "$child" || code=$?; done
  children=()
  return "$code"
}

# ---- the checks -----------------------------------------------------------------------------------------------------
# check NAME COMMAND...: one check, counted like one test
check() {
  local name=$1 began_s=$SECONDS verdict=passed
  shift
  begin "$@" >"$run_dir/check.log" 2>&1
  finish || verdict=failed
  [ "$verdict" = passed ] || cat "$run_dir/check.log"
  say "$name: $verdict ($((SECONDS - began_s)) s)"
  printf '%s %s\n' "$verdict" "$name" >>"$tally/checks"
}

# run_pytest NAME ARGS...: one pytest run, its results kept for the tally
run_pytest() {
  local name=$1 code=0
  shift
  "$bin/python" -m pytest --basetemp="$run_dir/$name" --junitxml="$tally/$name.xml" "$@" || code=$?
  # 1 is told by the counts and 5 is "no test here"; anything else broke the run itself
  case $code in 0 | 1 | 5) ;; *) printf 'failed pytest-%s-exit-%s\n' "$name" "$code" >>"$tally/checks" ;; esac
}

# stage NAME PATH...: one pytest run over those of the directories that hold tests, its output when it is over
stage() {
  local name=$1 began_s=$SECONDS path paths=()
  shift
  [ "$name" != long ] || paths=(--long -m long)
  for path in "$@"; do
    [ -z "$(find "$path" -name 'test_*.py' -print -quit 2>/dev/null)" ] || paths+=("$path")
  done
  [ ${#paths[@]} -gt 0 ] || return 0
  say "$name begins"
  run_pytest "$name" -q "${paths[@]}" >"$run_dir/$name.log" 2>&1
  say "$name"
  cat "$run_dir/$name.log"
  say "$name took $((SECONDS - began_s)) s"
}

# two lanes side by side: most tests wait, for a store, a disk or a clock
one_lane() {
  stage unit tests/unit tests/tidy tests/native tests/model tests/fuzz tests/suites
  [ "$mode" = all ] || return 0
  stage crash tests/crash tests/faults
  stage e2e tests/e2e
}

other_lane() {
  stage conformance tests/conformance
  stage mount tests/mount
}

if [ "$mode" = pytest ]; then
  begin run_pytest pytest "${pytest_args[@]}"
  finish
else
  check "ruff check" "$bin/ruff" check .
  check "ruff format" "$bin/ruff" format --check .
  check "mypy" "$bin/mypy"
  check "layers (lint-imports)" "$bin/lint-imports"
  if [ -x native/check.sh ]; then check "native code under ASan and UBSan" env PYTHON="$bin/python" native/check.sh; fi
  begin one_lane
  if [ "$mode" = all ]; then begin other_lane; fi
  finish || printf 'failed a-lane-ended-early\n' >>"$tally/checks"
  if [ -n "$is_long" ] && [ "$mode" = all ]; then
    begin stage long tests
    finish
    begin stage bench tests/bench
    finish
  fi
fi

release
"$bin/python" tests/support/tally.py "$tally" $((SECONDS - started_s))
