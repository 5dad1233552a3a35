package schemaregistry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka/internal/loopback"
)

// maxAnswer bounds an answer of the registry. Schemas are records of a Kafka topic, whose limit is 1 MiB by default,
// and JSON may double them.
const maxAnswer = 2 << 20

// maxPage is what is read of an answer that is no success.
const maxPage = 64 << 10

var (
	errTooLong   = fmt.Errorf("the registry's answer is longer than %d bytes", maxAnswer)
	errPlaintext = errors.New("credentials would be sent unencrypted: " +
		"use an https address, or set Config.AllowPlaintext")
)

// guarded returns a client with the options of another one, whose requests and answers are watched. An error says that
// each of its requests would be refused.
func guarded(client *sr.Client, allowPlaintext bool) (*sr.Client, error) {
	if !allowPlaintext {
		if err := checkAddresses(client); err != nil {
			return nil, err
		}
	}
	inner, _ := client.OptValue(sr.HTTPClient).(*http.Client)
	outer := *inner
	if outer.Transport == nil {
		outer.Transport = http.DefaultTransport
	}
	if _, already := outer.Transport.(guard); !already {
		outer.Transport = guard{outer.Transport, allowPlaintext}
	}
	options := append([]sr.ClientOpt{}, client.Opts()...)
	// The HTTP client has the TLS config already, and sr would not find it behind the guard.
	return sr.NewClient(append(options, sr.HTTPClient(&outer), sr.DialTLSConfig(nil))...)
}

// checkAddresses refuses credentials that are known at once, with addresses that they must not be sent to.
func checkAddresses(client *sr.Client) error {
	token, _ := client.OptValue(sr.BearerToken).(string)
	credentials := token != "" || len(client.OptValues(sr.BasicAuth)) > 0
	addresses, _ := client.OptValue(sr.URLs).([]string)
	for _, address := range addresses {
		parsed, err := url.Parse(address)
		if err != nil {
			return errors.New("schemaregistry: an address of Config.Client is no URL") // whose text may have a password
		}
		if (credentials || parsed.User != nil) && isExposed(parsed) {
			return fmt.Errorf("schemaregistry: Config.Client: %s: %w", parsed.Redacted(), errPlaintext)
		}
	}
	return nil
}

// isExposed reports whether what is sent there can be read on the way.
func isExposed(address *url.URL) bool {
	return address.Scheme != "https" && !loopback.IsHost(address.Hostname())
}

// guard is between the client and its transport: each request passes here, those of redirects too.
type guard struct {
	http.RoundTripper
	allowPlaintext bool
}

// secretHeaders are those that hooks of a client set, too.
var secretHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key"}

func (g guard) RoundTrip(request *http.Request) (*http.Response, error) {
	for _, name := range secretHeaders {
		if !g.allowPlaintext && request.Header.Get(name) != "" && isExposed(request.URL) {
			if request.Body != nil {
				_ = request.Body.Close()
			}
			return nil, errPlaintext
		}
	}
	response, err := g.RoundTripper.RoundTrip(request)
	switch {
	case err != nil:
	case response.StatusCode < http.StatusMultipleChoices:
		response.Body = &bounded{response.Body, maxAnswer}
	default: // the status says enough, whatever page comes with it
		response.Body = &cut{io.LimitReader(response.Body, maxPage), response.Body}
	}
	return response, err
}

// cut is a body of which only the beginning is read.
type cut struct {
	io.Reader
	io.Closer
}

// bounded is a body that ends with an error where it becomes too long.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if n > b.left {
		return b.left, errTooLong
	}
	b.left -= n
	return n, err
}
