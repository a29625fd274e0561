package rotationtest

import (
	"os"
	"strconv"
	"testing"
)

// TestAYearOfTwoHundredCredentials prints the seed of a year that fails; CLAVIGER_SEED
// plays it again.
func TestAYearOfTwoHundredCredentials(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if text := os.Getenv("CLAVIGER_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			report, err := Year{Seed: seed, Credentials: 200, Days: 365}.Run()
			if err != nil {
				t.Fatalf("%v\nplay it again: CLAVIGER_SEED=%d go test ./internal/rotation/rotationtest -run Year", err, seed)
			}
			t.Logf("%d rotations, %d faults survived, %d steps", report.Rotations, report.Faults, report.Steps)
			if report.Rotations < 1500 || report.Faults < 10_000 {
				t.Errorf("that was no year: %+v", report)
			}
		})
	}
}
