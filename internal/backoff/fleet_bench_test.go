package backoff_test

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// candidates are the policies the chosen one was measured against. Those are not
// measured on more devices than most.
var candidates = []struct {
	name string
	wait wait
	most int
}{
	{"chosen", chosenWait, 1_000_000},

	// What the chosen one is without the growth beyond three minutes.
	{"tenth_10s-180s", tenth, 100_000},

	// AWS architecture blog, "Exponential Backoff And Jitter".
	{"full_jitter_1s-5m", fullJitter(time.Second, 5*time.Minute), 100_000},

	// The defaults of the MQTT 5 client in AWS's device SDKs (aws-c-mqtt).
	{"sdk_full_jitter_1s-2m", fullJitter(time.Second, 2*time.Minute), 100_000},

	// The AWS IoT Device Client, which has no jitter. A larger fleet takes it days.
	{"device_client_10s-15m", doubling(10*time.Second, 15*time.Minute), 1_000},
}

func chosenWait(d *device, _ time.Duration, random float64) time.Duration {
	return chosen.Wait(d.tally, d.certified, random)
}

// tenth waits one to three times a tenth of the time gone by, but for the first time.
func tenth(d *device, elapsed time.Duration, random float64) time.Duration {
	shortest := chosen.Min
	if d.failures > 1 {
		shortest = max(10*time.Second, min(elapsed/10, time.Minute))
	}
	return shortest + time.Duration(2*random*float64(shortest))
}

// fullJitter doubles from shortest to longest, and waits anything below.
func fullJitter(shortest, longest time.Duration) wait {
	bound := doubling(shortest, longest)
	return func(d *device, elapsed time.Duration, random float64) time.Duration {
		return time.Duration(random * float64(bound(d, elapsed, random)))
	}
}

// doubling doubles from shortest to longest.
func doubling(shortest, longest time.Duration) wait {
	return func(d *device, _ time.Duration, _ float64) time.Duration {
		return time.Duration(min(float64(shortest)*math.Pow(2, float64(d.failures-1)), float64(longest)))
	}
}

// BenchmarkFleet runs each policy on fleets that are switched on in the same
// instant. Every iteration is another fleet; the metrics are means over them:
// when shares of the devices were registered, in seconds; when the last was, as
// a multiple of what the quota alone takes; what it cost AWS. Its times and
// allocations are those of the model.
func BenchmarkFleet(b *testing.B) {
	for _, c := range candidates {
		for _, devices := range []int{1, 1_000, 10_000, 50_000, 100_000, 1_000_000} {
			if devices > c.most {
				continue
			}
			for _, s := range []service{answering429(), closing()} {
				b.Run(fmt.Sprintf("%s/%d/%s", c.name, devices, s), func(b *testing.B) {
					measure(b, fleet{devices: devices, service: s, wait: c.wait})
				})
			}
		}
	}
}

// BenchmarkFleetElsewhere runs the chosen policy where something is different: the
// quotas, the power-on, the network, the service.
func BenchmarkFleetElsewhere(b *testing.B) {
	for _, devices := range []int{1_000, 10_000, 100_000, 1_000_000} {
		for _, e := range elsewhere {
			b.Run(fmt.Sprintf("%s/%d/closing", e.name, devices), func(b *testing.B) {
				f := fleet{devices: devices, service: closing(), wait: chosenWait}
				e.change(&f)
				measure(b, f)
			})
		}
	}
}

// elsewhere are changes of a fleet that is switched on in the same instant.
var elsewhere = []struct {
	name   string
	change func(*fleet)
}{
	{"quota_50", func(f *fleet) { f.service.create, f.service.register = 50, 50 }},
	{"csr_20", func(f *fleet) { f.service.create = 20 }},
	{"over_10m", func(f *fleet) { f.over = 10 * time.Minute }},
	{"a_tenth_offline_for_1h", func(f *fleet) { f.offline, f.offlineFor = 0.1, time.Hour }},
	{"unreachable_for_1h", func(f *fleet) { f.service.downFor = time.Hour }},
	{"hung_up_on_for_1h", func(f *fleet) { f.service.downFor, f.service.hangsUp = time.Hour, true }},
}

func measure(b *testing.B, f fleet) {
	metrics := make(map[string]float64)
	for b.Loop() {
		f.seed++
		o := f.run()
		for _, percent := range []int{10, 25, 50, 75, 90, 99, 100} {
			metrics[fmt.Sprintf("s-to-%d%%", percent)] += o.within(float64(percent) / 100).Seconds()
		}
		metrics["x-quota"] += o.within(1).Seconds() / f.service.quota(f.devices).Seconds()
		metrics["creates/device"] += o.perDevice(o.creates)
		metrics["connections/device"] += o.connectionsPerDevice()
		metrics["peak-connections/s"] += float64(o.peak())
		metrics["s-over-500-connections"] += float64(o.crowded())
		metrics["expired-tokens"] += float64(o.expired)
	}
	for unit, sum := range metrics {
		b.ReportMetric(sum/float64(b.N), unit)
	}
}
