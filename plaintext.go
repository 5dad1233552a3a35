package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/skeji/kafka/internal/loopback"
)

// clearSecret names what SASL would send to a broker so that everybody on the way can read it; "" for nothing.
func (c ClientConfig) clearSecret() string {
	if c.TLS.enabled() {
		return ""
	}
	switch c.SASL.mechanism() {
	case "PLAIN":
		return "password"
	case "OAUTHBEARER":
		return "token"
	}
	return ""
}

// loopbackOnly is a mechanism that shows its secret to brokers of this machine alone. The brokers that the config names
// are only the first to be asked: they, and whoever answers in their place, name the others.
type loopbackOnly struct {
	sasl.Mechanism
	secret string
}

func (m loopbackOnly) Authenticate(ctx context.Context, broker string) (sasl.Session, []byte, error) {
	if !loopback.IsAddress(broker) {
		return nil, nil, &plaintextError{mechanism: m.Name(), secret: m.secret, broker: broker}
	}
	return m.Mechanism.Authenticate(ctx, broker)
}

// plaintextError is a secret that was not sent.
type plaintextError struct{ mechanism, secret, broker string }

func (e *plaintextError) Error() string {
	return fmt.Sprintf("SASL: %s would send the %s unencrypted to %s", e.mechanism, e.secret, e.broker)
}

func (e *plaintextError) Unwrap() error { return kerr.SaslAuthenticationFailed }

// saidPlaintext has the loggers that were told of unencrypted connections. There is one for each client or fewer.
var saidPlaintext sync.Map

// notePlaintext warns, once for each logger, of connections that everybody on the way can read and change.
func (w *accessWatch) notePlaintext(broker string, conn net.Conn) {
	// A dialer of the user's own may return a type of its own, but for TLS it has this method.
	if _, encrypted := conn.(interface{ ConnectionState() tls.ConnectionState }); encrypted || loopback.IsAddress(broker) {
		return
	}
	if _, said := saidPlaintext.LoadOrStore(w.log, nil); !said {
		w.log.LogAttrs(context.Background(), slog.LevelWarn, "connections to brokers are not encrypted; turn TLS on (KAFKA_TLS_ENABLED), and require it (KAFKA_TLS_REQUIRED)",
			slog.String("broker", broker))
	}
}

// refuseAdvertised finds brokers that the client would have to authenticate with and must not.
func refuseAdvertised(cfg ClientConfig, brokers []kmsg.MetadataResponseBroker) error {
	secret := cfg.clearSecret()
	if secret == "" || cfg.SASL.AllowPlaintext {
		return nil
	}
	for _, broker := range brokers {
		if address := advertisedAddress(broker); !loopback.IsAddress(address) {
			return explainConnect(cfg, address, &plaintextError{cfg.SASL.mechanism(), secret, address})
		}
	}
	return nil
}

func advertisedAddress(broker kmsg.MetadataResponseBroker) string {
	return net.JoinHostPort(broker.Host, strconv.Itoa(int(broker.Port)))
}
