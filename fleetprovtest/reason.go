package fleetprovtest

import (
	"fmt"

	"github.com/fleetprov/fleetprov/internal/broker"
)

// reason returns why a connection ends. A client of MQTT 5 learns the code, and the
// server's log the text.
func reason(code byte, format string, arguments ...any) error {
	return &broker.Reason{Code: code, Text: fmt.Sprintf(format, arguments...)}
}
