package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"k8s.io/klog/v2"
)

const (
	// nodeIP is the node's own address, and that of pods with hostNetwork.
	nodeIP = "127.0.0.1"
	// How long the kernel keeps the addresses of a node that does not renew them.
	addressLife    = 60
	addressRenewal = 15 * time.Second
)

// network gives each pod an address of its own, on the machine's loopback interface.
//
// 127.0.0.0/8 would serve without any set-up, but the API server refuses such addresses in EndpointSlices, so
// that no Service would have endpoints. So the interface is given a network of 198.18.0.0/15 (set aside by
// RFC 2544 for benches, so it is nobody's on a real network), with a limited life that the node renews: after a
// SIGKILL of everything the kernel removes it. Where that is not allowed, pods do get addresses of 127.0.0.0/8,
// and Services have no endpoints.
//
// There is one network stack for all pods and the machine: a server that listens on 0.0.0.0 has the port of
// all addresses. Pods reach what listens on the machine's 127.0.0.1.
type network struct {
	base  net.IP
	mutex sync.Mutex
	// Which of the 256 are taken.
	taken [256]bool
	next  int
}

func newNetwork(ctx context.Context) (*network, error) {
	n := &network{}
	for _, reserved := range []int{0, 1, 255} {
		n.taken[reserved] = true
	}
	loopback, err := netlink.LinkByName("lo")
	for err == nil {
		random := rand.IntN(512)
		n.base = net.IPv4(198, byte(18+random/256), byte(random%256), 0).To4()
		if used(n.base) {
			continue
		}
		// Two nodes that start at once may have the same in mind: the kernel lets only one add it.
		err = netlink.AddrAdd(loopback, n.address())
		if errors.Is(err, syscall.EEXIST) {
			err = nil
			continue
		}
		if err == nil {
			go every(ctx, addressRenewal, func() {
				if err := netlink.AddrReplace(loopback, n.address()); err != nil {
					klog.ErrorS(err, "The addresses of pods were not renewed")
				}
			})
			context.AfterFunc(ctx, func() { _ = netlink.AddrDel(loopback, n.address()) })
			return n, nil
		}
	}
	klog.InfoS("No network can be added to the loopback interface, so Services will have no endpoints", "reason", err)
	n.base = net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), 0).To4()
	return n, nil
}

func (n *network) String() string { return n.base.String() + "/24" }

// address is what the interface gets: with it all of the network's addresses are the machine's.
func (n *network) address() *netlink.Addr {
	ip := net.IPv4(n.base[0], n.base[1], n.base[2], 1).To4()
	return &netlink.Addr{
		IPNet:       &net.IPNet{IP: ip, Mask: net.CIDRMask(24, 32)},
		ValidLft:    addressLife,
		PreferedLft: addressLife,
	}
}

// used says whether an interface of the machine has an address of the network.
func used(base net.IP) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.Mask(net.CIDRMask(24, 32)).Equal(base) {
			return true
		}
	}
	return false
}

// take gives an address that no pod has. The one that was given back last comes last, as a client may
// still have it in mind.
func (n *network) take() (string, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for range n.taken {
		n.next = (n.next + 1) % len(n.taken)
		if !n.taken[n.next] {
			n.taken[n.next] = true
			return net.IPv4(n.base[0], n.base[1], n.base[2], byte(n.next)).String(), nil
		}
	}
	return "", fmt.Errorf("no address of %s is left", n)
}

func (n *network) giveBack(address string) {
	ip := net.ParseIP(address).To4()
	if ip == nil || !ip.Mask(net.CIDRMask(24, 32)).Equal(n.base) {
		return
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.taken[ip[3]] = false
}
