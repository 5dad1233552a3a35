package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka"
)

// authority signs the certificates of brokers and clients.
type authority struct {
	t           *testing.T
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, folder: t.TempDir()}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-24 * time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.issue("ca", a.certificate)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.folder, name) }

// issue writes name.pem and name-key.pem.
func (a *authority) issue(name string, certificate *x509.Certificate) *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, certErr := x509.CreateCertificate(rand.Reader, certificate, a.certificate, &key.PublicKey, signer)
	private, keyErr := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, certErr, keyErr,
		os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(a.file(name+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)); err != nil {
		a.t.Fatal(err)
	}
	return key
}

// leaf is a certificate for this machine, valid for as long as named.
func leaf(serial int64, begins, ends time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(begins), NotAfter: time.Now().Add(ends),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
}

// cluster serves TLS with the certificate of that name, and notes the serial numbers of the clients' certificates. cut.all
// ends all connections.
func (a *authority) cluster(name string, auth tls.ClientAuthType) (cfg kafka.ClientConfig, shown func() []int64, cut *acceptedConns) {
	a.t.Helper()
	pair, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+"-key.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.trusted())
	var mu sync.Mutex
	var serials []int64
	accepted := &acceptedConns{}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "dlq-orders"), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: auth, ClientCAs: pool,
		VerifyConnection: func(state tls.ConnectionState) error {
			mu.Lock()
			defer mu.Unlock()
			for _, peer := range state.PeerCertificates {
				serials = append(serials, peer.SerialNumber.Int64())
			}
			return nil
		},
	}), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		listener, err := net.Listen(network, address)
		return &listening{listener, accepted}, err
	}))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(cluster.Close)
	cfg = kafka.ClientConfig{Brokers: cluster.ListenAddrs(), TLS: kafka.TLSConfig{CAFile: a.file("ca.pem")}, Logger: slog.New(slog.DiscardHandler), ConnectTimeout: time.Minute}
	return cfg, func() []int64 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(serials)
	}, accepted
}

// listening keeps the connections that it accepts.
type listening struct {
	net.Listener
	accepted *acceptedConns
}

func (l *listening) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.mu.Lock()
		defer l.accepted.mu.Unlock()
		l.accepted.list = append(l.accepted.list, conn)
	}
	return conn, err
}

type acceptedConns struct {
	mu   sync.Mutex
	list []net.Conn
}

// since returns how many connections there were since all were cut.
func (a *acceptedConns) since() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.list)
}

func (a *acceptedConns) all() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, conn := range a.list {
		_ = conn.Close()
	}
	a.list = nil
}

func (a *authority) trusted() *x509.Certificate {
	a.t.Helper()
	text, err := os.ReadFile(a.file("ca.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate
}

// Promise 8: whoever reads the error knows which certificate it is and since when.
func TestExpiredCertificatesAreNamedAtTheDoor(t *testing.T) {
	a := newAuthority(t)
	for _, test := range []struct {
		name        string
		certificate *x509.Certificate
		want        func(*x509.Certificate) string
	}{
		{"expired", leaf(2, -2*time.Hour, -time.Hour), func(c *x509.Certificate) string {
			return "the broker's certificate expired at " + c.NotAfter.UTC().Format(time.RFC3339)
		}},
		{"not yet valid", leaf(2, time.Hour, 2*time.Hour), func(c *x509.Certificate) string {
			return "the broker's certificate is valid only from " + c.NotBefore.UTC().Format(time.RFC3339) + " on: is the clock here right?"
		}},
	} {
		t.Run("the broker's, "+test.name, func(t *testing.T) {
			a.issue("broker", test.certificate)
			cfg, _, _ := a.cluster("broker", tls.NoClientCert)
			_, err := kafka.NewClient(cfg)
			wantFault(t, err, test.want(test.certificate), cfg.Brokers[0])
			if !errors.Is(err, kafka.ErrUnreachable) {
				t.Errorf("%v, want ErrUnreachable", err)
			}
		})
	}
	t.Run("the client's", func(t *testing.T) {
		old := leaf(3, -2*time.Hour, -time.Hour)
		a.issue("broker", leaf(2, -time.Hour, time.Hour))
		a.issue("client", old)
		cfg, _, _ := a.cluster("broker", tls.RequireAndVerifyClientCert)
		cfg.TLS.CertFile, cfg.TLS.KeyFile = a.file("client.pem"), a.file("client-key.pem")
		_, err := kafka.NewClient(cfg)
		wantFault(t, err, "TLS: client certificate", a.file("client.pem"), "expired at "+old.NotAfter.UTC().Format(time.RFC3339))
	})
}

// Files are renewed while a service runs. The next connection shows what is there then; a moment at which certificate and key don't
// belong together costs a connection, and no message.
func TestRenewedClientCertificatesNeedNoRestart(t *testing.T) {
	a := newAuthority(t)
	a.issue("broker", leaf(2, -time.Hour, time.Hour))
	a.issue("client", leaf(3, -time.Hour, time.Hour))
	cfg, shown, cut := a.cluster("broker", tls.RequireAndVerifyClientCert)
	cfg.TLS.CertFile, cfg.TLS.KeyFile = a.file("client.pem"), a.file("client-key.pem")
	client, err := kafka.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	publish := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := producer.Publish(ctx, kafka.Message[numbered]{Value: numbered{1}}); err != nil {
			t.Error(err)
		}
	}
	publish()
	if serials := slices.Compact(shown()); !slices.Equal(serials, []int64{3}) {
		t.Fatalf("the certificates shown are %v", serials)
	}
	a.issue("client", leaf(4, -time.Hour, time.Hour))
	cut.all()
	publish()
	if serials := slices.Compact(shown()); !slices.Equal(serials, []int64{3, 4}) {
		t.Fatalf("the certificates shown are %v", serials)
	}

	whole, err := os.ReadFile(a.file("client-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file("client-key.pem"), whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	cut.all()
	published := make(chan struct{})
	go func() { // ends once the key is whole
		publish()
		close(published)
	}()
	for cut.since() < 6 { // connections have failed: for the message, and for the look-up of its leader
		client.KGO().ForceMetadataRefresh()
		time.Sleep(10 * time.Millisecond)
	}
	if err := client.Trouble(); !errors.Is(err, kafka.ErrAuthentication) || !strings.Contains(err.Error(), "the client certificate can't be used") {
		t.Errorf("meanwhile the trouble is %v", err)
	}
	select {
	case <-published:
		t.Error("Publish returned without a connection")
	default:
	}
	if err := os.WriteFile(a.file("client-key.pem"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	<-published
}
