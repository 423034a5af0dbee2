package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates are those of one authority made for a test: a broker's, and one
// for its clients. The fields name PEM files, which last as long as the test.
type Certificates struct {
	CA        string // the authority's certificate, for clients to trust
	Cert, Key string // a client's certificate, with the common name "client", and its key

	server string // the broker's key and certificate
	pool   *x509.CertPool
	client tls.Certificate
}

// NewCertificates makes certificates that are good for a day. The broker's is
// for these host names and addresses; by default for 127.0.0.1 and localhost.
func NewCertificates(t testing.TB, hosts ...string) *Certificates {
	t.Helper()
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1", "localhost"}
	}
	dir := t.TempDir()
	write := func(name string, blocks ...*pem.Block) string {
		var text []byte
		for _, b := range blocks {
			text = append(text, pem.EncodeToMemory(b)...)
		}
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	ca := sign(t, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	server := &x509.Certificate{
		Subject: pkix.Name{CommonName: "broker"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	s := sign(t, &ca, server)
	client := sign(t, &ca, &x509.Certificate{
		Subject: pkix.Name{CommonName: "client"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	c := &Certificates{
		CA:     write("ca.pem", ca.certBlock()),
		Cert:   write("client.pem", client.certBlock()),
		Key:    write("client-key.pem", client.keyBlock(t)),
		server: write("broker.pem", s.keyBlock(t), s.certBlock()),
		pool:   x509.NewCertPool(),
		client: tls.Certificate{Certificate: [][]byte{client.cert.Raw}, PrivateKey: client.key},
	}
	c.pool.AddCert(ca.cert)
	return c
}

// Client returns what a client needs to trust the broker, and its certificate
// where it should present one.
func (c *Certificates) Client(present bool) *tls.Config {
	config := &tls.Config{RootCAs: c.pool, MinVersion: tls.VersionTLS12}
	if present {
		config.Certificates = []tls.Certificate{c.client}
	}
	return config
}

// identity is a certificate and its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes an identity of a template, signed by itself where there is no
// authority.
func sign(t testing.TB, authority *identity, template *x509.Certificate) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if authority == nil {
		authority = &identity{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.cert, &key.PublicKey, authority.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return identity{cert, key}
}

func (i identity) certBlock() *pem.Block { return &pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw} }

func (i identity) keyBlock(t testing.TB) *pem.Block {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return &pem.Block{Type: "PRIVATE KEY", Bytes: der}
}
