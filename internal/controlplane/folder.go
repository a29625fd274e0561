package controlplane

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// scratchPattern names the temporary folders of control planes without a DataDir.
const scratchPattern = "claviger-controlplane-"

// folder is where one control plane keeps everything that it writes.
type folder struct {
	path string
	// lock is held for the life of a scratch folder; nil if the folder is the caller's.
	lock *os.File
}

// openFolder prepares dataDir or, if that is empty, a scratch folder that close removes.
// What an earlier control plane left in dataDir is removed except etcd's data: the
// certificates of the past are worthless, since the keys of their authority are gone.
func openFolder(dataDir string) (folder, error) {
	if dataDir == "" {
		return openScratch()
	}
	path, err := filepath.Abs(dataDir)
	if err != nil {
		return folder{}, err
	}
	f := folder{path: path}
	for _, stale := range []string{f.pki(), f.managerCerts(), f.logs()} {
		if err := os.RemoveAll(stale); err != nil {
			return folder{}, err
		}
	}
	return f, f.create()
}

// openScratch makes a folder in the system's temporary one. A lock on a file in it says
// that its owner is alive: a test that was killed could not clean up, and each of its
// folders holds the 128 MB that etcd allocates in advance.
func openScratch() (folder, error) {
	removeAbandoned()
	path, err := os.MkdirTemp("", scratchPattern)
	if err != nil {
		return folder{}, err
	}
	f := folder{path: path}
	if err := f.create(); err != nil {
		return folder{}, err
	}
	// Renamed once it is locked: a lock file that is not locked means an owner that died.
	unlocked := filepath.Join(path, "lock.new")
	f.lock, err = os.Create(unlocked)
	if err != nil {
		return folder{}, err
	}
	if err := syscall.Flock(int(f.lock.Fd()), syscall.LOCK_EX); err != nil {
		return folder{}, err
	}
	return f, os.Rename(unlocked, filepath.Join(path, "lock"))
}

// removeAbandoned removes the scratch folders whose owner died. It is housekeeping on
// behalf of others, so its failures are not this control plane's.
func removeAbandoned() {
	locks, err := filepath.Glob(filepath.Join(os.TempDir(), scratchPattern+"*", "lock"))
	if err != nil {
		return
	}
	for _, name := range locks {
		lock, err := os.Open(name)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(name))
		}
		_ = lock.Close()
	}
}

func (f folder) create() error {
	for _, dir := range []string{f.etcd(), f.pki(), f.managerCerts(), f.logs()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// close removes a scratch folder and leaves any other as it is.
func (f folder) close() error {
	if f.lock == nil {
		return nil
	}
	return errors.Join(os.RemoveAll(f.path), f.lock.Close())
}

func (f folder) etcd() string         { return filepath.Join(f.path, "etcd") }
func (f folder) pki() string          { return filepath.Join(f.path, "pki") }
func (f folder) managerCerts() string { return filepath.Join(f.path, "kube-controller-manager") }
func (f folder) logs() string         { return filepath.Join(f.path, "logs") }
func (f folder) kubeconfig() string   { return filepath.Join(f.path, "kubeconfig") }

// openLog opens the file that takes the output of the named process. A file, not a
// pipe: the process writes to it itself and never waits for a reader.
func (f folder) openLog(process string) (*os.File, error) {
	return os.OpenFile(filepath.Join(f.logs(), process+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// lastWords quotes the end of every log, for an error that would otherwise say no more
// than that a process did not start.
func (f folder) lastWords() error {
	const lines = 8
	logs, err := filepath.Glob(filepath.Join(f.logs(), "*.log"))
	if err != nil {
		return err
	}
	var quotes []error
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			quotes = append(quotes, err)
			continue
		}
		all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		end := bytes.Join(all[max(0, len(all)-lines):], []byte("\n  "))
		quotes = append(quotes, fmt.Errorf("%s ends with:\n  %s", filepath.Base(name), end))
	}
	return errors.Join(quotes...)
}
