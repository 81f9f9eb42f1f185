#!/usr/bin/env bash
# Measures tierfs in each of its modes beside a native directory and the store's own limit, all in one run.
#
#   tests/bench/run.sh                      everything (about half an hour on 2 cores, 30 GiB below $TMPDIR)
#   tests/bench/run.sh --quick              small sizes: to try the benchmark, its figures say little
#   tests/bench/run.sh --only ROW,...       these rows only; a wrong name lists them all
#   tests/bench/run.sh --json FILE          all samples, for programs
#   tests/bench/run.sh --plot FILE          a PNG of the ratios
#   tests/bench/run.sh --peers FILE --slow-peers FILE   what peers.py --json wrote on this machine: goals against the
#                                           best peer are then judged by it
#
# README.md beside this says what each row is. Exit codes: 0 all goals met, 1 some missed, 2 cannot measure.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$repo/deploy/lib.sh"

case " $* " in *" -h "* | *" --help "*)
  sed -n '2,/^set /{s/^# \{0,1\}//;/^set /!p}' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac

"$repo/tests/run.sh" --setup >&2
python=$repo/.venv/bin/python
case " $* " in *" --plot"*)
  if ! "$python" -c 'import matplotlib' 2>/dev/null; then
    say "installing what the plot needs" >&2
    (cd "$repo" && quiet_pip "$repo/.venv" -e ".[bench]") || say "no plot: matplotlib cannot be installed" >&2
  fi
  ;;
esac

export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_REGION AWS_DEFAULT_REGION
export PYTHONPATH=$repo${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -m tests.bench.side_by_side "$@"
