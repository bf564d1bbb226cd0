package fleetprovtest

import (
	"crypto/rand"
	"crypto/rsa"
	"runtime"
	"sync"
)

// maxKeysAhead bounds the keys made for clients that have not asked yet.
const maxKeysAhead = 4

// keyPool makes the RSA keys of CreateKeysAndCertificate, each of which takes
// tens of milliseconds and is handed out once. It makes one ahead for each
// client that has subscribed to the answer, and none that nobody may want: the
// time to make it would be added to that of Server.Close.
type keyPool struct {
	slots  chan struct{} // taken while a key is made: who asks first is served first
	keys   chan *rsa.PrivateKey
	closed chan struct{}
	making sync.WaitGroup

	mu    sync.Mutex
	ahead int // keys ready or in the making that nobody has asked for
}

func newKeyPool() *keyPool {
	return &keyPool{
		slots:  make(chan struct{}, runtime.GOMAXPROCS(0)),
		keys:   make(chan *rsa.PrivateKey),
		closed: make(chan struct{}),
	}
}

// prepare starts making a key ahead.
func (p *keyPool) prepare() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ahead < maxKeysAhead {
		p.ahead++
		p.making.Go(p.makeKey)
	}
}

// take waits for a key. It returns nil once the pool is closed.
func (p *keyPool) take() *rsa.PrivateKey {
	p.mu.Lock()
	if p.ahead > 0 {
		p.ahead--
	} else {
		p.making.Go(p.makeKey)
	}
	p.mu.Unlock()
	select {
	case key := <-p.keys:
		return key
	case <-p.closed:
		return nil
	}
}

func (p *keyPool) makeKey() {
	select {
	case p.slots <- struct{}{}:
	case <-p.closed:
		return
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("fleetprovtest: make an RSA key: " + err.Error())
	}
	<-p.slots
	select {
	case p.keys <- key:
	case <-p.closed:
	}
}

// close releases those who wait for a key.
func (p *keyPool) close() { close(p.closed) }

// wait waits for the last goroutine of a closed pool that nobody uses any more.
func (p *keyPool) wait() { p.making.Wait() }
