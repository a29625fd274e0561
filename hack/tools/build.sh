#!/usr/bin/env bash
# Builds one of the project's tools at the version that go.mod pins, into a cached folder.
#
#   usage: hack/tools/build.sh controller-gen | golangci-lint
#
# The path of the binary is the only line on stdout; progress goes to stderr. The folder is
# named after what decides the binary, so a new version is built once and an unchanged one
# costs nothing. Any of these folders may be deleted at any time. CLAVIGER_CACHE moves them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

name=${1:?a tool is missing: controller-gen or golangci-lint}
case "$name" in
controller-gen) package=sigs.k8s.io/controller-tools/cmd/controller-gen ;;
golangci-lint)
	# In a module of its own: its two hundred requirements would move those of the others.
	package=github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	cd lint
	;;
*)
	echo "tools: $name is none of them" >&2
	exit 1
	;;
esac

# A tool runs on this machine, whatever the caller is cross-compiling for.
unset GOOS GOARCH GOFLAGS
export CGO_ENABLED=0 GOWORK=off

recipe=$({ cat go.mod go.sum; go env GOVERSION; uname -sm; } | git hash-object --stdin)
dir="${CLAVIGER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/claviger}/tools/${recipe:0:12}"
tool="$dir/$name"
if [[ -x "$tool" ]]; then
	echo "$tool"
	exit
fi

mkdir -p "$dir"
echo "tools: $name: compiling, takes some minutes the first time …" >&2
partial="$dir/.$name.$$"
# Renamed when it is whole, so that an aborted build is never taken for one.
go build -mod=readonly -buildvcs=false -trimpath -ldflags="-s -w" -o "$partial" "$package" &
compiler=$!
trap 'kill "$compiler" 2>/dev/null || true; rm -f "$partial"' EXIT
beat=0
while kill -0 "$compiler" 2>/dev/null; do
	sleep 0.5
	if ((SECONDS / 20 > beat)); then
		beat=$((SECONDS / 20))
		echo "tools: $name: still compiling, ${SECONDS}s" >&2
	fi
done
wait "$compiler"
mv "$partial" "$tool"
echo "tools: $name: done in ${SECONDS}s" >&2
echo "$tool"
