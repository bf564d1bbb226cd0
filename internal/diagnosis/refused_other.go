//go:build !windows

package diagnosis

import "syscall"

const errConnectionRefused = syscall.ECONNREFUSED
