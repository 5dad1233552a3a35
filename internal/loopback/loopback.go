// Package loopback tells addresses of this machine, to which secrets may go unencrypted.
package loopback

import (
	"net"
	"strings"
)

// IsHost reports whether a host leads to this machine and nowhere else: localhost, or a loopback IP address. Names are not
// looked up.
func IsHost(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// IsAddress is IsHost for an address with a port, or without.
func IsAddress(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return IsHost(host)
}
