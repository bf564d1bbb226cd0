package fleetprovtest

import (
	"errors"
	"io"
	"log/slog"

	"github.com/fleetprov/fleetprov/internal/broker"
)

// eventLog writes to [Server.Logger]. It logs no secrets, and of a payload only what an
// error quotes of a parameter.
type eventLog struct{ logger *slog.Logger }

// event logs what a client has done, or what has become of it.
func (l eventLog) event(o *session, message string, attributes ...any) {
	l.logger.With("client", o.conn.ClientID(), "certificate", o.certificateID[:8]).Info(message, attributes...)
}

func (l eventLog) operation(by *session, op Op, done outcome, fault Fault) {
	if done.cause != nil {
		l.event(by, string(op)+" failed", "reason", done.cause)
	}
	result, attributes := " not performed", done.log
	switch r := done.rejection; {
	case r != nil:
		result, attributes = " rejected", []any{"status", r.StatusCode, "code", r.Code, "reason", r.Message}
	case done.answer != nil:
		result = " accepted"
	}
	if what := fault.words(); what != "" {
		attributes = append(attributes, "fault", what)
	}
	l.event(by, string(op)+result, attributes...)
}

func (l eventLog) missingPolicy(name, certificateID string) {
	l.logger.Warn("a policy was not added, so DevicePolicy takes its place", "policy", name, "certificate", certificateID[:8])
}

// closed says why a connection is over, which AWS IoT tells nobody.
func (l eventLog) closed(c *broker.Conn, reason error) {
	logger := l.logger
	if id := c.ClientID(); id != "" {
		logger = logger.With("client", id)
	} else {
		logger = logger.With("remote", c.RemoteAddr().String())
	}
	if reason == nil || errors.Is(reason, io.EOF) {
		logger.Info("disconnected")
	} else {
		logger.Warn("disconnected", "reason", reason)
	}
}
