#!/usr/bin/env bash
# Runs tests. What needs a control plane runs alone: two of them at a time on two cores
# would make every wait in the tests a guess. The others run side by side.
# Arguments: packages; -crash leaves out the crash tests. TESTFLAGS: more flags for `go test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

apart=
if [[ ${1:-} == -crash ]]; then
	apart=/test/crash$
	shift
fi
read -ra flags <<<"${TESTFLAGS:-}"

# Every package with the packages that its tests import.
listed=$(go list -f '{{.ImportPath}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}} ' "$@")
# names prints the packages whose line matches, or with -v those whose does not.
names() { grep -E "$@" <<<"$listed" | cut -d ' ' -f 1 | grep -vE "${apart:-^$}" || true; }
plane='/internal/(controlplane|operatortest) |/controller-runtime/pkg/envtest '
mapfile -t alone < <(names "$plane")
mapfile -t together < <(names -v "$plane")
mapfile -t adapters < <(names '/internal/upstream/upstreamtest ' | grep -v '/upstreamtest$')

go test -race -exec true "${alone[@]}" "${together[@]}" >/dev/null
failed=0
run() { go test -timeout 30m "$@" "${flags[@]}" || failed=1; }
((${#together[@]} == 0)) || run -race -p 2 "${together[@]}"
((${#alone[@]} == 0)) || run -race -p 1 "${alone[@]}"

if [[ $* == ./... ]]; then
	# What the race detector makes slow is drawn from above, and whole here: one goroutine
	# has nothing to race, and the sweeps of an adapter race in the same way each time.
	run -p 2 ./internal/rotation/rotationtest ./internal/upstream/upstreamtest
	run -p 2 -run '^TestConformance' "${adapters[@]}"
	# Clients that others wrote judge the simulators, from modules of their own.
	for judge in test/vcert test/cfclient; do
		(cd "$judge" && GOWORK=off go test -race "${flags[@]}" ./...) || failed=1
	done
fi
exit $failed
