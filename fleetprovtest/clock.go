package fleetprovtest

import (
	"sync"
	"sync/atomic"
	"time"
)

// clock is the time by which tokens and certificates expire and quotas refill: the real
// time, moved forward by an offset.
type clock struct {
	offset atomic.Int64 // nanoseconds

	mu   sync.Mutex          // guards keep, and orders its calls
	keep func(time.Duration) // records a new offset; nil: nothing does
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	offset := time.Duration(c.offset.Add(int64(d)))
	if c.keep != nil {
		c.keep(offset)
	}
}

// restore sets the offset to what another clock has kept.
func (c *clock) restore(offset time.Duration) { c.offset.Store(int64(offset)) }

// keepOffset calls keep with each new offset from now on.
func (c *clock) keepOffset(keep func(time.Duration)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep = keep
}
