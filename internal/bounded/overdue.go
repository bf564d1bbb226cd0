package bounded

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// overdue is a write that was left behind.
type overdue struct {
	what  string
	ended chan struct{} // closed when it has ended; made when it is left behind
}

// registry holds the writes that were left behind, by their keys. It is the process's:
// a write may outlast whoever asked for it.
type registry struct {
	mu     sync.Mutex
	writes map[any][]*overdue
}

var leftBehind = registry{writes: map[any][]*overdue{}}

func (r *registry) add(keys []any, w *overdue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.ended = make(chan struct{})
	for _, key := range keys {
		r.writes[key] = append(r.writes[key], w)
	}
}

func (r *registry) remove(keys []any, w *overdue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		others := slices.DeleteFunc(r.writes[key], func(o *overdue) bool { return o == w })
		if r.writes[key] = others; len(others) == 0 {
			delete(r.writes, key)
		}
	}
	close(w.ended)
}

// first returns the write under key that was left behind first, or nil.
func (r *registry) first(key any) *overdue {
	r.mu.Lock()
	defer r.mu.Unlock()
	if writes := r.writes[key]; len(writes) > 0 {
		return writes[0]
	}
	return nil
}

// refusal is why nothing may be written under key now, if so.
func (r *registry) refusal(key any) error {
	if w := r.first(key); w != nil {
		return fmt.Errorf("an earlier %s has not ended: the store hangs", w.what)
	}
	return nil
}

// keysKey, patienceKey and stepKey are what a call tells those that are made within it.
type (
	keysKey     struct{}
	patienceKey struct{}
	stepKey     struct{}
)

// WithStep sets how long a [Step] under ctx may take.
func WithStep(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, stepKey{}, d)
}

// stepTimeout is how long a [Step] may take without WithStep: as long as the public
// option WithStepTimeout says by default.
const stepTimeout = 30 * time.Second

// withKey adds key to the keys of the writes that ctx belongs to, and returns them all.
func withKey(ctx context.Context, key any) (context.Context, []any) {
	outer, _ := ctx.Value(keysKey{}).([]any)
	if slices.Contains(outer, key) {
		return ctx, outer
	}
	keys := append(slices.Clip(outer), key)
	return context.WithValue(ctx, keysKey{}, keys), keys
}

// withPatience returns how long a call under ctx waits after its end. A call within
// another waits half as long, so that the one that hangs is the one that is left behind.
func withPatience(ctx context.Context) (time.Duration, context.Context) {
	patience, ok := ctx.Value(patienceKey{}).(time.Duration)
	if !ok {
		patience = courtesy
	}
	return patience, context.WithValue(ctx, patienceKey{}, patience/2)
}
