package kafka

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret holds a password and never prints it: not with fmt in any verb, not in JSON, not in slog, and not as a field of
// another struct, exported or not. Make one with [NewSecret].
type Secret struct {
	text *string // a pointer, since fmt prints the fields of unexported fields without asking their methods
}

// NewSecret wraps text. An empty text makes the zero Secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String returns "[redacted]", or "" for the zero Secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return redacted
}

// Format prints what String returns, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText returns what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
