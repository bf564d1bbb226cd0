package privatedir

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// temporaryName is the file that Write fills before it takes its name.
const temporaryName = ".new"

// CheckName refuses, with [fs.ErrInvalid], a name that is not that of a file in
// the directory itself. Names with a leading dot are for locks and temporaries.
// The answer is the same on every system, but for the device names of Windows.
func CheckName(name string) error {
	if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\\:\x00") || !filepath.IsLocal(name) {
		return &refusal{fs.ErrInvalid, fmt.Sprintf("%.64q is no name for a file here: use one without separators, colons and a leading dot", name)}
	}
	return nil
}
