package main

import (
	"io"
	"log/slog"
	"time"
)

// newLogger returns a logger that writes a line for each record, with the time of
// day and no level.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			switch {
			case len(groups) > 0:
			case a.Key == slog.TimeKey:
				return slog.String(slog.TimeKey, a.Value.Time().Format(time.TimeOnly))
			case a.Key == slog.LevelKey:
				return slog.Attr{}
			}
			return a
		},
	}))
}
