#!/usr/bin/env bash
# Checks, builds and deploys the stack: to an emulator on this machine, or to AWS.
#
#   localstack/deploy.sh              an emulator at AWS_ENDPOINT_URL (http://127.0.0.1:4566 unless set); if nothing
#                                     answers there, MiniStack is started: no Docker, no account (`make deploy-local`)
#   localstack/deploy.sh prod         AWS, with your own credentials, as samconfig.toml says for dev, staging or prod
#   localstack/deploy.sh delete       delete the stack from the emulator, with its data, and end the MiniStack that this
#                                     script started; without `delete` it keeps its state in .ministack/
#
# Run it again to update the stack.  STACK names another stack than samconfig.toml does; PARAMETERS has more of the
# emulator's stack, such as "Hostname=mail.test LogLevel=info"; words after the environment go to `sam deploy`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${1:-local}
state=${MINISTACK_DIR:-$PWD/.ministack}
sam=.venv-sam/bin/sam
export SAM_CLI_TELEMETRY=0

note() { printf '== %s\n' "$*" >&2; }

fail() {
  printf 'deploy.sh: %s\n' "$*" >&2
  exit 1
}

answers() { # whether an HTTP path of the emulator answers with 200
  python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' \
    "$AWS_ENDPOINT_URL$1" 2>/dev/null
}

start_ministack() {
  local port=${AWS_ENDPOINT_URL##*:}
  [[ $AWS_ENDPOINT_URL =~ ^http://(127\.0\.0\.1|localhost):[0-9]+$ ]] ||
    fail "nothing answers at $AWS_ENDPOINT_URL, and MiniStack can only be started on this machine"
  make --silent .venv-ministack/.installed
  note "starting MiniStack at $AWS_ENDPOINT_URL; its log is $state/log"
  mkdir -p "$state"
  (
    # Functions run in its environment: with the caller's EDGEPOST_… variables they would not start.  They call
    # MiniStack itself, or what FUNCTIONS_ENDPOINT_URL names.  It saves its state when it is stopped, not when killed.
    for name in $(compgen -e | grep '^EDGEPOST_' || true); do unset "$name"; done
    # An empty name would do too much: functions would inherit it, and call AWS itself.
    unset AWS_ENDPOINT_URL
    if [[ -n ${FUNCTIONS_ENDPOINT_URL:-} ]]; then export AWS_ENDPOINT_URL=$FUNCTIONS_ENDPOINT_URL; fi
    export BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" LAMBDA_EXECUTOR=local \
      PERSIST_STATE=1 STATE_DIR="$state/state" S3_PERSIST=1 S3_DATA_DIR="$state/s3"
    exec nohup .venv-ministack/bin/ministack
  ) >"$state/log" 2>&1 </dev/null &
  echo $! >"$state/pid"
  local tries
  for ((tries = 0; tries < 120; tries++)); do
    if answers /_ministack/health; then return; fi
    kill -0 "$(<"$state/pid")" 2>/dev/null || fail "MiniStack ended; $state/log says why"
    sleep 0.5
  done
  fail "MiniStack did not come up in a minute; see $state/log"
}

stop_ministack() {
  if [[ ! -e $state/pid ]]; then return; fi
  local pid
  pid=$(<"$state/pid")
  rm -f "$state/pid"
  # After a restart of the machine the number may be somebody else's.
  if [[ $(ps -o args= -p "$pid" 2>/dev/null) != *ministack* ]]; then return; fi
  kill -TERM "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
  note "MiniStack has ended"
}

use_emulator() {
  export AWS_ENDPOINT_URL=${AWS_ENDPOINT_URL:-http://127.0.0.1:4566}
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:-us-east-1}
  unset AWS_PROFILE AWS_SESSION_TOKEN
  answers /_localstack/health || start_ministack # MiniStack answers to LocalStack's name too
}

build_for_emulator() {
  local architecture=x86_64
  if [[ $(uname -m) == aarch64 || $(uname -m) == arm64 ]]; then architecture=arm64; fi
  if answers /_ministack/health; then
    # It runs functions with its own Python, on this machine.
    export LAMBDA_ARCHITECTURE=host
    LAMBDA_PYTHON=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    export LAMBDA_PYTHON
  else
    # LocalStack runs them in containers of this machine's architecture.
    export LAMBDA_ARCHITECTURE=$architecture LAMBDA_PYTHON=${LAMBDA_PYTHON:-3.13}
  fi
  parameters=(Environment=local DeletionProtection=false LogLevel=debug
    "PythonRuntime=python$LAMBDA_PYTHON" "Architecture=$architecture")
  local -a more
  read -r -a more <<<"${PARAMETERS:-}"
  parameters+=(${more[@]:+"${more[@]}"})
}

name_of_stack() {
  if [[ -n ${STACK:-} ]]; then
    echo "$STACK"
    return
  fi
  .venv/bin/python -c 'import sys, tomllib
print(tomllib.load(open("samconfig.toml", "rb"))[sys.argv[1]]["global"]["parameters"]["stack_name"])' "$1"
}

deploy() {
  note "checking template.yaml"
  .venv-sam/bin/cfn-lint template.yaml
  "$sam" validate --lint --config-env "$target" >&2
  note "building the packages"
  "$sam" build --config-env "$target" >&2
  note "deploying $stack"
  "$sam" deploy --config-env "$target" --stack-name "$stack" \
    ${parameters[@]:+--parameter-overrides "${parameters[@]}"} "$@"
}

say_what_is_next() {
  printf '\nThe stack %s is there.  Next, in this folder:\n\n' "$stack"
  if [[ $target == local ]]; then
    printf '  export AWS_ENDPOINT_URL=%s AWS_DEFAULT_REGION=%s\n' "$AWS_ENDPOINT_URL" "$AWS_DEFAULT_REGION"
    printf '  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test\n'
  fi
  printf '  export EDGEPOST_BACKEND=aws EDGEPOST_STACK=%s\n' "$stack"
  printf '  .venv/bin/edgepost initialize   # the first organization, server, domain and keys\n\n'
  if [[ $target == local ]]; then
    printf 'The emulator answers for a function URL when its name is in the Host header: add to curl\n'
    printf "  -H 'Host: NAME.lambda-url.%s.on.aws' %s/api/v1/…\n" "$AWS_DEFAULT_REGION" "$AWS_ENDPOINT_URL"
    printf 'with the NAME of the output ApiUrl.  make delete-local removes everything.\n'
  fi
  printf 'docs/deploy-stack.md goes on from here.\n'
}

parameters=()
case $target in
local | delete) ;;
dev | staging | prod) [[ -z ${AWS_ENDPOINT_URL:-} ]] || fail "AWS_ENDPOINT_URL is set, and $target is for AWS" ;;
*) fail "use: deploy.sh [local|dev|staging|prod|delete]" ;;
esac
make --silent .venv/bin/python .venv-sam/.installed
if [[ $target == delete ]]; then
  use_emulator
  .venv-sam/bin/python infra/delete_stack.py "$(name_of_stack local)" --with-data
  stop_ministack
  exit
fi
stack=$(name_of_stack "$target")
if [[ $target == local ]]; then
  use_emulator
  build_for_emulator
fi
deploy "${@:2}"
say_what_is_next
