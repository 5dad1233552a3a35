// Package seal authenticates the headers that have the library skip, attribute or count a record, with a key that only
// services and operators have.
//
// A seal is HMAC-SHA256 over what a record says and where it was written to. What is covered has one encoding alone:
// each text stands behind its length, so that no byte can move from one part to the next.
package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// Prefix begins the names of the headers that a seal covers.
	Prefix = "__dlq.errors."
	// Header holds the seal.
	Header = Prefix + "seal"

	// MinKeyBytes is the length of the hash: a shorter key is easier to guess than the seal.
	MinKeyBytes = sha256.Size
	maxKeys     = 10 // each is tried for a record that none has sealed

	domain = "kafka control headers 1" // the encoding's version; another encoding has another one
)

// Scope is what a seal binds a record to, besides its content.
type Scope string

// The scopes, as the header's value begins.
const (
	ToTopic     Scope = "1t:" // the topic: for writers whose record's partition is chosen behind them
	ToPartition Scope = "1p:" // the topic and the partition
)

var encoding = base64.RawURLEncoding.Strict()

// Keys seal and verify. The zero pointer has no key: it seals nothing.
type Keys struct{ keys [][]byte }

// Parse reads keys, one a line. The first one seals; all verify, so that a key can be replaced by another.
func Parse(text string) (*Keys, error) {
	var k Keys
	for line := range strings.Lines(text) {
		key := strings.TrimSpace(line)
		if key == "" {
			continue
		}
		if k.keys = append(k.keys, []byte(key)); len(key) < MinKeyBytes {
			return nil, fmt.Errorf(`key %d has %d bytes: want %d or more, such as "openssl rand -base64 32" prints`, len(k.keys), len(key), MinKeyBytes)
		}
	}
	switch {
	case len(k.keys) == 0:
		return nil, fmt.Errorf("no line holds a key")
	case len(k.keys) > maxKeys:
		return nil, fmt.Errorf("%d lines hold a key: want %d at most", len(k.keys), maxKeys)
	}
	return &k, nil
}

// Has tells whether headers have some that a seal covers, or a seal.
func Has(headers []kgo.RecordHeader) bool { return slices.ContainsFunc(headers, isOurs) }

// Strip returns the headers without those that a seal covers, and without the seal.
func Strip(headers []kgo.RecordHeader) []kgo.RecordHeader { return without(headers, isOurs) }

func isOurs(h kgo.RecordHeader) bool { return strings.HasPrefix(h.Key, Prefix) }

func without(headers []kgo.RecordHeader, which func(kgo.RecordHeader) bool) []kgo.RecordHeader {
	return slices.DeleteFunc(slices.Clone(headers), which)
}

func isSeal(h kgo.RecordHeader) bool { return h.Key == Header }

// Seal returns the record's headers with a seal in place of any other. A record without headers to seal gets none.
// Nothing of what the seal covers may change after that.
func (k *Keys) Seal(r *kgo.Record, scope Scope) []kgo.RecordHeader {
	if k == nil {
		return r.Headers
	}
	unsealed := *r
	if unsealed.Headers = without(r.Headers, isSeal); !Has(unsealed.Headers) {
		return unsealed.Headers
	}
	value := string(scope) + encoding.EncodeToString(sum(k.keys[0], &unsealed, scope))
	return append(unsealed.Headers, kgo.RecordHeader{Key: Header, Value: []byte(value)})
}

// Verify reports whether one of the keys has sealed the record as it is, for where it is. Without a key nothing is
// sealed.
func (k *Keys) Verify(r *kgo.Record) bool {
	if k == nil {
		return false
	}
	at := slices.IndexFunc(r.Headers, isSeal)
	if at < 0 || slices.ContainsFunc(r.Headers[at+1:], isSeal) {
		return false
	}
	for _, scope := range []Scope{ToTopic, ToPartition} {
		text, ok := bytes.CutPrefix(r.Headers[at].Value, []byte(scope))
		if !ok {
			continue
		}
		got, err := encoding.DecodeString(string(text))
		return err == nil && slices.ContainsFunc(k.keys, func(key []byte) bool { return hmac.Equal(got, sum(key, r, scope)) })
	}
	return false
}

// sum is the HMAC of the record's encoding.
func sum(key []byte, r *kgo.Record, scope Scope) []byte {
	w := writer{hmac.New(sha256.New, key)}
	w.text(domain)
	w.text(string(scope))
	w.text(r.Topic)
	if scope == ToPartition {
		w.number(uint64(r.Partition))
	}
	covered := func(h kgo.RecordHeader) bool { return isOurs(h) && !isSeal(h) }
	n := uint64(0)
	for _, h := range r.Headers {
		if covered(h) {
			n++
		}
	}
	w.number(n)
	for _, h := range r.Headers {
		if covered(h) {
			w.text(h.Key)
			w.bytes(h.Value) // nil and empty mean the same in a header
		}
	}
	w.optional(r.Key)
	w.optional(r.Value)
	return w.hash.Sum(nil)
}

type writer struct{ hash hash.Hash }

func (w writer) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	w.hash.Write(b[:])
}

func (w writer) bytes(b []byte) {
	w.number(uint64(len(b)))
	w.hash.Write(b)
}

func (w writer) text(s string) { w.bytes([]byte(s)) }

// optional keeps nil, a tombstone for example, apart from empty.
func (w writer) optional(b []byte) {
	if b == nil {
		w.number(0)
		return
	}
	w.number(1)
	w.bytes(b)
}
