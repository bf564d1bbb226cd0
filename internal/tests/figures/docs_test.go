package figures_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// tolerance is how far a printed figure may be from a measured one. Signatures and
// certificates differ by a few bytes from run to run.
const tolerance = 0.03

func TestPrintedBytesAndRoundTrips(t *testing.T) {
	needPrintedGo(t)
	rows := table(t, "docs/figures.md", "| flow | options | round trips |")
	require.Len(t, rows, len(flows))
	process := startServerProcess(t)
	for _, flow := range flows {
		t.Run(flow.name, func(t *testing.T) {
			server := process
			if !flow.smallKeys {
				server = process.withRSAClaim(t)
			}
			row := rows[flow.name]
			require.Len(t, row, 6)
			opts := slices.Concat(flow.opts, []fleetprov.Option{fleetprov.WithTLSConfig(flow.config), provtest.OneAttempt})
			up, down := server.inTCP(t, opts...)
			mqttUp, mqttDown := server.insideTLS(t, opts...)
			assert.Equal(t, strconv.Itoa(roundTrips(t, flow.config, flow.opts...)), row[1])
			for i, measured := range []float64{up, down, mqttUp, mqttDown} {
				assert.InEpsilon(t, measured, number(t, row[2+i]), tolerance, "bytes, column %d", 3+i)
			}
			if flow.name == "keys" {
				said := inReadme(t, `takes (\d) round trips from the dial to the credentials, ([\d.]+) kB up and ([\d.]+) kB down`)
				assert.Equal(t, row[1], said[0])
				assert.InEpsilon(t, up/1e3, number(t, said[1]), tolerance)
				assert.InEpsilon(t, down/1e3, number(t, said[2]), tolerance)
			}
		})
	}
}

// needPrintedGo skips a test if the figures are of another Go, which links more or less
// and may shake hands in another way.
func needPrintedGo(t *testing.T) {
	t.Helper()
	printed := regexp.MustCompile(`Measured with (Go 1\.\d+)`).FindStringSubmatch(readPage(t, "docs/figures.md"))
	require.NotNil(t, printed)
	if running := strings.Replace(runtime.Version(), "go", "Go ", 1); !strings.HasPrefix(running+".", printed[1]+".") {
		t.Skipf("the figures are of %s, and this is %s", printed[1], running)
	}
}

// inTCP provisions a device, and returns how many bytes its connection carried.
func (s serverProcess) inTCP(t testing.TB, opts ...fleetprov.Option) (up, down float64) {
	t.Helper()
	var wire wire
	_, err := s.newProvisioner(t, append(opts, fleetprov.WithDialer(wire.dial))...).Provision(t.Context(), nil)
	require.NoError(t, err)
	wire.open.Wait()
	return float64(wire.up.Load()), float64(wire.down.Load())
}

// Without -full it looks at amd64 alone, which the README names.
func TestPrintedSizes(t *testing.T) {
	needPrintedGo(t)
	rows := table(t, "docs/figures.md", "| target (Linux) | firmware, stripped |")
	require.Len(t, rows, len(boards))
	for _, board := range boards {
		architecture, setting, _ := strings.Cut(board, "/")
		if architecture != "amd64" && !*provtest.Full {
			continue
		}
		t.Run(architecture, func(t *testing.T) {
			row := rows[architecture]
			require.Len(t, row, 3)
			firmware := sizeOf(t, "firmware", nil, "GOARCH="+architecture, setting)
			assert.InEpsilon(t, firmware, number(t, row[0]), tolerance)
			if architecture == "amd64" {
				assert.InEpsilon(t, firmware, number(t, inReadme(t, `in a firmware of\s+([\d.]+) MB`)[0]), tolerance)
			}
			if !*provtest.Full {
				return
			}
			for i, other := range []string{"byhand", "bare"} {
				over := firmware - sizeOf(t, other, nil, "GOARCH="+architecture, setting)
				assert.InEpsilon(t, over, number(t, row[1+i]), tolerance, "more than %s", other)
			}
		})
	}
}

func TestPrintedFirstMessages(t *testing.T) {
	rows := table(t, "docs/figures.md", "| way | options | round trips | pause |")
	require.Len(t, rows, len(firstMessages))
	for _, way := range firstMessages {
		t.Run(way.name, func(t *testing.T) {
			row := rows[way.name]
			require.Len(t, row, 3)
			trips, paused := toFirstMessage(t, nil, way.opts...)
			assert.Equal(t, strconv.Itoa(trips), row[1])
			pause := "none"
			if paused > 0 {
				pause = fmt.Sprintf("%.0f s", paused.Seconds())
			}
			assert.Equal(t, pause, row[2])
		})
	}
}

func TestPrintedContributions(t *testing.T) {
	needPrintedGo(t)
	rows := table(t, "docs/figures.md", "| part of the firmware on amd64 | size |")
	found := contributions(t)
	require.Len(t, rows, len(found))
	for _, c := range found {
		row := rows[c.name]
		if assert.Len(t, row, 1, "%s is not on the page", c.name) {
			assert.InEpsilon(t, c.size/1e3, number(t, row[0]), tolerance, c.name)
		}
	}
}

// padding is what the linker may add to a file, in kB.
const padding = 4.096

// The time of a processor is not looked at: it is another on each machine.
func TestPrintedSavings(t *testing.T) {
	needPrintedGo(t)
	rows := table(t, "docs/figures.md", "| what | less | processor time of a run |")
	require.Len(t, rows, len(savings))
	for _, s := range savings {
		t.Run(s.name, func(t *testing.T) {
			needTime(t, s)
			row := rows[s.name]
			require.Len(t, row, 2)
			printed := number(t, row[0])
			assert.InDelta(t, s.less(t), printed, max(tolerance*printed, padding+0.5))
		})
	}
}

// table returns the rows of the table that has this head, by their first column
// without what stands behind a comma.
func table(t *testing.T, page, head string) map[string][]string {
	t.Helper()
	_, rest, found := strings.Cut(readPage(t, page), "\n"+head)
	require.True(t, found, "%s has no table %s", page, head)
	rows := map[string][]string{}
	for _, line := range strings.Split(rest, "\n")[2:] {
		if !strings.HasPrefix(line, "| ") {
			break
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		name, _, _ := strings.Cut(cells[0], ",")
		rows[name] = cells[1:]
	}
	return rows
}

// number reads a figure, with thousands apart and a unit behind it.
func number(t *testing.T, text string) float64 {
	t.Helper()
	figure, _, _ := strings.Cut(strings.ReplaceAll(text, ",", ""), " ")
	value, err := strconv.ParseFloat(figure, 64)
	require.NoError(t, err)
	return value
}

// inReadme returns what the groups of a pattern find in the README.
func inReadme(t *testing.T, pattern string) []string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(readPage(t, "README.md"))
	require.NotNil(t, found, "the README does not say %s", pattern)
	return found[1:]
}

func readPage(t *testing.T, page string) string {
	t.Helper()
	data, err := os.ReadFile(provtest.Root(t, page))
	require.NoError(t, err)
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}
