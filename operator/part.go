package operator

import (
	"context"
	"errors"
)

// part is one thing that a fleet has in the account. Parts know nothing of each other: what
// one needs of others, such as the ARN of a role, follows from their names.
type part interface {
	// String names it, as in "role fleet-hook-role".
	String() string

	// look returns errAbsent if it is not there, a difference if it is there and is not what
	// this fleet needs, which only a replaceable can be, and a remark if it stays as it is, and
	// somebody should know how that is.
	look(context.Context) error

	create(context.Context) error
	remove(context.Context) error // and is content if it is not there
}

// replaceable is a part that can be there and be another than this fleet needs.
type replaceable interface {
	part
	replace(context.Context) error // makes it what this fleet needs
}

var errAbsent = errors.New("it is not there")

// difference is what is other than it should be.
type difference string

func (d difference) Error() string { return string(d) }

// remark is about a part that is there.
type remark string

func (r remark) Error() string { return string(r) }

// absentIf turns AWS's error about something that is not there into errAbsent.
func absentIf(err error) error {
	if isAbsent(err) {
		return errAbsent
	}
	return err
}

// presentOr is for what may have been removed already.
func presentOr(err error) error {
	if isAbsent(err) {
		return nil
	}
	return err
}
