#!/bin/bash
# Runs every benchmark and writes docs/performance.md. Loopback only; about ten minutes on two cores.
#   bench/run.sh                 everything
#   bench/run.sh relay api       some of: relay inbound bombs api signing tracking parts webhooks suppression storage
# EDGEPOST_BENCH_DIR   where peers are installed and queues lie (default: $TMPDIR/edgepost-bench)
# BENCH_ROUNDS, BENCH_MESSAGES, BENCH_RECORDS, BENCH_QUEUED, BENCH_SUPPRESSED: sizes, see bench/measure.py
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin

need() { # package command...: installs a Debian package for commands that are missing, when that is possible
  local package=$1 missing=; shift
  for each in "$@"; do command -v "$each" >/dev/null || missing=1; done
  [ -z "$missing" ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # The packages' own services must not start: only the benchmark's instances run, while it runs.
    local guard=/usr/sbin/policy-rc.d made=
    [ -e $guard ] || { printf '#!/bin/sh\nexit 101\n' >$guard; chmod +x $guard; made=1; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
      { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null; } ||
      echo "bench: $package could not be installed; what needs it is left out" >&2
    [ -z "$made" ] || rm -f $guard
  else
    echo "bench: $package is missing (and this is no root with apt-get); what needs it is left out" >&2
  fi
}
need postfix postfix smtp-source smtp-sink
need opendkim opendkim
need nodejs node
need npm npm

exec .venv/bin/python bench/report.py "$@"
