package backoff_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
)

// service is what the devices of a fleet share: the quotas of an account, each
// in requests per second with a burst of one second.
type service struct {
	connect, create, register float64

	// closes is a service that closes the connection of a request it
	// throttles. The other kind answers 429, and the device keeps its
	// connection.
	closes bool

	// downFor is how long there is no service at first. Then no connection can be
	// opened, or else, if hangsUp is set, each is closed.
	downFor time.Duration
	hangsUp bool
}

// The services have the quotas that AWS IoT Core gives an account in a region.
func answering429() service { return service{connect: 500, create: 10, register: 10} }
func closing() service      { return service{connect: 500, create: 10, register: 10, closes: true} }

func (s service) String() string {
	if s.closes {
		return "closing"
	}
	return "429"
}

// quota is how long the quotas alone take to let devices in.
func (s service) quota(devices int) time.Duration {
	return time.Duration(float64(devices) / min(s.create, s.register) * float64(time.Second))
}

// tokenLife is how long a certificate waits for RegisterThing (AWS developer
// guide, "fleet-provision-api").
const tokenLife = time.Hour

// fleet is devices that all want to be registered.
type fleet struct {
	devices int
	service service
	wait    wait
	seed    uint64

	over       time.Duration // in which the devices are switched on; 0: in the same instant
	offline    float64       // the share of the devices that have no network at first
	offlineFor time.Duration // since the first device was switched on
}

// wait is a waiting policy. Elapsed is the time since the device was switched on.
type wait func(d *device, elapsed time.Duration, random float64) time.Duration

// device is one machine that wants to be registered. Its next event is the
// arrival at the service of what it sent.
type device struct {
	next      time.Duration
	on        time.Duration // when it was switched on
	failed    time.Duration // when its last attempt did, or when it was switched on
	issued    time.Duration // when its token was
	tally     backoff.Tally
	failures  int32
	connected bool
	certified bool
	offline   bool
}

// outcome is what a run of a fleet is judged by. Its times count from when the first
// device was switched on.
type outcome struct {
	registered  []time.Duration // when each device was, in order
	connections []int           // opened or tried, by second
	creates     int             // certificates issued
	expired     int             // tokens refused for their age
}

// world is a fleet and its service, while they run.
type world struct {
	fleet
	agenda  *agenda
	random  *rand.Rand
	connect bucket
	create  bucket
	thing   bucket
	outcome outcome
}

// run switches a fleet on, until every device is registered. Nothing waits: time is
// that of the next event.
func (f fleet) run() outcome {
	w := &world{
		fleet:   f,
		agenda:  newAgenda(f.devices),
		random:  rand.New(rand.NewPCG(f.seed, 0)),
		connect: newBucket(f.service.connect),
		create:  newBucket(f.service.create),
		thing:   newBucket(f.service.register),
	}
	for i := range w.agenda.devices {
		d := &w.agenda.devices[i]
		d.on = w.between(0, f.over)
		d.failed = d.on
		d.offline = w.random.Float64() < f.offline
		w.dial(d, d.on)
		w.agenda.add(i)
	}
	for len(w.outcome.registered) < f.devices {
		for _, i := range w.agenda.next() {
			if d := &w.agenda.devices[i]; w.arrive(d) {
				w.outcome.registered = append(w.outcome.registered, d.next)
			} else {
				w.agenda.add(int(i))
			}
		}
	}
	return w.outcome
}

// arrive is the next event of a device. It reports whether that was its last.
func (w *world) arrive(d *device) bool {
	now := d.next
	switch {
	case d.offline && now < w.offlineFor, now < w.service.downFor && !w.service.hangsUp:
		w.fail(d, false)
		return false
	case now < w.service.downFor:
		w.fail(d, true)
		return false
	case !d.connected:
		if !w.connect.take(now) {
			w.fail(d, true)
			return false
		}
		d.connected = true
	case !d.certified:
		if !w.create.take(now) {
			w.throttle(d)
			return false
		}
		w.outcome.creates++
		d.certified, d.issued = true, now
	case now-d.issued > tokenLife:
		w.outcome.expired++
		d.certified = false
	default:
		if w.thing.take(now) {
			return true
		}
		w.throttle(d)
		return false
	}
	d.next = now + w.roundTrip()
	return false
}

