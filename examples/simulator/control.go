package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// serveControl serves the control plane until stop is called, and prints where it is.
func (sim *simulator) serveControl(stdout io.Writer) (stop func(), err error) {
	listener, err := net.Listen("tcp", sim.control)
	if err != nil {
		return nil, fmt.Errorf("%w: choose another address with -control; port 0 is any that is free", err)
	}
	if _, err := fmt.Fprintf(stdout, "control: http://%s\n", listener.Addr()); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: sim.server.ControlPlane(), ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // until it is closed
	return func() {
		server.Close()
		serving.Wait()
	}, nil
}
