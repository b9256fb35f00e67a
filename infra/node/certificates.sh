#!/usr/bin/env bash
# Certificates with which nodes outside of AWS get credentials (IAM Roles Anywhere, infra/nodes-anywhere.yaml).
#
#   certificates.sh authority DIR        a new authority: DIR/authority.crt for the stack, DIR/authority.key for nobody
#   certificates.sh node DIR NAME        a certificate of it for one node: DIR/NAME.crt and DIR/NAME.key, for a year
#
# Keep authority.key offline: whoever has it is a node.
set -euo pipefail
umask 077

fail() { printf 'certificates.sh: %s\n' "$*" >&2; exit 1; }

new_key() {
  [[ ! -e $1 ]] || fail "$1 is there already"
  openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

case ${1:-} in
authority)
  directory=${2:?authority needs a directory}
  mkdir -p "$directory"
  new_key "$directory/authority.key"
  openssl req -x509 -new -key "$directory/authority.key" -sha256 -days 3650 -subj "/CN=Edgepost nodes" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
    -out "$directory/authority.crt"
  ;;
node)
  directory=${2:?node needs a directory} name=${3:?node needs a name}
  [[ $name =~ ^[a-z0-9][a-z0-9.-]*$ ]] || fail "a name has lower-case letters, digits, dots and hyphens"
  [[ -e $directory/authority.key ]] || fail "$directory has no authority.key: certificates.sh authority $directory"
  new_key "$directory/$name.key"
  # Roles Anywhere takes end certificates that may sign and are no authorities.
  openssl req -new -key "$directory/$name.key" -subj "/CN=$name" |
    openssl x509 -req -CA "$directory/authority.crt" -CAkey "$directory/authority.key" -CAcreateserial -sha256 \
      -days 365 -out "$directory/$name.crt" -extfile <(
        printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature extendedKeyUsage=clientAuth
      ) 2>/dev/null
  ;;
*)
  fail "use: certificates.sh authority DIR | node DIR NAME"
  ;;
esac
