package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// This file makes franz-go's SASL mechanisms of what SASLConfig says; OAUTHBEARER is in token.go.

// mechanism returns the name of the mechanism that is used, "" for none.
func (c SASLConfig) mechanism() string {
	if c.Custom != nil {
		return c.Custom.Name()
	}
	return c.Mechanism
}

// saslMechanism keeps the password out of any struct that could be printed.
func saslMechanism(cfg SASLConfig) sasl.Mechanism {
	user, password := cfg.Username, cfg.Password
	scramAuth := func(context.Context) (scram.Auth, error) {
		return scram.Auth{User: user, Pass: password.Reveal()}, nil
	}
	if cfg.Custom != nil {
		return custom{cfg.Custom}
	}
	switch cfg.Mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			return plain.Auth{User: user, Pass: password.Reveal()}, nil
		})
	case "SCRAM-SHA-256":
		return scram.Sha256(scramAuth)
	case "SCRAM-SHA-512":
		return scram.Sha512(scramAuth)
	case "OAUTHBEARER":
		return newBearer(cfg)
	}
	return nil
}

// custom is the user's own mechanism. Its errors count as authentication's, and its panics are contained: franz-go calls it
// on goroutines of its own. It is never closed, though it may have a Close: a config's mechanism serves several clients.
type custom struct{ sasl.Mechanism }

func (c custom) Authenticate(ctx context.Context, broker string) (session sasl.Session, first []byte, err error) {
	ctx, done := context.WithTimeout(ctx, tokenTimeout) // until the session has ended: it may use the context, too
	defer func() {
		if err != nil {
			done()
		}
	}()
	defer c.contain(&err, false)
	session, first, err = c.Mechanism.Authenticate(ctx, broker)
	return customSession{session, c, done}, first, err
}

// contain makes a credentialError of an error or a panic.
func (c custom) contain(err *error, refused bool) {
	if value := recover(); value != nil {
		*err = fmt.Errorf("panic: %v", value)
	}
	if *err != nil {
		*err = &credentialError{err: fmt.Errorf("SASL: %s: %w", c.Name(), *err), refused: refused}
	}
}

type customSession struct {
	sasl.Session
	of  custom
	end context.CancelFunc
}

func (s customSession) Challenge(answer []byte) (done bool, next []byte, err error) {
	defer func() {
		if done || err != nil {
			s.end()
		}
	}()
	defer s.of.contain(&err, true)
	return s.Session.Challenge(answer)
}

// credentialError is of credentials that could not be had, or that the broker refused, as a mechanism says.
type credentialError struct {
	err     error
	refused bool // by the broker
}

func (e *credentialError) Error() string   { return e.err.Error() }
func (e *credentialError) Unwrap() []error { return []error{e.err, kerr.SaslAuthenticationFailed} }

// Temporary lets franz-go try again what was to be sent, for as long as its own time allows. It would fail messages at once that
// wait when it next looks for their leaders, for a token that may be renewed in a second.
func (e *credentialError) Temporary() bool { return true }
