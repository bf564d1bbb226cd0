//go:build !race

package provtest

// Race reports whether the race detector is in this program.
const Race = false
