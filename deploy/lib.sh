# Shell functions that deploy/quickstart.sh and tests/run.sh share. Sourced, never run.
# They install what is missing and nothing else, so that a second run changes nothing.

say() { printf '==> %s\n' "$*"; }

# die CODE TEXT...: one clear line on stderr, then exit CODE.
die() {
  local code=$1
  shift
  printf 'error: %s\n' "$*" >&2
  exit "$code"
}

# as_root COMMAND...: runs it as root, through sudo where needed; returns 1 where neither works.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    return 1
  fi
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# ensure_packages NAME...: installs the Debian packages that are missing.
ensure_packages() {
  command -v apt-get >/dev/null 2>&1 || die 2 "this script installs Debian packages; on another system install by hand what matches: $*"
  local missing=() name
  for name in "$@"; do
    is_installed "$name" || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing ${missing[*]}"
  as_root true || die 2 "missing packages, and neither root nor sudo to install them; as root: apt-get install ${missing[*]}"
  # the package lists of a fresh machine may be empty or old
  as_root apt-get update -qq -o DPkg::Lock::Timeout=300 || die 2 "apt-get update failed"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null ||
    die 2 "apt-get install failed for: ${missing[*]}"
}

# try_package NAME: installs a Debian package that a run can do without; says so where it cannot be had, and never fails.
try_package() {
  (ensure_packages "$1") || say "without $1: what needs it is skipped"
}

# try_program DIRECTORY PROGRAM PACKAGE: puts one program of a Debian package there, without installing the service that
# comes with it. Says so where it cannot be had, and never fails.
try_program() {
  local directory=$1 program=$2 package=$3 unpacked
  [ -x "$directory/$program" ] && return 0
  say "fetching $program"
  unpacked=$(mktemp -d)
  chmod 755 "$unpacked" # apt-get downloads as a user of its own
  if (
    cd "$unpacked"
    # the package lists of a fresh machine may be empty or old
    apt-get download -qq "$package" >/dev/null 2>&1 ||
      { as_root apt-get update -qq -o DPkg::Lock::Timeout=300 && apt-get download -qq "$package" >/dev/null; }
  ) && dpkg -x "$unpacked"/*.deb "$unpacked" && mkdir -p "$directory"; then
    cp "$unpacked/usr/bin/$program" "$directory/"
  else
    say "without $program: what needs it is skipped"
  fi
  rm -rf "$unpacked"
}

# can_build_venv PYTHON: it is 3.11 or newer, makes venvs, and has the headers for a C extension.
can_build_venv() {
  "$1" - >/dev/null 2>&1 <<'PYTHON'
import ensurepip, os, sys, sysconfig, venv
sys.exit(not (sys.version_info >= (3, 11) and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))))
PYTHON
}

# find_python: prints the interpreter to use. 3.11 first: it is Debian 12's, and the one the pinned wheels are for.
find_python() {
  local name path
  for name in "${TIERFS_PYTHON:-python3.11}" python3.11 /usr/bin/python3 python3 python3.12 python3.13; do
    path=$(command -v "$name") || continue
    if can_build_venv "$path"; then
      printf '%s\n' "$path"
      return 0
    fi
  done
  return 1
}

# ensure_fuse_device: /dev/fuse exists, or the reason is told; never fails.
ensure_fuse_device() {
  [ -c /dev/fuse ] || as_root modprobe fuse >/dev/null 2>&1 || true
  [ -c /dev/fuse ] || say "warning: no /dev/fuse on this machine; nothing can be mounted here"
}

# quiet_pip VENV ARGS...: pip install in a virtual environment; its output is shown only when it fails.
quiet_pip() {
  local venv=$1 output
  shift
  output=$("$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" 2>&1) && return 0
  printf '%s\n' "$output" >&2
  return 1
}
