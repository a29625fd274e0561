//go:build !race

package rotationtest

const usual = complete
