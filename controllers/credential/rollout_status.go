package credential

import (
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rollout"
)

// maxWorkloads is how many workloads the status names.
const maxWorkloads = 16

func workloadStatus(workload string, state rollout.State) v1alpha1.WorkloadStatus {
	kind, name, _ := strings.Cut(workload, "/")
	return v1alpha1.WorkloadStatus{Kind: kind, Name: name, State: v1alpha1.WorkloadState(state)}
}

// rolloutStatus counts all workloads and names the first: those that are not done before
// those that are.
func rolloutStatus(version int64, all []v1alpha1.WorkloadStatus) *v1alpha1.RolloutStatus {
	isDone := func(w v1alpha1.WorkloadStatus) bool { return rollout.State(w.State) == rollout.Done }
	open, done := slices.DeleteFunc(slices.Clone(all), isDone), int64(0)
	for _, w := range all {
		if isDone(w) {
			open, done = append(open, w), done+1
		}
	}
	return &v1alpha1.RolloutStatus{Version: version, Total: int64(len(all)), Done: done, Workloads: open[:min(len(open), maxWorkloads)]}
}
