package websocket

import (
	"errors"
	"testing"
)

func TestDialIsRefused(t *testing.T) {
	conn, response, err := (&Dialer{Subprotocols: []string{"mqtt"}}).Dial("wss://localhost/mqtt", nil)
	if conn != nil || response != nil || !errors.Is(err, ErrStub) {
		t.Errorf("got %v, %v, %v, want ErrStub alone", conn, response, err)
	}
}
