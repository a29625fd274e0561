package upstream

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// metadataAddresses answer every process of a machine with the machine's own
// credentials, and are not link-local, where most clouds keep theirs.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("168.63.129.16"),   // Azure, wire server
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
}

// nat64 embeds IPv4 addresses, RFC 6052: the last four bytes are dialled in the end.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// addressGuard keeps an address that a tenant wrote from reaching what only the
// operator's machine can reach.
type addressGuard struct{ allowLoopback bool }

// control is asked by the dialler after name resolution, so that a name cannot
// resolve to one address when it is checked and to another when it is dialled.
func (g addressGuard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return Errorf(InvalidSpec, "%s is refused: it is no address", Excerpt(address))
	}
	return g.check(target.Addr())
}

// literal checks a host that is written as an address; names pass.
func (g addressGuard) literal(host string) error {
	if address, err := netip.ParseAddr(host); err == nil {
		return g.check(address)
	}
	return nil
}

func (g addressGuard) check(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	if nat64.Contains(address) {
		bytes := address.As16()
		address = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	kind := ""
	switch {
	case address.IsLoopback() && !g.allowLoopback:
		kind = "a loopback address"
	case address.IsUnspecified(), address.Is4() && address.As4()[0] == 0:
		kind = "an unspecified address"
	case address.IsLinkLocalUnicast():
		kind = "a link-local address"
	case address.IsMulticast(), address == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		kind = "a multicast or broadcast address"
	}
	for _, metadata := range metadataAddresses {
		if address == metadata {
			kind = "a cloud's metadata address"
		}
	}
	if kind == "" {
		return nil
	}
	return Errorf(InvalidSpec, "%s is refused: it is %s", address, kind)
}

// NewDialer dials what NewTransport would: no address of the operator's own machine or of its
// cloud's metadata service. It is for what is no HTTP.
func NewDialer(allowLoopback bool, timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, ControlContext: addressGuard{allowLoopback: allowLoopback}.control}
}
