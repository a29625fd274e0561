#!/usr/bin/env bash
# Generates what is made from Go: deep copies, CustomResourceDefinitions, and the
# operator's ClusterRole and Role. With --check nothing is written; it fails if a file is not as
# it would be written.
#
#   usage: hack/generate.sh [--check]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

controller_gen=$(hack/tools/build.sh controller-gen)

# Into another folder first: a failed run then leaves the tree as it was, and a file that
# nothing generates any more is found.
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
mkdir -p "$out/api/v1alpha1" "$out/config/crd" "$out/config/rbac"
"$controller_gen" \
	crd object paths=./api/... \
	output:crd:dir="$out/config/crd" output:object:dir="$out/api/v1alpha1"
"$controller_gen" \
	rbac:roleName=claviger "paths=./controllers/...;./internal/..." \
	output:rbac:artifacts:config="$out/config/rbac"
# The same rights for one namespace.
mkdir -p "$out/config/namespaced/served"
sed 's/^kind: ClusterRole$/kind: Role/' "$out/config/rbac/role.yaml" >"$out/config/namespaced/served/role.yaml"

generated=(
	api/v1alpha1/zz_generated.deepcopy.go
	config/rbac/role.yaml
	config/namespaced/served/role.yaml
	$(cd "$out" && ls config/crd/credentials.claviger.dev_*.yaml)
)
if [[ "${1:-}" != --check ]]; then
	for file in "${generated[@]}"; do
		cp "$out/$file" "$file"
	done
	exit
fi

stale=0
for file in "${generated[@]}"; do
	diff -u --label "$file (in the tree)" --label "$file (generated)" "$file" "$out/$file" || stale=1
done
for file in config/crd/credentials.claviger.dev_*.yaml; do
	if [[ ! -e "$out/$file" ]]; then
		echo "$file: nothing generates it any more"
		stale=1
	fi
done
if ((stale)); then
	echo "generated files are stale: run make generate" >&2
	exit 1
fi
