package controlplane

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// victimDir, if set, makes the test binary play the process that is killed.
const victimDir = "CLAVIGER_TEST_VICTIM_DIR"

// TestNothingOutlivesAKilledParent kills a process that runs a control plane.
func TestNothingOutlivesAKilledParent(t *testing.T) {
	if dir := os.Getenv(victimDir); dir != "" {
		start(t, Options{DataDir: dir, ControllerManager: true})
		fmt.Println("victim is ready")
		select {} // until it is killed
	}
	dir := t.TempDir()
	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), victimDir+"="+dir)
	victim.Stderr = os.Stderr
	stdout, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "victim is ready" {
		t.Log(lines.Text())
	}
	if got := processesOf(t, dir); len(got) != 3 {
		t.Errorf("want etcd, API server and controller manager to run, got %q", got)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := victim.Wait(); err == nil {
		t.Error("the victim ended by itself")
	}
	eventually(t, "the processes of a killed parent to be gone", func(context.Context) (bool, error) {
		return len(processesOf(t, dir)) == 0, nil
	})
}

func TestAFailedStartLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{CRDPaths: []string{filepath.Join(dir, "nowhere")}, DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("the error must name the path: %v", err)
	}
	if left := processesOf(t, dir); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}

// TestAbandonedFoldersAreRemoved plays an owner that died and one that lives.
func TestAbandonedFoldersAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead, err := openFolder("")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Close(); err != nil { // as the end of its process does
		t.Fatal(err)
	}
	alive, err := openFolder("")
	if err != nil {
		t.Fatal(err)
	}
	next, err := openFolder("")
	if err != nil {
		t.Fatal(err)
	}
	for f, want := range map[folder]bool{dead: false, alive: true, next: true} {
		if _, err := os.Stat(f.path); (err == nil) != want {
			t.Errorf("%s exists is to be %t: %v", f.path, want, err)
		}
	}
	for _, f := range []folder{alive, next} {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), scratchPattern+"*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// processesOf returns the programs with an argument that names dir.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		if strings.Contains(string(line), dir) {
			program, _, _ := strings.Cut(string(line), "\x00")
			found = append(found, filepath.Base(program))
		}
	}
	return found
}
