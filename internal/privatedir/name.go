package privatedir

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// temporaryName is the file that Write fills before it renames it.
const temporaryName = ".new"

// CheckName refuses with [fs.ErrInvalid] a name that is not the name of a file directly
// in the directory. Names with a leading dot are reserved for lock files and temporary
// files. The answer is the same on every system, except for the device names of Windows.
func CheckName(name string) error {
	if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\\:\x00") || !filepath.IsLocal(name) {
		return &refusal{fs.ErrInvalid, fmt.Sprintf("%.64q cannot be the name of a file here: use one without separators, colons or a leading dot", name)}
	}
	return nil
}
