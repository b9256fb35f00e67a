#!/bin/sh
# Copies the certificate that Caddy keeps for a name to where Edgepost reads it, now and whenever it was renewed.
#   certificate.sh NAME [FROM [TO [--once]]]
set -eu
name=$1
from=${2:-/data/caddy/certificates}
to=${3:-/tls}
owner=${OWNER:-10001} # the user of our image, unless told otherwise

copy() {
  for each in crt key; do
    # Below the name of the authority that issued it, whichever that is.
    found=$(find "$from" -path "*/$name/$name.$each" 2>/dev/null | head -n 1)
    if [ -z "$found" ]; then return 1; fi
    if ! cmp -s "$found" "$to/$each.pem"; then
      # Whole or not at all: Edgepost may read it at any moment.
      install -o "$owner" -g "$owner" -m 600 "$found" "$to/$each.new"
      mv "$to/$each.new" "$to/$each.pem"
    fi
  done
}

while :; do
  if copy; then pause=3600; else pause=5; fi
  if [ "${4:-}" = --once ]; then exit "$((pause == 5))"; fi
  sleep "$pause"
done
