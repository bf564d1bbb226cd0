package fleetprov

import (
	"context"
	"net"

	"github.com/fleetprov/fleetprov/internal/proxy"
)

// dial opens the network connection to the endpoint, through a proxy if there is
// one.
func (p *Provisioner) dial(ctx context.Context, network, address string) (net.Conn, error) {
	through := p.proxy
	if !p.proxySet && !p.dialerSet {
		var err error
		if through, err = proxy.FromEnvironment(address); err != nil {
			return nil, err
		}
	}
	if through == nil {
		return p.dialer(ctx, network, address)
	}
	return proxy.Dial(ctx, p.dialer, through, address, nil)
}
