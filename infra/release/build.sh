#!/usr/bin/env bash
# Builds what a release consists of into dist/: source, wheel, its pinned requirements, checksums.
#   make release                 the version of pyproject.toml, at its tag
#   infra/release/build.sh DIR   the same into another directory
# RELEASE_UNTAGGED=yes builds a version that is not tagged yet, to try it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-.venv/bin/python}
to=${1:-dist}

version=$("$python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')

refuse() { printf 'release: %s\n' "$*" >&2; exit 1; }

if [[ ${RELEASE_UNTAGGED:-} != yes ]]; then
  [[ -z $(git status --porcelain) ]] || refuse "there are uncommitted changes"
  [[ $(git tag --points-at HEAD) == *"v$version"* ]] ||
    refuse "this commit does not have the tag v$version: git tag -a v$version -m 'Edgepost $version'"
  grep -q "^## \[$version\]" CHANGELOG.md || refuse "CHANGELOG.md has no section for $version"
fi

rm -rf build
mkdir -p "$to"
# The build tools are the pinned ones of .venv, and the same commit gives the same wheel.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s) "$python" -m build --no-isolation --outdir "$to" . >&2
rm -rf build
cp requirements/standalone.txt "$to/edgepost-$version-requirements.txt"
(cd "$to" && sha256sum "edgepost-$version"-* "edgepost-$version.tar.gz" >"edgepost-$version.sha256")

cat <<END
$to has Edgepost $version.  The images (needs Docker with buildx, and REGISTRY to push to):

  docker buildx build --platform linux/amd64,linux/arm64 -f infra/node/Dockerfile \\
    -t \$REGISTRY/edgepost:$version --push .
END
