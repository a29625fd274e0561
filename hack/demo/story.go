package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// story prints what happens while it happens, one line each. It is safe for
// concurrent use.
type story struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

func newStory(out io.Writer) *story { return &story{out: out, began: time.Now()} }

// tell prints a line about somebody: a credential, the operator, the upstream.
func (s *story) tell(who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.out, "%6.1fs  %-20s %s\n", time.Since(s.began).Seconds(), who, fmt.Sprintf(format, args...))
}

// quote prints text of somebody else as it is.
func (s *story) quote(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintln(s.out, text)
}
