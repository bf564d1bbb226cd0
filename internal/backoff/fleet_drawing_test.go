package backoff_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "draw docs/fleet.svg anew")

// drawing is the picture of the page of figures.
var drawing = filepath.Join("..", "..", "docs", "fleet.svg")

// The picture is what the model draws, so that it cannot tell of another policy than
// the one in use.
func TestDrawingIsOfTheModel(t *testing.T) {
	drawn := drawFleets()
	if *update {
		require.NoError(t, os.WriteFile(drawing, []byte(drawn), 0o644))
	}
	committed, err := os.ReadFile(drawing)
	require.NoError(t, err)
	assert.True(t, strings.ReplaceAll(string(committed), "\r\n", "\n") == drawn,
		"docs/fleet.svg is not what the model draws: go test ./internal/backoff -run Drawing -update")
}

// The size of a panel, and where the first one stands, in pixels.
const (
	panelWidth, panelHeight = 380.0, 260.0
	panelLeft, panelTop     = 62.0, 66.0
	panelGap                = 64.0
)

// drawFleets draws how the devices of two fleets are registered after a power-on.
func drawFleets() string {
	var b strings.Builder
	width, height := panelLeft+2*panelWidth+panelGap+24, panelTop+panelHeight+104
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="13" fill="#222">`+"\n", width, height)
	b.WriteString("<title>Devices registered after a power-on</title>\n")
	fmt.Fprintf(&b, `<rect width="%.0f" height="%.0f" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%.0f" y="24" font-size="16" font-weight="bold">Devices registered after all were switched on at once</text>`+"\n", panelLeft)
	panel{left: panelLeft, devices: 1_000, span: 4 * time.Minute, tick: time.Minute}.draw(&b)
	panel{left: panelLeft + panelWidth + panelGap, devices: 10_000, span: 20 * time.Minute, tick: 4 * time.Minute}.draw(&b)
	for i, l := range fleetLines {
		x, y := panelLeft+float64(i%2)*(panelWidth+panelGap), panelTop+panelHeight+58+float64(i/2)*20
		fmt.Fprintf(&b, `<path d="M%.1f %.1fh34" %s/><text x="%.1f" y="%.1f">%s</text>`+"\n", x, y, l.style, x+42, y+4.5, l.label)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// fleetLines are the lines of a panel; the last is on top.
var fleetLines = []struct {
	label, style string
	wait         wait // nil: what the quota alone takes
}{
	{"the quota alone: 10 registrations a second", `fill="none" stroke="#888" stroke-width="1.5" stroke-dasharray="5 4"`, nil},
	{"full jitter, 1 s doubled to 5 min", `fill="none" stroke="#d55e00" stroke-width="1.5"`, fullJitter(time.Second, 5*time.Minute)},
	{"full jitter, 1 s doubled to 2 min", `fill="none" stroke="#0072b2" stroke-width="1.5"`, fullJitter(time.Second, 2*time.Minute)},
	{"this library", `fill="none" stroke="#009e73" stroke-width="3"`, chosenWait},
}

// panel is the picture of one fleet.
type panel struct {
	left       float64
	devices    int
	span, tick time.Duration // of the time axis
}

func (p panel) draw(b *strings.Builder) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%d,000 devices</text>`+"\n", p.left, panelTop-12, p.devices/1000)
	for percent := 0; percent <= 100; percent += 25 {
		_, y := p.at(0, float64(percent)/100)
		fmt.Fprintf(b, `<path d="M%.1f %.1fh%.0f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%d %%</text>`+"\n", p.left, y, panelWidth, p.left-8, y+4.5, percent)
	}
	for at := time.Duration(0); at <= p.span; at += p.tick {
		x, y := p.at(at, 0)
		fmt.Fprintf(b, `<path d="M%.1f %.1fv5" stroke="#888"/><text x="%.1f" y="%.1f" text-anchor="middle">%.0f min</text>`+"\n", x, y, x, y+20, at.Minutes())
	}
	for _, l := range fleetLines {
		fmt.Fprintf(b, `<path d="%s" %s/>`+"\n", p.line(l.wait), l.style)
	}
}

// line is the path of one policy's fleet, in steps of one percent.
func (p panel) line(w wait) string {
	reached := func(share float64) time.Duration { return time.Duration(share * float64(closing().quota(p.devices))) }
	if w != nil {
		reached = fleet{devices: p.devices, service: closing(), wait: w, seed: 1}.run().within
	}
	var path strings.Builder
	for percent := 0; percent <= 100; percent++ {
		share := float64(percent) / 100
		at := reached(share)
		if at > p.span {
			break
		}
		x, y := p.at(at, share)
		fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(percent, 1)], x, y)
	}
	return path.String()
}

// at is where a share of the devices stands at a time.
func (p panel) at(t time.Duration, share float64) (x, y float64) {
	return p.left + panelWidth*float64(t)/float64(p.span), panelTop + panelHeight*(1-share)
}
