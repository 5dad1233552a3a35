package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/skeji/kafka/internal/variable"
)

// tokenTimeout bounds one call of SASLConfig.Token, or an exchange of SASLConfig.Custom, which a connection waits for: as long as
// franz-go gives a dial.
const tokenTimeout = 10 * time.Second

// maxBrokerAnswer is how much of a broker's answer an error repeats.
const maxBrokerAnswer = 256

// bearer is OAUTHBEARER. franz-go authenticates each connection with it, and again before the session's lifetime ends.
type bearer struct {
	token func(context.Context) (Secret, error)
}

func newBearer(cfg SASLConfig) bearer {
	if cfg.Token != nil {
		return bearer{cfg.Token}
	}
	return bearer{func(context.Context) (Secret, error) {
		text, err := os.ReadFile(cfg.TokenFile)
		return NewSecret(strings.TrimSpace(variable.Trim(string(text)))), err
	}}
}

func (bearer) Name() string { return "OAUTHBEARER" }

func (b bearer) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	token, err := b.ask(ctx)
	if err == nil {
		err = checkToken(token.Reveal())
	}
	if err != nil {
		return nil, nil, &credentialError{err: err}
	}
	_, first, err := oauth.Auth{Token: token.Reveal()}.AsMechanism().Authenticate(ctx, host)
	return bearerSession{}, first, err
}

// ask contains a panic, which would end the process: franz-go asks on a goroutine of its own.
func (b bearer) ask(ctx context.Context) (token Secret, err error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("SASL: Token panicked: %v", value)
		}
	}()
	return b.token(ctx)
}

// checkToken keeps a token from being more than that: what follows a control character would be read as a field of its own.
func checkToken(token string) error {
	if token == "" {
		return errors.New("SASL: the token is empty")
	}
	if i := strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("SASL: the token has a character at byte %d, of %d, that no bearer token has", i, len(token))
	}
	return nil
}

// bearerSession reads the broker's only answer: nothing, or by RFC 7628 (3.2.2) what is wrong, as JSON. The error that would
// follow says no more.
type bearerSession struct{}

func (bearerSession) Challenge(answer []byte) (done bool, next []byte, err error) {
	if len(answer) == 0 {
		return true, nil, nil
	}
	return false, nil, &credentialError{refused: true, err: fmt.Errorf("SASL: the broker answers %q", shorten(string(answer), maxBrokerAnswer))}
}
