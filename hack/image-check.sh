#!/usr/bin/env bash
# Proves what the image promises without a container engine: the operator's binary is
# static, and runs as an unprivileged user in a root that is empty but for it and cannot
# be written.
#
#   usage: hack/image-check.sh BINARY
#
# Nothing is skipped: where the kernel forbids one way another is taken and named, and
# where it forbids all the check fails.
set -euo pipefail

binary=$(realpath "${1:?a binary is missing}")
root=$(mktemp -d)
trap 'chmod u+w "$root"; rm -rf "$root"' EXIT
cp "$binary" "$root/claviger"
chmod 0555 "$root/claviger" "$root"

fail() { echo "image: $*" >&2; exit 1; }

# The dynamic loader is named in the binary itself; a static one names none.
if command -v readelf >/dev/null; then
	if readelf -l "$binary" | grep -q INTERP || readelf -d "$binary" | grep -q NEEDED; then
		fail "the binary is not static"
	fi
fi

# inside PROGRAM ARGS: runs a program in the empty root and prints what it prints.
if ((EUID == 0)) && unshare --mount --net true 2>/dev/null; then
	how="an empty root that is mounted read-only, without a network, as user 65532"
	inside() {
		# shellcheck disable=SC2016
		unshare --mount --net sh -euc '
			mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"
			root=$1; shift
			exec env -i "$(command -v setpriv)" --no-new-privs "$(command -v chroot)" --userspec=65532:65532 --groups= "$root" "$@"
		' sh "$root" "$@"
	}
elif ((EUID == 0)); then
	how="an empty root in which user 65532 may write nothing (mount namespaces are forbidden here, so it is not mounted read-only)"
	inside() { env -i "$(command -v setpriv)" --no-new-privs "$(command -v chroot)" --userspec=65532:65532 --groups= "$root" "$@"; }
elif unshare --user --map-root-user --mount --net true 2>/dev/null; then
	how="an empty root that is mounted read-only, without a network, as user $EUID"
	inside() {
		# shellcheck disable=SC2016
		unshare --user --map-root-user --mount --net sh -euc '
			mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"
			root=$1; shift
			exec env -i "$(command -v chroot)" "$root" "$@"
		' sh "$root" "$@"
	}
else
	fail "cannot make an empty root here: run as root, or allow user namespaces"
fi

version=$(inside /claviger --version) || fail "claviger --version fails in $how"
[[ "$version" == claviger\ * ]] || fail "claviger --version prints '$version'"
help=$(inside /claviger --help 2>&1) || fail "claviger --help fails in $how"
[[ "$help" == *--leader-elect* || "$help" == *-leader-elect* ]] || fail "claviger --help does not name its flags"

# It has to come as far as looking for the API server, and to say so, instead of failing
# for want of a file that an ordinary machine has.
if words=$(inside /claviger 2>&1); then
	fail "claviger runs without an API server"
fi
[[ "$words" == *"KUBERNETES_MASTER"* || "$words" == *"configuration"* || "$words" == *"kubeconfig"* ]] ||
	fail "claviger fails for another cause than the missing API server: $words"

echo "image: $version is static and runs in $how"