func (w *world) throttle(d *device) {
	d.connected = !w.service.closes
	w.fail(d, true)
}

func (w *world) fail(d *device, reached bool) {
	now := d.next
	d.failures++
	d.tally.Failed(reached, now-d.failed)
	d.failed = now
	next := now + w.wait(d, now-d.on, w.random.Float64())
	if d.connected {
		d.next = next + w.roundTrip()
	} else {
		w.dial(d, next)
	}
}

// dial opens a connection, whose CONNECT arrives next.
func (w *world) dial(d *device, now time.Duration) {
	second := int(now / time.Second)
	for len(w.outcome.connections) <= second {
		w.outcome.connections = append(w.outcome.connections, 0)
	}
	w.outcome.connections[second]++
	d.next = now + w.between(500*time.Millisecond, 1500*time.Millisecond)
}

func (w *world) roundTrip() time.Duration {
	return w.between(tick, 3*tick)
}

func (w *world) between(shortest, longest time.Duration) time.Duration {
	return shortest + time.Duration(w.random.Float64()*float64(longest-shortest))
}

// tick is the shortest time between two events of a device.
const tick = 50 * time.Millisecond

// agenda hands out devices in the order of their next events. It keeps a list of
// devices for each tick. An event never adds another one to its own tick.
type agenda struct {
	devices []device
	links   []int32 // the device after each in its list, or -1
	passed  int     // ticks that are no longer in ticks
	ticks   []int32 // the first device of each list, or -1
	now     int     // the one of ticks that is next
	batch   []int32
}

func newAgenda(devices int) *agenda {
	return &agenda{devices: make([]device, devices), links: make([]int32, devices)}
}

// add puts a device where its next event is.
func (a *agenda) add(i int) {
	at := int(a.devices[i].next/tick) - a.passed
	for len(a.ticks) <= at {
		a.ticks = append(a.ticks, -1)
	}
	a.links[i], a.ticks[at] = a.ticks[at], int32(i)
}

// next returns the devices whose events are in the next tick that has any, until it is
// called again.
func (a *agenda) next() []int32 {
	a.batch = a.batch[:0]
	for a.ticks[a.now] < 0 {
		a.now++
	}
	for i := a.ticks[a.now]; i >= 0; i = a.links[i] {
		a.batch = append(a.batch, i)
	}
	if a.now++; a.now > len(a.ticks)/2 {
		a.ticks = slices.Delete(a.ticks, 0, a.now)
		a.passed += a.now
		a.now = 0
	}
	slices.SortFunc(a.batch, func(i, j int32) int {
		return cmp.Or(cmp.Compare(a.devices[i].next, a.devices[j].next), cmp.Compare(i, j))
	})
	return a.batch
}

// bucket is a token bucket.
type bucket struct {
	perSecond, level float64
	filled           time.Duration
}

func newBucket(perSecond float64) bucket { return bucket{perSecond: perSecond, level: perSecond} }

func (b *bucket) take(now time.Duration) bool {
	b.level = min(b.perSecond, b.level+b.perSecond*(now-b.filled).Seconds())
	b.filled = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

// within returns when the given share of the devices was registered.
func (o outcome) within(share float64) time.Duration {
	return o.registered[max(0, int(share*float64(len(o.registered)))-1)]
}

// perDevice divides by the number of devices.
func (o outcome) perDevice(n int) float64 { return float64(n) / float64(len(o.registered)) }

func (o outcome) connectionsPerDevice() float64 {
	sum := 0
	for _, n := range o.connections {
		sum += n
	}
	return o.perDevice(sum)
}

// peak is the most connections in one second, after the first.
func (o outcome) peak() int { return slices.Max(append([]int{0}, o.connections[1:]...)) }

// crowded is the number of seconds, after the first, with more connections than
// the quota of 500.
func (o outcome) crowded() int {
	seconds := 0
	for _, n := range o.connections[1:] {
		if n > 500 {
			seconds++
		}
	}
	return seconds
}
