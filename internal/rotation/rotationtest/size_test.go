//go:build !race

package rotationtest

const usual = 12_000
