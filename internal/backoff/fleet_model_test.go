package backoff_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"
)

// wait is a waiting policy, of the form of [backoff.Policy.Wait].
type wait func(failures int, elapsed time.Duration, random float64) time.Duration

// service is what the devices of a fleet share: the quotas of an account, each
// in requests per second with a burst of one second.
type service struct {
	connect, create, register float64

	// closes is a service that closes the connection of a request it
	// throttles. The other kind answers 429, and the device keeps its
	// connection.
	closes bool

	// downFor is how long no connection can be opened at first.
	downFor time.Duration
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

// tokenLife is how long a certificate waits for RegisterThing (AWS developer
// guide, "fleet-provision-api").
const tokenLife = time.Hour

// fleet is devices that are switched on in the same instant, each with exactly
// one event to come: they are a heap by its time.
type fleet struct {
	devices []device
	service service
	wait    wait
	random  *rand.Rand
	connect bucket
	create  bucket
	thing   bucket
	outcome outcome
}

// device is one machine that wants to be registered. Its next event is the
// arrival at the service of what it sent.
type device struct {
	next      time.Duration
	connected bool
	certified bool
	issued    time.Duration // when its token was
	failures  int
}

// outcome is what a run of a fleet is judged by.
type outcome struct {
	registered  []time.Duration // when each device was, in order
	connections []int           // opened or tried, by second
	creates     int             // certificates issued
	expired     int             // tokens refused for their age
}

// powerOn runs a fleet until every device is registered. Nothing waits: time is
// that of the next event.
func powerOn(devices int, s service, w wait, seed uint64) outcome {
	f := &fleet{
		devices: make([]device, devices),
		service: s,
		wait:    w,
		random:  rand.New(rand.NewPCG(seed, 0)),
		connect: newBucket(s.connect),
		create:  newBucket(s.create),
		thing:   newBucket(s.register),
	}
	for i := range f.devices {
		f.devices[i].next = f.dial(0)
	}
	heap.Init(f)
	for len(f.devices) > 0 {
		if d := &f.devices[0]; f.arrive(d) {
			f.outcome.registered = append(f.outcome.registered, d.next)
			heap.Pop(f)
		} else {
			heap.Fix(f, 0)
		}
	}
	return f.outcome
}

// arrive is the next event of a device. It reports whether that was its last.
func (f *fleet) arrive(d *device) bool {
	now := d.next
	switch {
	case !d.connected:
		if now < f.service.downFor || !f.connect.take(now) {
			f.fail(d)
			return false
		}
		d.connected = true
	case !d.certified:
		if !f.create.take(now) {
			f.throttle(d)
			return false
		}
		f.outcome.creates++
		d.certified, d.issued = true, now
	case now-d.issued > tokenLife:
		f.outcome.expired++
		d.certified = false
	default:
		if f.thing.take(now) {
			return true
		}
		f.throttle(d)
		return false
	}
	d.next = now + f.roundTrip()
	return false
}

func (f *fleet) throttle(d *device) {
	d.connected = !f.service.closes
	f.fail(d)
}

func (f *fleet) fail(d *device) {
	d.failures++
	d.next += f.wait(d.failures, d.next, f.random.Float64())
	if d.connected {
		d.next += f.roundTrip()
	} else {
		d.next = f.dial(d.next)
	}
}

// dial opens a connection, and returns when its CONNECT arrives.
func (f *fleet) dial(now time.Duration) time.Duration {
	second := int(now / time.Second)
	if missing := second + 1 - len(f.outcome.connections); missing > 0 {
		f.outcome.connections = append(f.outcome.connections, make([]int, missing)...)
	}
	f.outcome.connections[second]++
	return now + f.between(500*time.Millisecond, 1500*time.Millisecond)
}

func (f *fleet) roundTrip() time.Duration {
	return f.between(50*time.Millisecond, 150*time.Millisecond)
}

func (f *fleet) between(shortest, longest time.Duration) time.Duration {
	return shortest + time.Duration(f.random.Float64()*float64(longest-shortest))
}

func (f *fleet) Len() int           { return len(f.devices) }
func (f *fleet) Less(i, j int) bool { return f.devices[i].next < f.devices[j].next }
func (f *fleet) Swap(i, j int)      { f.devices[i], f.devices[j] = f.devices[j], f.devices[i] }
func (f *fleet) Push(any)           { panic("a fleet does not grow") }
func (f *fleet) Pop() any {
	f.devices = f.devices[:len(f.devices)-1]
	return nil
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
