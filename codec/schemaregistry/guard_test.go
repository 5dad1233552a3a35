package schemaregistry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
)

// sending is a transport that notes what would be sent, and to whom.
type sending func(r *http.Request)

func (s sending) RoundTrip(r *http.Request) (*http.Response, error) {
	s(r)
	return nil, errors.New("nobody there")
}

// Credentials are sent over https, or to this machine.
func TestCredentialsAreNotSentUnencrypted(t *testing.T) {
	hook := func(name string) sr.ClientOpt {
		return sr.PreReq(func(r *http.Request) error { r.Header.Set(name, "MARK"); return nil })
	}
	const plain = "http://registry.example:8081"
	for name, test := range map[string]struct {
		url     string
		options []sr.ClientOpt
		allowed bool // by AllowPlaintext
		sent    bool
	}{
		"a password":               {plain, []sr.ClientOpt{sr.BasicAuth("user", "MARK")}, false, false},
		"a token":                  {plain, []sr.ClientOpt{sr.BearerToken("MARK")}, false, false},
		"a password in an address": {"http://user:MARK@registry.example:8081", nil, false, false},
		"without a scheme":         {"registry.example:8081", []sr.ClientOpt{sr.BasicAuth("user", "MARK")}, false, false},
		"a hook's token":           {plain, []sr.ClientOpt{hook("Authorization")}, false, false},
		"a hook's key":             {plain, []sr.ClientOpt{hook("X-API-Key")}, false, false},
		"a name like this host":    {"http://localhost.example:8081", []sr.ClientOpt{sr.BearerToken("MARK")}, false, false},
		"encrypted":                {"https://registry.example:8081", []sr.ClientOpt{sr.BearerToken("MARK")}, false, true},
		"localhost":                {"http://localhost:8081", []sr.ClientOpt{sr.BearerToken("MARK")}, false, true},
		"an address of this host":  {"http://[::1]:8081", []sr.ClientOpt{sr.BearerToken("MARK")}, false, true},
		"no credentials":           {plain, nil, false, true},
		"allowed":                  {plain, []sr.ClientOpt{sr.BasicAuth("user", "MARK")}, true, true},
		"a hook's, allowed":        {plain, []sr.ClientOpt{hook("Authorization")}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int32
			transport := sending(func(*http.Request) { sent.Add(1) })
			client, err := sr.NewClient(append([]sr.ClientOpt{sr.URLs(test.url), sr.HTTPClient(&http.Client{Transport: transport})}, test.options...)...)
			if err != nil {
				t.Fatal(err)
			}
			cfg := schemaregistry.Config{Client: client, Topic: "bookings", AllowPlaintext: test.allowed}
			_, err = schemaregistry.JSONSchema[booking](cfg, bookingJSON)
			if test.sent {
				wantText(t, err, "nobody there")
			} else {
				wantText(t, err, "credentials would be sent unencrypted: use an https address, or set Config.AllowPlaintext")
			}
			if (sent.Load() > 0) != test.sent {
				t.Errorf("sent %d times", sent.Load())
			}
		})
	}
}

func TestCredentialsDontFollowRedirects(t *testing.T) {
	registry := startRegistry(t)
	registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://registry.example/", http.StatusTemporaryRedirect)
		return true
	})
	client := registry.client(t, sr.PreReq(func(r *http.Request) error { r.Header.Set("X-Api-Key", "MARK"); return nil }))
	codec := must(schemaregistry.JSONSchema[booking](schemaregistry.Config{Client: client}, ""))
	wantClass(t, codec.Decode([]byte("\x00\x00\x00\x00\x07{}"), new(booking)), kafka.ClassTransient, "credentials would be sent unencrypted")
}

// An answer without end is not read to its end.
func TestAnswersAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		class  kafka.Class
		text   string
	}{
		"a schema": {http.StatusOK, kafka.ClassPermanent, "schema 7: the registry's answer is longer than 2097152 bytes"},
		"a page":   {http.StatusBadGateway, kafka.ClassTransient, "it answers 502 Bad Gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			registry := startRegistry(t)
			var written atomic.Int64
			registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, `{"schemaType":"JSON","schema":"`)
				for range 64 << 10 { // 4 GiB
					n, err := io.WriteString(w, strings.Repeat("x", 64<<10))
					if written.Add(int64(n)); err != nil {
						break
					}
				}
				return true
			})
			codec := must(schemaregistry.JSONSchema[booking](registry.reading(t), ""))
			for range 3 {
				err := codec.Decode([]byte("\x00\x00\x00\x00\x07{}"), new(booking))
				wantClass(t, err, test.class, test.text)
			}
			if n := written.Load(); n > 100<<20 { // what is under way in buffers is not ours
				t.Errorf("%d bytes were sent", n)
			}
		})
	}
	registry := startRegistry(t) // what a topic holds is read
	registry.seed(7, sr.TypeJSON, `{"description":"`+strings.Repeat("x", 1<<20)+`"}`)
	if err := must(schemaregistry.JSONSchema[booking](registry.reading(t), "")).Decode([]byte("\x00\x00\x00\x00\x07{}"), new(booking)); err != nil {
		t.Error(err)
	}
}

// 20,000 records that claim ids of no schema don't make 20,000 requests, nor displace the schema that is in use.
func TestForgedIDsDontFloodTheRegistry(t *testing.T) {
	registry := startRegistry(t)
	registry.seed(7, sr.TypeJSON, bookingJSON)
	codec := must(schemaregistry.JSONSchema[booking](registry.reading(t), ""))
	good := func() {
		t.Helper()
		if err := codec.Decode([]byte("\x00\x00\x00\x00\x07{}"), new(booking)); err != nil {
			t.Fatal(err)
		}
	}
	good()
	for id := range 20_000 {
		err := codec.Decode([]byte{0, 1, 0, byte(id >> 8), byte(id), '{', '}'}, new(booking))
		if err == nil {
			t.Fatal("a forged id is known")
		}
	}
	asked := registry.requests.Load()
	good()
	if asked > 1000 || registry.requests.Load() != asked {
		t.Errorf("%d requests, and %d for the good one", asked, registry.requests.Load()-asked)
	}
}
