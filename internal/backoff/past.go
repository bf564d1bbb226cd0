package backoff

import (
	"context"
	"sync"
	"time"
)

// Past is how a device has fared in the runs of this process. A program may end each of
// its runs before the wait that its policy asks for: the next run serves what is left of
// it, and goes on with the tally. Only failures that reached the service count, since
// others cost it nothing. The zero Past has none, and a nil Past remembers none. Any
// goroutine may use it.
type Past struct {
	mu     sync.Mutex
	tally  Tally
	failed time.Time // when the last attempt did
	due    time.Time // when the next one is
	claim  string    // with which that was
	err    error     // why the last one failed; nil: there was none, or it succeeded
}

// Left returns how long the device is still to wait for its next attempt, and why the
// last one failed. It is zero or less if none is to be waited for.
func (p *Past) Left() (wait time.Duration, failed error) {
	if p == nil {
		return 0, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.due), p.err
}

// With says with which claim the next attempt is made. Another one than the last may be
// tried at once.
func (p *Past) With(claim string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.claim != claim {
		p.claim, p.due = claim, time.Time{}
	}
}

// Serve waits for what is left, which is told to waiting as [Loop.Waiting] is. If ctx
// ends before, or waiting returns an error, its error is an [*Interrupted].
func (p *Past) Serve(ctx context.Context, waiting func(ctx context.Context, failed error, elapsed, wait time.Duration) error) error {
	wait, failed := p.Left()
	if wait <= 0 {
		return nil
	}
	reason := waiting(ctx, failed, 0, wait)
	if reason == nil {
		reason = sleep(ctx, wait)
	}
	if reason != nil {
		return &Interrupted{Reason: reason, Last: failed}
	}
	return nil
}

// resume returns the tally, and the time from which on the next failure counts. The time
// for which nothing was tried, although it was due, does not count.
func (p *Past) resume() (t Tally, since time.Time, ok bool) {
	now := time.Now()
	if p == nil {
		return t, now, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return t, now, false
	}
	return p.tally, now.Add(-max(0, min(now.Sub(p.failed), p.due.Sub(p.failed)))), true
}

// note remembers a failure now, after which the device is to wait.
func (p *Past) note(t Tally, wait time.Duration, err error) {
	if p == nil || !t.reached {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.tally, p.failed, p.due, p.err = t, now, now.Add(wait), err
}

// forget is for when an attempt has succeeded.
func (p *Past) forget() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally, p.failed, p.due, p.err = Tally{}, time.Time{}, time.Time{}, nil
}
