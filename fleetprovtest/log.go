package fleetprovtest

import (
	"errors"
	"io"
	"log/slog"

	"github.com/fleetprov/fleetprov/internal/broker"
)

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// log logs what a client has done, or what became of it. It logs no secrets, and of
// a payload only what an error quotes of a parameter.
func (s *Server) log(o *session, message string, attributes ...any) {
	s.logger().With("client", o.ClientID(), "certificate", o.certificateID[:8]).Info(message, attributes...)
}

func (s *Server) logOperation(by *session, o operation, answer any, rejection *Rejection, fault Fault) {
	outcome := " accepted"
	var attributes []any
	switch answer := answer.(type) {
	case createdKeys:
		attributes = []any{"issued", answer.CertificateID}
	case createdFromCSR:
		attributes = []any{"issued", answer.CertificateID}
	case registered:
		attributes = []any{"template", o.template, "thing", answer.ThingName}
	default:
		outcome = " not performed"
		if rejection != nil {
			outcome, attributes = " rejected", []any{"status", rejection.StatusCode, "code", rejection.Code, "reason", rejection.Message}
		}
	}
	if what := fault.words(); what != "" {
		attributes = append(attributes, "fault", what)
	}
	s.log(by, string(o.op)+outcome, attributes...)
}

// logClosed says why a connection is over, which AWS IoT tells nobody.
func (s *Server) logClosed(c *broker.Conn, reason error) {
	logger := s.logger()
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
