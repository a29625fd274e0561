#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kubectl and kube-controller-manager from Go modules,
# at the versions that go.mod pins, into a cached folder.
#
#   usage: hack/controlplane/build.sh
#
# The folder is the only line on stdout; progress goes to stderr. It is named after
# the version and the content of everything that decides the binaries, so a change
# builds a new one and an unchanged tree costs nothing. Any of these folders may be
# deleted at any time. CLAVIGER_CACHE moves them.
#
# Needs Go and git, nothing else: the binaries are static and pure Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The binaries run on this machine, whatever the caller is cross-compiling for.
unset GOOS GOARCH
export CGO_ENABLED=0 GOWORK=off

pinned() { awk -v module="$1" '$1 == module && $2 ~ /^v/ {print $2; exit}' go.mod; }
kubernetes=$(pinned k8s.io/kubernetes)
etcd=$(pinned go.etcd.io/etcd/server/v3)

recipe=$({ cat go.mod go.sum build.sh tether/*.go; uname -sm; } | git hash-object --stdin)
dir="${CLAVIGER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/claviger}/controlplane/$kubernetes-${recipe:0:12}"

say() { echo "control plane: $*" >&2; }

complete() {
	local name
	for name in etcd kube-apiserver kubectl kube-controller-manager; do
		[[ -x "$dir/$name" && -x "$dir/tethered/$name" ]] || return 1
	done
}

if complete; then
	echo "$dir"
	exit
fi

mkdir -p "$dir/tethered"
for tool in go git; do
	command -v "$tool" >/dev/null || { say "$tool is missing"; exit 1; }
done
# Two builds at once would only take the processor from each other. Where flock does
# not exist they may; each binary still appears whole or not at all.
if command -v flock >/dev/null; then
	exec 9>"$dir/.lock"
	if ! flock --nonblock 9; then
		say "another build of the same binaries is running, waiting for it …"
		flock 9
	fi
	rm -f "$dir"/.partial.* # of builds that were killed: nobody else builds now
fi

compiler=""
partial=""
give_up() {
	if [[ -n "$compiler" ]]; then kill "$compiler" 2>/dev/null || true; fi
	if [[ -n "$partial" ]]; then rm -f "$partial"; fi
}
trap give_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# build N NAME PACKAGE VERSION FIRST_TIME: compiles unless it is there already, and
# says that it is alive while it does.
build() {
	local step=$1 name=$2 package=$3 version=$4 first_time=$5 started=$SECONDS beat=0 elapsed
	if [[ -x "$dir/$name" ]]; then
		return
	fi
	say "[$step/5] $name${version:+ $version}: compiling, takes about $first_time the first time …"
	# Compiled under another name and renamed, so that an aborted build is never
	# taken for a whole one.
	partial="$dir/.partial.$name.$$"
	go build -mod=readonly -buildvcs=false -trimpath -ldflags "$ldflags" -o "$partial" "$package" 9>&- &
	compiler=$!
	while kill -0 "$compiler" 2>/dev/null; do
		sleep 0.5
		elapsed=$((SECONDS - started))
		if ((elapsed / 20 > beat)); then
			beat=$((elapsed / 20))
			say "[$step/5] $name: still compiling, ${elapsed}s"
		fi
	done
	wait "$compiler" || { say "$name did not compile"; exit 1; }
	compiler=""
	mv "$partial" "$dir/$name"
	partial=""
	say "[$step/5] $name: done in $((SECONDS - started))s"
}

# Without the stamp the API server calls itself v0.0.0, and what decides by the
# server's version decides wrongly.
IFS=. read -r major minor _ <<<"${kubernetes#v}"
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
	ldflags+=" -X $package.gitCommit= -X $package.gitTreeState=clean"
done

build 1 tether ./tether "" "a second"
build 2 etcd go.etcd.io/etcd/server/v3 "$etcd" "a minute"
build 3 kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$kubernetes" "4 minutes"
build 4 kubectl k8s.io/kubernetes/cmd/kubectl "$kubernetes" "a minute"
build 5 kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$kubernetes" "2 minutes"
for name in etcd kube-apiserver kubectl kube-controller-manager; do
	ln -sfn ../tether "$dir/tethered/$name"
done

complete
say "built in ${SECONDS}s"
echo "$dir"
