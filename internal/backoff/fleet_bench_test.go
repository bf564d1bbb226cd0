package backoff_test

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// candidates are the policies the chosen one was measured against.
var candidates = []struct {
	name string
	wait wait
}{
	{"chosen", chosen.Wait},
	{"full_jitter_1s-5m", fullJitter(time.Second, 5*time.Minute)},
	{"full_jitter_10s-60s", fullJitter(10*time.Second, time.Minute)},
	{"eighth_35s-120s", fraction(8, 35*time.Second, 2*time.Minute)},
}

// fullJitter doubles from shortest to longest, and waits anything below.
func fullJitter(shortest, longest time.Duration) wait {
	return func(failures int, _ time.Duration, random float64) time.Duration {
		doubled := float64(shortest) * math.Pow(2, float64(failures-1))
		return time.Duration(random * min(doubled, float64(longest)))
	}
}

// fraction waits a part of the time gone by, between bounds, give or take a
// quarter.
func fraction(part, shortest, longest time.Duration) wait {
	return func(_ int, elapsed time.Duration, random float64) time.Duration {
		return time.Duration((0.75 + random/2) * float64(max(shortest, min(elapsed/part, longest))))
	}
}

// BenchmarkFleet runs each policy on fleets that are switched on in the same
// instant. Every iteration is another fleet; the metrics are means over them:
// when shares of the devices were registered, in seconds; when the last was, as
// a multiple of what the quota alone takes; what it cost AWS. Its times and
// allocations are those of the model.
func BenchmarkFleet(b *testing.B) {
	for _, c := range candidates {
		for _, devices := range []int{1, 1_000, 10_000, 50_000} {
			for _, s := range []service{answering429(), closing()} {
				b.Run(fmt.Sprintf("%s/%d/%s", c.name, devices, s), func(b *testing.B) {
					metrics := make(map[string]float64)
					seed := uint64(0)
					for b.Loop() {
						seed++
						o := powerOn(devices, s, c.wait, seed)
						for _, percent := range []int{10, 25, 50, 75, 90, 99, 100} {
							metrics[fmt.Sprintf("s-to-%d%%", percent)] += o.within(float64(percent) / 100).Seconds()
						}
						metrics["x-quota"] += o.within(1).Seconds() / quota(devices).Seconds()
						metrics["creates/device"] += o.perDevice(o.creates)
						metrics["connections/device"] += o.connectionsPerDevice()
						metrics["peak-connections/s"] += float64(o.peak())
						metrics["s-over-500-connections"] += float64(o.crowded())
						metrics["expired-tokens"] += float64(o.expired)
					}
					for unit, sum := range metrics {
						b.ReportMetric(sum/float64(b.N), unit)
					}
				})
			}
		}
	}
}

// quota is how long the quota of 10 a second alone takes.
func quota(devices int) time.Duration { return time.Duration(devices) * time.Second / 10 }
