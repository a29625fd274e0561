//go:build race

package rotationtest

// The race detector makes a search ten times slower, and there is nothing to race.
const usual = 1_500
