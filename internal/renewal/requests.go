package renewal

import (
	"slices"
	"sync"
)

// Requests are the requests for a renewal that yields a T, and the calls that wait for
// one. The zero value has none. Any goroutine may use it.
type Requests[T any] struct {
	mu      sync.Mutex
	wanted  bool
	waiting []chan<- Result[T]
	wake    chan struct{} // has something in it when there is a new request
	serving bool          // whether somebody will answer
}

// Result is what came of a renewal.
type Result[T any] struct {
	Value T
	Err   error
}

// Wake returns what can be received from when there is a new request.
func (r *Requests[T]) Wake() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wakeLocked()
}

func (r *Requests[T]) wakeLocked() chan struct{} {
	if r.wake == nil {
		r.wake = make(chan struct{}, 1)
	}
	return r.wake
}

// Ask asks for a renewal, for one who waits for the result, which must have room for it,
// or for nobody, which is nil.
func (r *Requests[T]) Ask(result chan<- Result[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if result == nil {
		r.wanted = true
	} else {
		r.waiting = append(r.waiting, result)
	}
	select {
	case r.wakeLocked() <- struct{}{}:
	default:
	}
}

// Asked reports whether a renewal was asked for, and whether somebody waits for it.
func (r *Requests[T]) Asked() (wanted, waited bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wanted, len(r.waiting) > 0
}

// Withdraw makes one who waits wait no longer, and reports whether nobody has answered.
// If the request stands, whoever serves renews all the same.
func (r *Requests[T]) Withdraw(result chan<- Result[T], stands bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.waiting, result)
	if i < 0 {
		return false
	}
	r.waiting = slices.Delete(r.waiting, i, i+1)
	r.wanted = r.wanted || stands && r.serving
	return true
}

// Answer tells all who wait what came of it. A request ends when a renewal succeeds.
func (r *Requests[T]) Answer(result Result[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, waiting := range r.waiting {
		waiting <- result
	}
	r.waiting = nil
	if result.Err == nil {
		r.wanted = false
	}
}

// Serve makes the caller the one who answers, unless there is one, until [Requests.Leave].
func (r *Requests[T]) Serve() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	began := !r.serving
	r.serving = true
	return began
}

// Leave tells those who wait that they are not answered any more, with err.
func (r *Requests[T]) Leave(err error) {
	r.mu.Lock()
	r.serving = false
	r.mu.Unlock()
	r.Answer(Result[T]{Err: err})
}
