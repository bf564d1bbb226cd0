// Package pyfunction runs functions in Python the way AWS Lambda does: a ZIP archive
// holds the module, a process imports it once, and is then handed one event after another.
// There is no sandbox: a function may do what the user of this process may do.
package pyfunction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// initTimeout is how long a module may take to be imported (lambda-runtime-environment).
const initTimeout = 10 * time.Second

// Function is a function with the processes that it runs in. Events that come at the same
// time each have a process of their own. All methods are safe for concurrent use.
type Function struct {
	handler     string
	environment []string
	output      io.Writer // what the function prints
	dir         string    // of the module; removed by Close

	mu     sync.Mutex            // guards what follows
	closed bool                  // no process is started any more
	all    map[*process]struct{} // those that are running
	idle   []*process            // those of them that have no event
	using  sync.WaitGroup        // the calls of Invoke
}

// New unpacks a ZIP archive into a temporary directory. handler is the name of a module in
// it, a dot, and the name of a function, as for Lambda. environment are the variables that
// its processes have, name=value. output gets what the function prints; it is used by
// several goroutines at once. The caller calls [Function.Close].
func New(archive []byte, handler string, environment []string, output io.Writer) (*Function, error) {
	dir, err := os.MkdirTemp("", "pyfunction-")
	if err != nil {
		return nil, err
	}
	if err := unpack(archive, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Function{
		handler:     handler,
		environment: environment,
		output:      output,
		dir:         dir,
		all:         make(map[*process]struct{}),
	}, nil
}

// Warm starts a process, so that the next event need not wait for one.
func (f *Function) Warm(ctx context.Context) error {
	p, err := f.start(ctx)
	if err != nil {
		return err
	}
	f.release(p)
	return nil
}

// Invoke hands an event to the function, and stores what it returns in answer, both as
// JSON. When ctx ends first, the process is killed with all that it has started.
func (f *Function) Invoke(ctx context.Context, event, answer any) error {
	line, err := json.Marshal(event)
	if err != nil {
		return err
	}
	p := f.take()
	if p == nil {
		if p, err = f.start(ctx); err != nil {
			return err
		}
	}
	returned, err := p.call(ctx, line)
	if err != nil {
		f.end(p)
		return err
	}
	f.release(p)
	if returned.Error != "" {
		return errors.New("the function failed: " + returned.Error)
	}
	if err := json.Unmarshal(returned.Result, answer); err != nil {
		return fmt.Errorf("what the function returned cannot be used: %w", err)
	}
	return nil
}

// Close ends all processes and waits for them, and removes the module. Calls of Invoke
// that are under way fail.
func (f *Function) Close() error {
	f.mu.Lock()
	f.closed = true
	for p := range f.all {
		p.kill()
	}
	f.mu.Unlock()
	f.using.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.all { // those without an event
		p.wait()
	}
	clear(f.all)
	return os.RemoveAll(f.dir)
}

// take returns a process that waits for an event, or nil.
func (f *Function) take() *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.idle) == 0 {
		return nil
	}
	last := len(f.idle) - 1
	p := f.idle[last]
	f.idle = f.idle[:last]
	f.using.Add(1)
	return p
}

// start starts a process and waits until it has imported the module.
func (f *Function) start(ctx context.Context) (*process, error) {
	p, err := f.launch()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	if _, err := p.read(ctx); err != nil {
		f.end(p)
		return nil, fmt.Errorf("the module was not imported: %w", err)
	}
	return p, nil
}

func (f *Function) launch() (*process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("the function was deleted")
	}
	p, err := launch(f.dir, f.handler, f.environment, f.output)
	if err != nil {
		return nil, err
	}
	f.all[p] = struct{}{}
	f.using.Add(1)
	return p, nil
}

// release makes a process wait for another event.
func (f *Function) release(p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle = append(f.idle, p)
	f.using.Done()
}

// end ends a process that is no longer needed.
func (f *Function) end(p *process) {
	defer f.using.Done()
	f.mu.Lock()
	delete(f.all, p) // first, since its number can be another's once it was waited for
	f.mu.Unlock()
	p.kill()
	p.wait()
}
