package kafka_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka"
)

// The authority of the brokers' certificates is replaced under a running client, whose file follows. While the file is
// broken, the authority that was read last is trusted; what no file has named is never trusted.
func TestARenewedAuthorityNeedsNoRestart(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	var shown atomic.Pointer[tls.Certificate]
	show := func(a *authority) {
		pair, err := tls.LoadX509KeyPair(a.file("broker.pem"), a.file("broker-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		shown.Store(&pair)
	}
	for _, a := range []*authority{before, after} {
		a.issue("broker", leaf(2, -time.Hour, time.Hour))
	}
	show(before)
	accepted := &acceptedConns{}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shown.Load(), nil },
	}), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		listener, err := net.Listen(network, address)
		return &listening{listener, accepted}, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	file := before.file("trusted.pem")
	trust := func(text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pem := func(a *authority) []byte {
		text, err := os.ReadFile(a.file("ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	trust(pem(before))
	var log logged
	client, err := kafka.NewClient(kafka.ClientConfig{
		Brokers: cluster.ListenAddrs(), TLS: kafka.TLSConfig{CAFile: file, Required: true}, Logger: log.logger(slog.LevelInfo), ConnectTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reaches := func(what string, want bool) {
		t.Helper()
		accepted.all()
		_ = client.Ping(t.Context()) // which finds the connection closed
		if err := client.Ping(t.Context()); (err == nil) != want {
			t.Errorf("%s: the ping returned %v", what, err)
		}
	}
	reaches("at first", true)
	show(after)
	reaches("an authority that nobody trusts", false)
	trust(nil)
	reaches("an empty file", false)
	show(before)
	reaches("an empty file, and the authority of before", true)
	if log.count(slog.LevelWarn, "err=TLS: CAFile…") == 0 {
		t.Errorf("no warning says that the file holds nothing:\n%s", log.String())
	}
	show(after)
	trust(pem(after))
	reaches("both are renewed", true)
	show(before)
	reaches("the authority of before", false)
}
