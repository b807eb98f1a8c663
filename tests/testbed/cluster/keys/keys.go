// Package keys makes the certificates and keys of one cluster, which live as long as it does.
package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// NewCommand is `rota-keys FOLDER`. It writes there:
//   - ca.crt: the authority that signs the others; its key is thrown away.
//   - server.crt, server.key: of every part that listens, on 127.0.0.1. Parts that speak to each other
//     (API server to etcd and to the node) show it as clients too, so that no stranger on the machine can.
//   - service-account.key: signs the tokens of service accounts.
func NewCommand() *cobra.Command {
	return &cobra.Command{
		Use:          "rota-keys FOLDER",
		Short:        "Make the certificates and keys of a cluster",
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE:         func(_ *cobra.Command, arguments []string) error { return write(arguments[0]) },
	}
}

func write(folder string) error {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authority := certificate(1, "rota-testbed-ca")
	authority.IsCA = true
	authority.BasicConstraintsValid = true
	authority.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return err
	}

	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	server := certificate(2, "rota-testbed")
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}
	server.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, authority, &serverKey.PublicKey, authorityKey)
	if err != nil {
		return err
	}

	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	files := []struct {
		name, kind string
		mode       os.FileMode
		der        func() ([]byte, error)
	}{
		{"ca.crt", "CERTIFICATE", 0o644, func() ([]byte, error) { return authorityDER, nil }},
		{"server.crt", "CERTIFICATE", 0o644, func() ([]byte, error) { return serverDER, nil }},
		{"server.key", "EC PRIVATE KEY", 0o600, func() ([]byte, error) { return x509.MarshalECPrivateKey(serverKey) }},
		{"service-account.key", "EC PRIVATE KEY", 0o600, func() ([]byte, error) { return x509.MarshalECPrivateKey(accountKey) }},
	}
	for _, file := range files {
		der, err := file.der()
		if err != nil {
			return err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(folder, file.name), text, file.mode); err != nil {
			return err
		}
	}
	return nil
}

// certificate is what all have in common. A day is longer than any test run.
func certificate(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}
