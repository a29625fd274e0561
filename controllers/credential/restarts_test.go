package credential

import (
	"testing"
	"time"
)

func TestRestartsHoldTheLimit(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	r := newRestarts()
	if !r.tryTake("payments", "Deployment/a", 2, true, now) || !r.tryTake("payments", "Deployment/b", 2, true, now) {
		t.Fatal("two may be restarted and were not")
	}
	if r.free("payments", 2, now) || r.tryTake("payments", "Deployment/c", 2, true, now) {
		t.Error("three are restarted where two may be")
	}
	if !r.tryTake("payments", "Deployment/a", 2, true, now) {
		t.Error("one that is counted already was refused")
	}
	if !r.free("billing", 2, now) {
		t.Error("one namespace holds another")
	}
	if !r.tryTake("payments", "Deployment/urgent", 2, false, now) || r.free("payments", 3, now) {
		t.Error("one that must not wait was refused or is not counted")
	}
	r.report("payments", "Deployment/urgent", false, now)
	r.report("payments", "Deployment/a", false, now)
	if !r.free("payments", 2, now) {
		t.Error("what is done is still counted")
	}
	// A process that has just started learns from what it looks at.
	r.report("payments", "Deployment/c", true, now)
	if r.free("payments", 2, now) {
		t.Error("what was seen to be rolling is not counted")
	}
	if later := now.Add(forgotten + time.Second); !r.free("payments", 2, later) {
		t.Error("what nobody waits for any more is counted for ever")
	}
}
