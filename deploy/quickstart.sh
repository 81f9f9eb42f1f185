#!/usr/bin/env bash
# Installs tierfs on a Debian 12 machine, mounts a demo bucket and runs a first job on it. Run it again at any time.
#
#   ./deploy/quickstart.sh                    a directory of this machine is the bucket: no server, no account
#   ./deploy/quickstart.sh SOURCE [DIR]       another bucket, e.g. s3://my-bucket/prefix, mounted at DIR
#
# TIERFS_PREFIX    where the program goes  (default: /opt/tierfs as root, else ~/.local/share/tierfs)
# TIERFS_BIN_DIR   where the two commands are linked  (default: /usr/local/bin as root, else ~/.local/bin)
# TIERFS_SHARE_DIR where manual pages and shell completions go  (default: share beside the commands' directory)
# TIERFS_SBIN_DIR  where the helpers of mount(8) are linked, as root  (default: /sbin)
# TIERFS_UNIT_DIR  where the systemd unit goes, as root  (default: /etc/systemd/system)
# TIERFS_DEMO_DIR  where the demo's bucket, mount point and cache go  (default: ~/tierfs-demo)
#
# Ends with "quickstart: OK" and leaves the bucket mounted. Exit codes: 0 done, 1 the first job failed, 2 cannot install.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$repo/deploy/lib.sh"

case ${1:-} in -h | --help)
  sed -n '2,/^set /{s/^# \{0,1\}//;/^set /!p}' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac

if [ "$(id -u)" -eq 0 ]; then
  prefix=${TIERFS_PREFIX:-/opt/tierfs}
  bin_dir=${TIERFS_BIN_DIR:-/usr/local/bin}
else
  prefix=${TIERFS_PREFIX:-$HOME/.local/share/tierfs}
  bin_dir=${TIERFS_BIN_DIR:-$HOME/.local/bin}
fi
sbin_dir=${TIERFS_SBIN_DIR:-/sbin}
unit_dir=${TIERFS_UNIT_DIR:-/etc/systemd/system}
share_dir=${TIERFS_SHARE_DIR:-$(dirname "$bin_dir")/share}
demo=${TIERFS_DEMO_DIR:-$HOME/tierfs-demo}
source=${1:-file://$demo/bucket}
mountpoint=${2:-$demo/mnt}
cache=$demo/cache

# ---- install --------------------------------------------------------------------------------------------------------
ensure_packages ca-certificates gcc libc6-dev pkg-config fuse3 libfuse3-dev python3 python3-dev python3-venv git
ensure_fuse_device
[ -c /dev/fuse ] || die 2 "this machine has no /dev/fuse, so nothing can be mounted; in a container, pass the device in"
python=$(find_python) || die 2 "no Python 3.11 or newer with venv and headers; on Debian: apt-get install python3-dev python3-venv"
version=$({
  "$python" -VV
  cd "$repo"
  find pyproject.toml tierfs native deploy -type f \( -path 'deploy/*' -o -name '*.py' -o -name '*.toml' -o -name '*.[ch]' \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
} | sha256sum | cut -d' ' -f1)
if [ "$(cat "$prefix/.installed" 2>/dev/null)" = "$version" ]; then
  say "tierfs is installed in $prefix"
else
  say "installing tierfs into $prefix"
  mkdir -p "$prefix"
  [ -x "$prefix/venv/bin/pip" ] || "$python" -m venv --clear "$prefix/venv" || die 2 "cannot make a virtual environment in $prefix"
  # pip builds in the source tree: hand it a copy, so that the repository stays as it is and may be read-only
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  (cd "$repo" && cp -R pyproject.toml README.md LICENSE tierfs native deploy "$build/")
  find "$build" \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +
  quiet_pip "$prefix/venv" --force-reinstall --no-deps "$build" || die 2 "pip could not build tierfs (its output is above)"
  quiet_pip "$prefix/venv" "$build[manual]" || die 2 "pip could not install what tierfs needs (its output is above)"
  printf '%s\n' "$version" >"$prefix/.installed"
fi
mkdir -p "$bin_dir"
for name in tierfs tierctl; do ln -sfn "$prefix/venv/bin/$name" "$bin_dir/$name"; done
# manual pages and completions say what this version says
"$prefix/venv/bin/python" -m tierfs.cli.manual "$share_dir" || die 2 "cannot write manual pages below $share_dir"
# mount(8) looks for its helpers nowhere else, and calls them by the type of the entry or of the mount
if [ "$(id -u)" -eq 0 ]; then
  mkdir -p "$sbin_dir"
  for name in mount umount; do
    for kind in tierfs fuse.tierfs; do ln -sfn "$prefix/venv/bin/$name.tierfs" "$sbin_dir/$name.$kind"; done
  done
  mkdir -p "$unit_dir"
  sed "s|/usr/local/bin/|$bin_dir/|" "$prefix/venv/lib/systemd/system/tierfs@.service" >"$unit_dir/tierfs@.service"
  [ ! -d /run/systemd/system ] || systemctl daemon-reload || true
fi
tierfs=$bin_dir/tierfs
tierctl=$bin_dir/tierctl

# ---- mount ----------------------------------------------------------------------------------------------------------
mkdir -p "$demo"
[ -n "${1:-}" ] || mkdir -p "$demo/bucket"
[ -n "${2:-}" ] || mountpoint -q "$mountpoint" 2>/dev/null || mkdir -p "$mountpoint"
if mountpoint -q "$mountpoint"; then
  say "$mountpoint is mounted already"
else
  say "mounting $source at $mountpoint"
  "$tierfs" mount "$source" "$mountpoint" --cache "$cache" || die 1 "the mount failed; the line above says why"
fi

# ---- a first job ----------------------------------------------------------------------------------------------------
job_failed() { die 1 "the first job failed at: $BASH_COMMAND"; }
trap job_failed ERR
job=$mountpoint/first-job
say "a first job in $job: a git repository, an archive of it, and its checksum"
rm -rf "$job"
mkdir "$job"
git -c init.defaultBranch=main init -q "$job/project"
cp "$repo"/README.md "$repo"/LICENSE "$job/project/"
git -C "$job/project" add -A
git -C "$job/project" -c user.name=tierfs -c user.email=tierfs@localhost commit -q -m "first commit on a bucket"
git -C "$job/project" fsck --no-progress
tar -C "$job" -czf "$job/project.tar.gz" project
(cd "$job" && sha256sum project.tar.gz >SHA256SUMS && sha256sum -c SHA256SUMS)

say "waiting until all of it is in the bucket"
"$tierctl" wait --synced "$job"
"$tierctl" status "$job"
if [ "${source#file://}" != "$source" ]; then
  bucket=${source#file://}
  say "the same files, as plain objects in $bucket:"
  (cd "$bucket" && ls -l first-job first-job/project)
  cmp "$bucket/first-job/project.tar.gz" "$job/project.tar.gz"
fi
trap - ERR

case :$PATH: in *":$bin_dir:"*) ;; *) say "$bin_dir is not on your PATH; add it to call tierfs and tierctl by name" ;; esac
say "look around in:     $mountpoint"
say "unmount:            tierfs umount $mountpoint"
say "your own bucket:    tierfs mount s3://my-bucket/prefix DIR   (keys from the environment, ~/.aws or the instance)"
say "quickstart: OK, $source is mounted at $mountpoint"
