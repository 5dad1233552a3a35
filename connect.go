package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/skeji/kafka/internal/flood"
)

// ConnectError is a broker that could not be reached or would not have us, with the likely cause. [errors.Is] finds
// ErrUnreachable or ErrAuthentication in it.
type ConnectError struct {
	Broker string // host:port; several, separated by commas, if none of them answered
	Hint   string // the likely cause and what to do
	Err    error  // what the network, TLS or the broker said
	kind   error  // ErrUnreachable or ErrAuthentication
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("kafka: connect to %s: %v: %s (%v)", e.Broker, e.kind, e.Hint, e.Err)
}

func (e *ConnectError) Unwrap() []error { return []error{e.kind, e.Err} }

// reachAdvertised dials the addresses by which the brokers know themselves and is content with one that takes the
// connection. Clients use these from now on, and where none can be reached, franz-go tries for ever without a word.
func reachAdvertised(ctx context.Context, client *kgo.Client, cfg ClientConfig, from answer) error {
	brokers := from.response.Brokers
	if err := refuseAdvertised(cfg, brokers); err != nil {
		return err
	}
	dial, ok := client.OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	if !ok || len(brokers) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialled := make(chan error, len(brokers)) // buffered: late ones have a place to go
	var addresses []string
	for _, broker := range brokers {
		address := advertisedAddress(broker)
		if address == from.address {
			return nil // which has just answered
		}
		addresses = append(addresses, address)
	}
	for _, address := range addresses {
		go func() {
			conn, err := dial(ctx, "tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			dialled <- err
		}()
	}
	var err error
	for range addresses {
		select {
		case err = <-dialled:
			if err == nil {
				return nil
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	explained := explainConnect(cfg, strings.Join(addresses, ", "), err)
	explained.Hint = fmt.Sprintf("%s answers, but sends its clients there: are the brokers' advertised.listeners right, and reachable from here? %s",
		from.address, explained.Hint)
	return explained
}

// explainConnect finds the likely cause of a failed connection.
func explainConnect(cfg ClientConfig, broker string, err error) *ConnectError {
	kind, hint := ErrUnreachable, ""
	switch {
	case isType[*plaintextError](err):
		kind = ErrAuthentication
		hint = "the brokers advertise this address, which is beyond this machine: turn TLS on (KAFKA_TLS_ENABLED), use SCRAM, or set SASL.AllowPlaintext (KAFKA_SASL_ALLOW_PLAINTEXT)"
	case isAuthentication(err) && cfg.SASL.Mechanism == "OAUTHBEARER":
		kind = ErrAuthentication
		if lacksCredentials(err) {
			hint = "there is no token to connect with: check SASL.Token or TokenFile (KAFKA_SASL_TOKEN_FILE)"
			break
		}
		hint = "the broker refused the token: has it expired, are the clocks right, and are its issuer, audience and scope what the broker wants?"
	case isAuthentication(err) && cfg.SASL.Custom != nil:
		kind = ErrAuthentication
		hint = fmt.Sprintf("the broker refused the credentials of SASL.Custom, which is %s: check them", cfg.SASL.mechanism())
		if lacksCredentials(err) {
			hint = fmt.Sprintf("SASL.Custom, which is %s, has no credentials to connect with", cfg.SASL.mechanism())
		}
	case isAuthentication(err) && cfg.SASL.Mechanism == "":
		kind = ErrAuthentication
		hint = fmt.Sprintf("the broker refused the credentials of SASL mechanism %s, which is in Options: check them", cfg.saslInOptions)
	case isAuthentication(err):
		kind = ErrAuthentication
		hint = fmt.Sprintf("the broker refused user %q with %s: check the user, the password and the mechanism", cfg.SASL.Username, cfg.SASL.Mechanism)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		kind = ErrAuthentication
		hint = fmt.Sprintf("this listener does not offer SASL mechanism %s", cmp.Or(cfg.SASL.mechanism(), cfg.saslInOptions))
	case errors.Is(err, kerr.IllegalSaslState):
		kind = ErrAuthentication
		hint = "this listener takes no SASL: unset the mechanism or use its SASL port"
	case isType[x509.UnknownAuthorityError](err):
		hint = "the broker's certificate is signed by an authority that is not trusted: set TLS.CAFile (KAFKA_TLS_CA_FILE)"
	case hasOnlyCommonName(err):
		hint = "the broker's certificate names its host in the common name alone, which is not looked at: it has to be issued again with a subject alternative name (SAN)"
	case isType[x509.HostnameError](err):
		hint = "the broker's certificate is for another name: dial that name or set TLS.ServerName (KAFKA_TLS_SERVER_NAME)"
	case isType[x509.CertificateInvalidError](err):
		hint = invalidCertificate(err)
	case isType[*certificateError](err):
		kind = ErrAuthentication
		hint = "the client certificate can't be used: check TLS.CertFile and TLS.KeyFile (KAFKA_TLS_CERT_FILE, KAFKA_TLS_KEY_FILE)"
	case refusesCertificate(err):
		kind = ErrAuthentication
		hint = "the broker refused the client certificate or wants one: set TLS.CertFile and TLS.KeyFile (KAFKA_TLS_CERT_FILE, KAFKA_TLS_KEY_FILE)"
	case isType[tls.RecordHeaderError](err):
		hint = "this port does not speak TLS: use the TLS port, or turn TLS off"
	case isType[*net.DNSError](err):
		hint = "the host name is unknown here"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nothing listens there: is the address right, is the broker up?"
	case errors.Is(err, context.Canceled):
		hint = "the caller did not wait for an answer"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		hint = "no answer in time: is it a Kafka port, does a firewall drop the packets?"
		if cfg.SASL.Token != nil {
			hint += " Or does SASL.Token take so long?"
		}
		if cfg.SASL.Custom != nil {
			hint += " Or does SASL.Custom take so long?"
		}
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), isType[*kgo.ErrFirstReadEOF](err):
		hint = "the broker closed the connection at once: " + mismatch(cfg)
	default:
		hint = "is it a Kafka port? " + mismatch(cfg)
	}
	return &ConnectError{Broker: broker, Hint: hint, Err: err, kind: kind}
}

// lacksCredentials tells credentials that a mechanism does not have from those that the broker refused.
func lacksCredentials(err error) bool {
	credentials, ok := errors.AsType[*credentialError](err)
	return ok && !credentials.refused
}

// hasOnlyCommonName tells certificates that no name can be right for.
func hasOnlyCommonName(err error) bool {
	wrong, ok := errors.AsType[x509.HostnameError](err)
	if !ok || wrong.Certificate == nil {
		return false
	}
	c := wrong.Certificate
	return c.Subject.CommonName != "" && len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses)+len(c.URIs) == 0
}

// mechanismsOf names the SASL mechanisms of a client, for which a config may have Options.
func mechanismsOf(client *kgo.Client) string {
	mechanisms, _ := client.OptValue(kgo.SASL).([]sasl.Mechanism)
	names := make([]string, len(mechanisms))
	for i, mechanism := range mechanisms {
		names[i] = mechanism.Name()
	}
	return strings.Join(names, ", ")
}

// OnNewClient is franz-go's hook, called before the client does anything.
func (w *accessWatch) OnNewClient(client *kgo.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mechanisms = mechanismsOf(client)
}

// config is what is known of the connections, for hints.
func (w *accessWatch) config() ClientConfig {
	w.mu.Lock()
	defer w.mu.Unlock()
	cfg := w.cfg
	cfg.saslInOptions = w.mechanisms
	return cfg
}

// invalidCertificate says what is wrong with a broker's certificate: mostly, its time is over.
func invalidCertificate(err error) string {
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	if invalid.Reason != x509.Expired || invalid.Cert == nil {
		return "the broker's certificate is not valid"
	}
	if begins := invalid.Cert.NotBefore; time.Now().Before(begins) {
		return fmt.Sprintf("the broker's certificate is valid only from %s on: is the clock here right?", begins.Format(time.RFC3339))
	}
	return fmt.Sprintf("the broker's certificate expired at %s: it has to be renewed there, if the clock here is right", invalid.Cert.NotAfter.Format(time.RFC3339))
}

// mismatch says what a port may want that does not answer as a broker would.
func mismatch(cfg ClientConfig) string {
	hint := "this port may want TLS (KAFKA_TLS_ENABLED)"
	if cfg.TLS.enabled() {
		hint = "this port may not speak TLS"
	}
	if cfg.SASL.mechanism() == "" && cfg.saslInOptions == "" {
		hint += ", or may want SASL (KAFKA_SASL_MECHANISM)"
	}
	return hint
}

// refusesCertificate tells the TLS alerts about the client's certificate, or the lack of one. Package tls gives the other
// side's alerts a type that it does not export, with the texts of tls.AlertError.
func refusesCertificate(err error) bool {
	remote, ok := errors.AsType[*net.OpError](err)
	// By RFC 8446, section 6.2; 40 is a handshake failure, which some send for want of a certificate before TLS 1.3.
	return ok && remote.Op == "remote error" && slices.ContainsFunc([]tls.AlertError{40, 42, 43, 44, 45, 46, 48, 49, 116},
		func(alert tls.AlertError) bool { return alert.Error() == remote.Err.Error() })
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func isAuthentication(err error) bool {
	return errors.Is(err, kerr.SaslAuthenticationFailed)
}

func isAuthorization(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.GroupAuthorizationFailed) ||
		errors.Is(err, kerr.ClusterAuthorizationFailed) || errors.Is(err, kerr.TransactionalIDAuthorizationFailed)
}

// refusalGap is how long a refusal may not be repeated before the next one counts as a new story. The client tries
// again at least every 2.5 s.
const refusalGap = 15 * time.Second

// accessWatch notices credentials that turn bad and brokers that can't be reached while the client runs. The client itself
// goes on trying, without a word, for ever.
type accessWatch struct {
	cfg       ClientConfig
	log       *slog.Logger
	onRefusal func(err error, lasting time.Duration) // may be nil; called at each refusal, from the client's goroutines

	quiet       *flood.Gate
	mu          sync.Mutex
	mechanisms  string // of SASL
	connected   bool   // ever: until then, whoever makes the client says what is wrong
	err         error  // the latest refusal; nil while access is good
	first, last time.Time
	unreached   *ConnectError // the latest broker that could not be reached; nil once it could
	missedAt    time.Time     // when that was
	missedSince time.Time     // since when, if it was logged
}

// OnBrokerConnect is franz-go's hook: it sees every connection, TLS and SASL included.
func (w *accessWatch) OnBrokerConnect(broker kgo.BrokerMetadata, _ time.Duration, conn net.Conn, err error) {
	address := net.JoinHostPort(broker.Host, fmt.Sprint(broker.Port))
	if err == nil {
		w.notePlaintext(address, conn)
		if since := w.reached(address); !since.IsZero() {
			w.log.LogAttrs(context.Background(), slog.LevelInfo, "broker reached again", slog.String("broker", address),
				slog.Duration("away", time.Since(since)))
		}
		return
	}
	if errors.Is(err, kgo.ErrClientClosed) { // our own doing
		return
	}
	explained := explainConnect(w.config(), address, err)
	switch {
	case explained.kind == ErrAuthentication:
		w.refused(explained)
	case !errors.Is(err, context.Canceled):
		w.missed(explained)
	}
}

// reached notes a connection, and returns since when the broker was away, if that was said.
func (w *accessWatch) reached(address string) (since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connected = true
	if errors.Is(w.err, ErrAuthentication) { // a connection says nothing about permissions
		w.err = nil
	}
	if w.unreached != nil && w.unreached.Broker == address {
		since = w.missedSince
		w.unreached, w.missedSince = nil, time.Time{}
	}
	return since
}

// missed notes that a broker could not be reached.
func (w *accessWatch) missed(err *ConnectError) {
	w.mu.Lock()
	connected := w.connected
	if connected && (w.unreached == nil || w.unreached.Broker != err.Broker) {
		w.missedSince = time.Now()
	}
	w.unreached, w.missedAt = err, time.Now()
	w.mu.Unlock()
	if connected && w.quiet.Allow(err.Broker) {
		w.log.LogAttrs(context.Background(), slog.LevelWarn, "broker can't be reached; it is tried again", slog.String("broker", err.Broker), slog.Any("error", err))
	}
}

// trouble returns what likely keeps messages from being stored: the latest refusal, a broker that can't be reached, or nil.
func (w *accessWatch) trouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch { // what is not repeated is over
	case w.err != nil && time.Since(w.last) < refusalGap:
		return w.err
	case w.unreached != nil && time.Since(w.missedAt) < refusalGap:
		return w.unreached
	}
	return nil
}

// refused notes that the brokers refused us.
func (w *accessWatch) refused(err error) {
	w.mu.Lock()
	now := time.Now()
	if w.err == nil || now.Sub(w.last) > refusalGap {
		w.first = now
	}
	w.err, w.last = err, now
	lasting := now.Sub(w.first)
	w.mu.Unlock()
	if w.onRefusal != nil {
		w.onRefusal(err, lasting)
	}
}
