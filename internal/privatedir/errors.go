package privatedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// refusal is an objection of this package itself to a directory, a file or a name. Its
// reason needs no further advice.
type refusal struct {
	kind   error // for errors.Is
	reason string
}

func (r *refusal) Error() string { return r.reason }

func (r *refusal) Unwrap() error { return r.kind }

// explain puts the whole path into an error of os, which knows only the name within the
// directory, and says what to do.
func explain(op, path string, err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	err = &fs.PathError{Op: op, Path: path, Err: err}
	if advice := advise(err); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

func advise(err error) string {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return ""
	case errors.Is(err, fs.ErrPermission):
		return "the user of this program must own the directory and be able to write to it"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on its file system"
	case errors.Is(err, syscall.EROFS):
		return "its file system is mounted read-only: remount it, or choose another directory"
	default:
		return ""
	}
}
