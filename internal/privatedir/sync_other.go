//go:build !unix

package privatedir

import "os"

// syncDirectory does nothing: a directory that is open for reading cannot be
// flushed here.
func syncDirectory(*os.File) error { return nil }
