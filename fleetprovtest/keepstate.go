package fleetprovtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/statefile"
)

// KeepState keeps the server's state in a file, from which another server can go on
// later. It reads the file if there is one, and appends to it what happens from then
// on. The file holds the server's certificate authorities, its claim, the
// certificates issued with their tokens, the things, and how far the clock was
// moved; not the templates, the policies of [Server.AddPolicy], anything set on
// Server, or what [Server.ControlPlane] has made but for certificates and things. It
// contains private keys, and only its owner may read it. It grows with every change until
// KeepState is next called for it. A lock file beside it, whose name has .lock appended,
// keeps other servers from using it at the same time.
//
// It must be called before [Server.Start]. It fails if the file cannot be read or
// written, holds something else, or is in use. If writing fails later, that is
// logged.
func (s *Server) KeepState(path string) error {
	if err := s.keepState(path); err != nil {
		return fmt.Errorf("fleetprovtest: state: %w", err)
	}
	return nil
}

func (s *Server) keepState(path string) (err error) {
	if s.front != nil || s.state != nil {
		return errors.New("KeepState must be called only once, and before Start")
	}
	file, err := statefile.Open(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err := file.Read(s.replay); err != nil {
		return err
	}
	kept := stateLog{file, s.logger}
	rewrite := func(all []iotregistry.Change) error { return file.Rewrite(s.lines(all)) }
	if err := s.registry.KeepChanges(rewrite, func(c iotregistry.Change) { kept.append(c) }); err != nil {
		return err
	}
	s.clock.keepOffset(func(offset time.Duration) { kept.append(serverLine{Offset: offset}) })
	s.state = file
	return nil
}

// serverLine is a line of the file that concerns the server itself. All other lines are
// an [iotregistry.Change].
type serverLine struct {
	Authority *authorityRecord `json:"authority,omitempty"` // in the first line, and nowhere else
	Offset    time.Duration    `json:"ahead,omitempty"`     // by which Advance has moved the clock
}

// lines returns the lines of a new file.
func (s *Server) lines(changes []iotregistry.Change) []any {
	lines := []any{serverLine{Authority: s.authority.record()}}
	if offset := s.clock.offset.Load(); offset != 0 {
		lines = append(lines, serverLine{Offset: time.Duration(offset)})
	}
	for _, change := range changes {
		lines = append(lines, change)
	}
	return lines
}

// replay does what a line of the file says.
func (s *Server) replay(number int, line []byte) error {
	var own serverLine
	var change iotregistry.Change
	if err := errors.Join(json.Unmarshal(line, &own), json.Unmarshal(line, &change)); err != nil {
		return err
	}
	if number == 1 && own.Authority == nil {
		return errors.New("this is not the state of a server")
	}
	if own.Authority != nil {
		authority, err := own.Authority.authority()
		if err != nil {
			return err
		}
		s.setAuthority(authority)
	}
	if own.Offset != 0 {
		s.clock.restore(own.Offset)
	}
	return s.registry.Replay(change)
}

// stateLog appends to the state of a server, and logs what goes wrong.
type stateLog struct {
	file   *statefile.File // guards itself
	logger func() *slog.Logger
}

func (l stateLog) append(line any) {
	err := l.file.Append(line)
	if err != nil && !errors.Is(err, os.ErrClosed) { // after Server.Close nothing is kept
		l.logger().Error("the state could not be written", "error", err)
	}
}
