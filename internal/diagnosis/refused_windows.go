package diagnosis

import "syscall"

// errConnectionRefused is WSAECONNREFUSED. The ECONNREFUSED of package syscall is no error
// of Windows.
const errConnectionRefused = syscall.Errno(10061)
