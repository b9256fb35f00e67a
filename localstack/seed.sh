#!/usr/bin/env bash
# Sample data for the stack in an emulator on this machine: an organization with two servers, a domain and a key for
# each.  Everything goes through the edgepost command, as an operator would do it.  Run twice, nothing comes twice.
#
#   localstack/seed.sh [STACK]        STACK is edgepost-local unless given
#
# It works on emulators only: without a loopback AWS_ENDPOINT_URL it does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export AWS_ENDPOINT_URL=${AWS_ENDPOINT_URL:-http://127.0.0.1:4566}
if [[ ! $AWS_ENDPOINT_URL =~ ^https?://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?/?$ ]]; then
  echo "seed.sh: $AWS_ENDPOINT_URL is no emulator on this machine; samples are never put into a real store" >&2
  exit 1
fi
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:-us-east-1}
unset AWS_PROFILE AWS_SESSION_TOKEN
export EDGEPOST_BACKEND=aws EDGEPOST_STACK=${1:-edgepost-local}
command=${COMMAND:-.venv/bin/edgepost}

is_there() { "$command" "$@" --json >/dev/null 2>&1; }

"$command" initialize --json >/dev/null
is_there org show acme || "$command" org create Acme --permalink acme

for name in Shop Newsletter; do
  server=${name,,}
  mode=Live
  # What it is sent is held, so that its list shows something.
  if [[ $name == Newsletter ]]; then mode=Development; fi
  is_there server show "$server" || "$command" server create "$name" --organization acme --mode "$mode"
  domain=$server.acme.test
  is_there domain show "$domain" --server "$server" || "$command" domain add "$domain" --server "$server" --trusted
  if [[ $("$command" credential list --server "$server" --json) != *'"Sample key"'* ]]; then
    "$command" credential create --server "$server" --type API --name "Sample key"
  fi
done
