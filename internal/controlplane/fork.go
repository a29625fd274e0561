package controlplane

import "runtime"

// forker runs functions one after the other on an operating system thread of its own.
//
// A tethered child dies with the thread that forked it, not with the process. Go ends
// a thread when a goroutine that is locked to it returns, so a child that was forked
// from an arbitrary goroutine could be killed in the middle of a test by code that has
// nothing to do with it. This thread ends when the forker is closed, and not before.
type forker struct {
	work chan func()
}

func newForker() forker {
	f := forker{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for fn := range f.work {
			fn()
		}
	}()
	return f
}

// do waits until fn has run on the thread and returns its answer.
func (f forker) do(fn func() error) error {
	answer := make(chan error, 1)
	f.work <- func() { answer <- fn() }
	return <-answer
}

// close ends the thread, and with it every child that is still there.
func (f forker) close() { close(f.work) }
