package nats

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// selfSigned makes a certificate for 127.0.0.1, and the pool that trusts it.
func selfSigned(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "millrace test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, pool
}

func TestListenerWithTLS(t *testing.T) {
	dir := t.TempDir()
	serving, pool := selfSigned(t)
	b := open(t, Options{Dir: dir, Listen: "127.0.0.1:0", ServerTLS: serving})
	if nc, err := natsgo.Connect("tls://"+b.Addr(), natsgo.Timeout(5*time.Second)); err == nil {
		nc.Close()
		t.Error("a client that does not trust the certificate connected")
	}
	connectReader(t, b, natsgo.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	o := open(t, Options{Dir: dir, Operator: true, ServerTLS: serving})
	if _, err := o.Checkpoints(t.Context()); err != nil {
		t.Errorf("an operating command: %v", err)
	}
	o.Close()
	other, _ := selfSigned(t)
	wantLocal(t, Options{Dir: dir, Operator: true, ServerTLS: other}, b.Addr(), "another certificate")
}
