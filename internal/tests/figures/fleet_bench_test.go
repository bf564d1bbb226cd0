package figures_test

import (
	"fmt"
	"testing"
)

// BenchmarkFleetAtPowerOn switches on 1,000 devices in one instant. Its metrics are
// means over the fleets: in how many seconds of the devices' time the shares of
// them were registered, and what it cost AWS. The time and the memory of an
// iteration are what it takes to run all devices, and the endpoint with them.
func BenchmarkFleetAtPowerOn(b *testing.B) {
	const devices = 1_000
	for _, answered := range []bool{false, true} {
		b.Run(fmt.Sprintf("answered=%v", answered), func(b *testing.B) {
			var runs []fleetRun
			b.ReportAllocs()
			for b.Loop() {
				asTest(b, func(t *testing.T) {
					runs = append(runs, fleet{devices: devices, createRate: registerRate, answered: answered}.powerOn(t))
				})
			}

			mean := func(unit string, of func(fleetRun) float64) {
				sum := 0.0
				for _, run := range runs {
					sum += of(run)
				}
				b.ReportMetric(sum/float64(len(runs)), unit)
			}
			for _, percent := range []int{10, 25, 50, 75, 90, 99, 100} {
				mean(fmt.Sprintf("s-to-%d%%", percent), func(r fleetRun) float64 { return r.within(percent).Seconds() })
			}
			mean("x-quota", func(r fleetRun) float64 { return r.within(100).Seconds() / fleetQuota(devices).Seconds() })
			mean("creates/device", func(r fleetRun) float64 { return r.perDevice(r.creates) })
			mean("connections/device", fleetRun.connectionsPerDevice)
			mean("peak-connections/s", func(r fleetRun) float64 { return float64(r.peak()) })
			mean("s-over-500-connections", func(r fleetRun) float64 { return float64(r.crowded()) })
		})
	}
}
