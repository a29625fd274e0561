#!/usr/bin/env bash
# Checks everything about the tree that is no test. All checks run, even after one has
# failed; the last lines say which did.
#
#   usage: hack/verify.sh [CHECK...]     default: all, in this order
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

checks=(generated states format vet lint imports modules manifests scripts image)

generated() { hack/generate.sh --check; }

# docs/states.md is made from the planner.
states() { go test -run States ./internal/rotation/rotationtest; }

format() {
	local found
	found=$("$(hack/tools/build.sh golangci-lint)" fmt --diff ./... 2>&1) || true
	if [[ -n "$found" ]]; then
		echo "$found"
		echo "run: make fmt"
		return 1
	fi
}

vet() { go vet ./...; }

lint() {
	local tool
	tool=$(hack/tools/build.sh golangci-lint)
	"$tool" config verify
	"$tool" run --allow-parallel-runners ./...
}

imports() { go test ./test/imports; }

# Every module: tidy, and what it needs unchanged since it was first seen.
modules() {
	local mod failed=0
	for mod in $(git ls-files go.mod '*/go.mod'); do
		if (cd "$(dirname "$mod")" && GOWORK=off go mod tidy -diff >/dev/null); then
			echo "modules: $mod is tidy"
		else
			echo "modules: $mod is not tidy; run there: go mod tidy"
			failed=1
		fi
	done
	return "$failed"
}

manifests() {
	local kubectl folder file
	kubectl="$(hack/controlplane/build.sh)/kubectl"
	for folder in $(git ls-files 'config/*/kustomization.yaml'); do
		folder=$(dirname "$folder")
		"$kubectl" kustomize "$folder" >/dev/null || return 1
		# A kind that nobody installs ends the operator.
		for file in "$folder"/*.yaml; do
			file=$(basename "$file")
			[[ "$file" == kustomization.yaml ]] || grep -qF -- "$file" "$folder/kustomization.yaml" || { echo "manifests: $folder/kustomization.yaml forgets $file"; return 1; }
		done
		echo "manifests: $folder builds"
	done
}

scripts() {
	local script
	for script in $(git ls-files '*.sh' .ci/run); do
		bash -n "$script" || return 1
		[[ -x "$script" ]] || { echo "$script cannot be executed"; return 1; }
	done
}

image() {
	make --no-print-directory bin/claviger
	hack/image-check.sh bin/claviger
}

(($# == 0)) && set -- "${checks[@]}"
failed=()
for check in "$@"; do
	[[ " ${checks[*]} " == *" $check "* ]] || { echo "verify: there is no check $check; there are: ${checks[*]}" >&2; exit 2; }
	echo "verify: $check …"
	began=$SECONDS
	# In a shell of its own and not in a condition, where errors would not end it.
	set +e
	(set -e; "$check")
	status=$?
	set -e
	if ((status == 0)); then
		echo "verify: $check is fine ($((SECONDS - began))s)"
	else
		failed+=("$check")
		echo "verify: $check FAILED"
	fi
done
if ((${#failed[@]})); then
	echo "verify: failed: ${failed[*]}"
	exit 1
fi
echo "verify: all is fine: $*"
