package iotservice

import (
	"crypto/rand"
	"crypto/rsa"
	"runtime"
	"sync"
)

// maxSpareKeys is how many keys may be made for clients that have not asked yet.
const maxSpareKeys = 4

// maxKept is how many keys of a pool that has ended are kept for other pools.
const maxKept = 64

// keyPool makes RSA keys, each of which takes tens of milliseconds and is handed out
// once. It makes one in advance for each client that is about to ask, and no others:
// whoever closes the pool waits for those that are being made.
type keyPool struct {
	slots  chan struct{} // one is taken while a key is made, in the order of asking
	keys   chan *rsa.PrivateKey
	closed chan struct{}
	making sync.WaitGroup

	mu    sync.Mutex        // guards what follows
	spare int               // keys that are ready or being made and that nobody has asked for
	made  []*rsa.PrivateKey // for formerKeys, once the pool has ended
}

// formerKeys are keys of pools that have ended.
var formerKeys keyShelf

// ReuseKeys says whether each service of this process hands out the keys of those that have
// ended, though none of them twice. By default none does. It is for tests that start
// hundreds of servers and never meet the keys of two.
func ReuseKeys(reuse bool) { formerKeys.open(reuse) }

// keyShelf holds keys, once it is open. It is safe for concurrent use.
type keyShelf struct {
	mu     sync.Mutex
	opened bool
	keys   []*rsa.PrivateKey
}

func (s *keyShelf) open(opened bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened, s.keys = opened, nil
}

func (s *keyShelf) put(keys []*rsa.PrivateKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened {
		return
	}
	s.keys = append(s.keys, keys[:min(len(keys), maxKept-len(s.keys))]...)
}

// take returns nil if the shelf is empty.
func (s *keyShelf) take() (key *rsa.PrivateKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.keys) - 1; last >= 0 {
		key, s.keys = s.keys[last], s.keys[:last]
	}
	return key
}

func newKeyPool() *keyPool {
	return &keyPool{
		slots:  make(chan struct{}, runtime.GOMAXPROCS(0)),
		keys:   make(chan *rsa.PrivateKey),
		closed: make(chan struct{}),
	}
}

// prepare starts making a spare key.
func (p *keyPool) prepare() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spare < maxSpareKeys {
		p.spare++
		p.making.Go(p.makeKey)
	}
}

// take waits for a key. It returns nil once the pool is closed.
func (p *keyPool) take() *rsa.PrivateKey {
	p.mu.Lock()
	if p.spare > 0 {
		p.spare--
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
	key := formerKeys.take()
	if key == nil {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic("iotservice: make an RSA key: " + err.Error())
		}
	}
	p.mu.Lock()
	if len(p.made) < maxKept {
		p.made = append(p.made, key)
	}
	p.mu.Unlock()
	<-p.slots
	select {
	case p.keys <- key:
	case <-p.closed:
	}
}

// close lets those go who wait for a key.
func (p *keyPool) close() { close(p.closed) }

// wait waits for the last goroutine of a pool that is closed and no longer used.
func (p *keyPool) wait() {
	p.making.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	formerKeys.put(p.made)
	p.made = nil
}
