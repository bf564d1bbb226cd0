package fleetprov

import (
	"context"
	"log/slog"
)

// runLog is where a run is logged.
type runLog interface {
	step(context.Context, Progress)
	warn(ctx context.Context, message string, attribute slog.Attr)
}

// noLog is the log of a program that gives no logger. It does not link the handlers
// of log/slog, which know JSON and reflection.
type noLog struct{}

func (noLog) step(context.Context, Progress)          {}
func (noLog) warn(context.Context, string, slog.Attr) {}

// structuredLog is the log that WithLogger sets.
type structuredLog struct{ logger *slog.Logger }

func (l structuredLog) step(ctx context.Context, p Progress) {
	level, message := slog.LevelDebug, "step begins"
	attributes := []slog.Attr{slog.String("op", string(p.Op)), slog.Int("attempt", p.Attempt)}
	if p.Done {
		if level, message = slog.LevelInfo, "step done"; p.Op == OpStore {
			level = slog.LevelDebug // a boot that finds all in order is no news
		}
		attributes = append(attributes, slog.Duration("elapsed", p.Elapsed))
	}
	if p.Err != nil {
		level, message = slog.LevelWarn, "step failed"
		attributes = append(attributes, slog.Any("error", p.Err))
	}
	if p.Wait > 0 {
		level, message = slog.LevelInfo, "will try again"
		attributes = append(attributes, slog.Duration("wait", p.Wait))
	}
	l.logger.LogAttrs(ctx, level, message, attributes...)
}

func (l structuredLog) warn(ctx context.Context, message string, attribute slog.Attr) {
	l.logger.LogAttrs(ctx, slog.LevelWarn, message, attribute)
}
