package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file makes TLS connections of what TLSConfig says. What its files hold is read again for each.

func tlsConfig(cfg TLSConfig) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName}
	var faults faults
	if cfg.CAFile != "" {
		var err error
		if config.RootCAs, err = readAuthorities(cfg.CAFile); err != nil {
			faults = append(faults, err)
		}
	}
	if cfg.CertFile != "" && cfg.KeyFile != "" {
		load := func() (*tls.Certificate, error) { return loadCertificate(cfg) }
		if _, err := load(); err != nil {
			faults = append(faults, err)
		}
		// Read again at each connection, so that a renewed certificate needs no restart.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return config, errors.Join(faults...)
}

// certificateError is a client certificate that can't be shown.
type certificateError struct{ err error }

func (e *certificateError) Error() string {
	return fmt.Sprintf("TLS: client certificate: %v (KAFKA_TLS_CERT_FILE, KAFKA_TLS_KEY_FILE)", e.err)
}
func (e *certificateError) Unwrap() error { return e.err }

func loadCertificate(cfg TLSConfig) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, &certificateError{err}
	}
	if ends := pair.Leaf.NotAfter; time.Now().After(ends) { // brokers say no more than that they don't want it
		return nil, &certificateError{fmt.Errorf("%s expired at %s", cfg.CertFile, ends.Format(time.RFC3339))}
	}
	return &pair, nil
}

func readAuthorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("TLS: CAFile (KAFKA_TLS_CA_FILE): %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("TLS: CAFile %s holds no PEM certificate (KAFKA_TLS_CA_FILE)", file)
	}
	return pool, nil
}

// rereadsAuthorities reports whether CAFile is read again for each connection: unless the user's own options dial.
func (c ClientConfig) rereadsAuthorities() bool {
	return c.TLS.CAFile != "" && !slices.ContainsFunc(c.Options, func(o kgo.Opt) bool {
		return optionName(o) == "Dialer" || optionName(o) == "DialTLSConfig" || optionName(o) == "DialTLS" || optionName(o) == "DialTimeout"
	})
}

// authorities dials with those of a file, as they are at that moment, so that renewed ones need no restart. While the
// file can't be read, those that were read last are trusted.
type authorities struct {
	file string
	logs kgo.Logger

	mu     sync.Mutex
	config *tls.Config
}

// dialTimeout is franz-go's own.
const dialTimeout = 10 * time.Second

func (a *authorities) dial(ctx context.Context, network, address string) (net.Conn, error) {
	config := a.latest()
	if config.ServerName == "" { // as franz-go does
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("address %s: %w", address, err)
		}
		config.ServerName = host
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: config}
	return dialer.DialContext(ctx, network, address)
}

// latest returns a copy of the config.
func (a *authorities) latest() *tls.Config {
	pool, err := readAuthorities(a.file)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.config.RootCAs = pool
	} else { // a warning then: clientLogs takes lines down by a level, and says this once in a while
		a.logs.Log(kgo.LogLevelError, "authorities can't be read again; those that were read before are trusted", "err", err)
	}
	return a.config.Clone()
}
