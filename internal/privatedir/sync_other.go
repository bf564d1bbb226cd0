//go:build !unix

package privatedir

import "os"

// syncDirectory does nothing: here, a directory that is open for reading cannot be
// synced.
func syncDirectory(*os.File) error { return nil }
