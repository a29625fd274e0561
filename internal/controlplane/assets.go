package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// AssetsVariable is the environment variable that names a folder of binaries to use
// instead of building them: one that hack/controlplane/build.sh printed.
const AssetsVariable = "CLAVIGER_CONTROLPLANE"

// rootModule matches the go.mod of the repository's root, and none of those nested in it.
var rootModule = regexp.MustCompile(`(?m)^module github\.com/claviger-dev/claviger$`)

// Assets returns the folder with the binaries of the control plane. It builds them
// where they are missing, which takes minutes the first time, and reports progress on
// stderr while it does. It must be called from within the repository unless
// AssetsVariable is set.
//
// `go test` gives a package ten minutes and shows no output until it is done, so
// have the binaries built before the tests are started.
func Assets(ctx context.Context) (string, error) {
	if dir := os.Getenv(AssetsVariable); dir != "" {
		return dir, nil
	}
	root, err := repositoryRoot()
	if err != nil {
		return "", fmt.Errorf("find hack/controlplane/build.sh (or set %s): %w", AssetsVariable, err)
	}
	var stdout bytes.Buffer
	build := exec.CommandContext(ctx, filepath.Join(root, "hack", "controlplane", "build.sh"))
	build.Stdout, build.Stderr = &stdout, os.Stderr
	// The script then ends its compiler; after the default, SIGKILL, it could not.
	build.Cancel = func() error { return build.Process.Signal(syscall.SIGTERM) }
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build the control plane: %w", err)
	}
	return strings.TrimSpace(stdout.String()), nil
}

// repositoryRoot walks up from the working directory, which for a test is the folder
// of its package.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if rootModule.Match(mod) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is outside the repository")
		}
		dir = parent
	}
}

// requireBinaries fails with the name of the first binary that is not in dir.
func requireBinaries(dir string) error {
	for _, name := range []string{"tethered/etcd", "tethered/kube-apiserver", "tethered/kube-controller-manager", "kubectl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("no control plane in this folder: %w", err)
		}
	}
	return nil
}
