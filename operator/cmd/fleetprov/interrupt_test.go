package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asProgram makes the test binary the program itself, for a test that sends it signals.
const asProgram = "FLEETPROV_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// Somebody who is asked, or who is to type ids, may think better of it.
func TestInterruptEndsWhatWaitsForInput(t *testing.T) {
	s := newShell(t)
	s.succeeds("setup")
	for _, test := range []struct {
		arguments string
		waits     string // what is printed before it waits
		want      string
	}{
		{"teardown", "to go on: ", "fleetprov teardown: interrupted: nothing was removed\n"},
		{"retire -", "", "fleetprov retire: reading the ids of certificates: interrupted\n"},
	} {
		t.Run(test.arguments, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			in, typed := io.Pipe()
			defer typed.Close()
			var out, err strings.Builder
			code := make(chan int)
			go func() {
				code <- run(ctx, strings.Fields(test.arguments), terminal{readerFunc(func(data []byte) (int, error) {
					cancel()
					return in.Read(data)
				}), &out, &err})
			}()
			select {
			case got := <-code:
				assert.Equal(t, exitFailed, got)
			case <-time.After(time.Minute):
				require.FailNow(t, "it goes on waiting")
			}
			assert.Contains(t, out.String(), test.waits)
			assert.Equal(t, test.want, err.String())
		})
	}
	assert.Contains(t, s.succeeds("teardown", "-dry-run"), "remove template fleet-template")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(data []byte) (int, error) { return f(data) }

func TestSignalsEndTheProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals that a test can send")
	}
	s := newShell(t)
	s.succeeds("setup")
	self, err := os.Executable()
	require.NoError(t, err)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			program := exec.CommandContext(ctx, self, "teardown")
			program.Env = append(os.Environ(), asProgram+"=1")
			in, err := program.StdinPipe()
			require.NoError(t, err)
			defer in.Close()
			out, err := program.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, program.Start())
			asked := bufio.NewReader(out)
			for line := ""; !strings.Contains(line, "cannot be undone"); {
				line, err = asked.ReadString(':')
				require.NoError(t, err)
			}
			require.NoError(t, program.Process.Signal(signal))
			_, err = io.Copy(io.Discard, asked)
			require.NoError(t, err)
			_ = program.Wait()
			assert.Equal(t, exitFailed, program.ProcessState.ExitCode(), "%v", program.ProcessState)
		})
	}
}
