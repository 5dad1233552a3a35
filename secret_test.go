package kafka

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// marked stands for what must not be printed: a password, or a record's value.
const marked = "s3cr3t-MARK"

// wantUnmarked fails if a text holds the mark in any form that fmt or an encoding gives it.
func wantUnmarked(t *testing.T, what string, texts ...string) {
	t.Helper()
	dense := strings.NewReplacer(" ", "", "0x", "", "0X", "", ",", "")
	decimals := strings.Trim(fmt.Sprint([]byte(marked)), "[]")
	for _, text := range texts {
		for _, form := range []string{marked, decimals, base64.StdEncoding.EncodeToString([]byte(marked)), strings.ToUpper(marked)} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows the mark: %s", what, text)
			}
		}
		if strings.Contains(strings.ToLower(dense.Replace(text)), hex.EncodeToString([]byte(marked))) {
			t.Errorf("%s shows the mark in hexadecimal: %s", what, text)
		}
	}
}

// hiding holds configs where fmt may not call their methods.
type hiding struct {
	secret   Secret
	sasl     SASLConfig
	client   ClientConfig
	producer ProducerConfig
	consumer ConsumerConfig
	pointer  *ConsumerConfig
	list     []Secret
	table    map[string]SASLConfig
	any      any
}

// secretive returns every value through which a password can reach a printer.
func secretive() map[string]any {
	secret := NewSecret(marked)
	sasl := SASLConfig{Mechanism: "PLAIN", Username: "svc", Password: secret}
	client := ClientConfig{Brokers: []string{"kafka-1:9092"}, SASL: sasl}
	producing := ProducerConfig{ClientConfig: client, Topic: "orders", Client: &Client{cfg: client}}
	consuming := ConsumerConfig{ClientConfig: client, Topic: "orders", Group: "bookings"}
	hidden := hiding{
		secret, sasl, client, producing, consuming, &consuming, []Secret{secret}, map[string]SASLConfig{"a": sasl}, consuming,
	}
	return map[string]any{
		"Secret": secret, "*Secret": &secret, "[]Secret": []Secret{secret}, "map of Secret": map[string]Secret{"a": secret},
		"SASLConfig": sasl, "*SASLConfig": &sasl, "ClientConfig": client, "*ClientConfig": &client,
		"ProducerConfig": producing, "*ProducerConfig": &producing, "ConsumerConfig": consuming, "*ConsumerConfig": &consuming,
		"unexported fields": hidden, "a pointer to unexported fields": &hidden, "a list of them": []any{hidden, &hidden},
		"RequesterConfig": RequesterConfig{ClientConfig: client}, "*RequesterConfig": &RequesterConfig{ClientConfig: client},
		"*Requester":        &Requester[int, int]{cfg: RequesterConfig{ClientConfig: client}, replies: &replyReader{access: &accessWatch{cfg: client}}},
		"*Client":           &Client{cfg: client, access: &accessWatch{cfg: client}},
		"*Producer":         &Producer[int]{core: &publisher{cfg: producing}},
		"*Consumer":         &Consumer[int]{core: &consumer{cfg: consuming}},
		"a publisher":       &publisher{cfg: producing},
		"a consumer's core": &consumer{cfg: consuming},
		"reflect.Value":     reflect.ValueOf(consuming),
		"an error":          fmt.Errorf("config %v: %w", consuming, errors.New("bad")),
	}
}

func TestSecretsPrintWithNoVerb(t *testing.T) {
	for name, value := range secretive() {
		for _, verb := range "vTtbcdoOqxXUeEfFgGspwZ!" {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "# ", "20", ".3", "-20.5"} {
				format := "%" + flags + string(verb)
				wantUnmarked(t, name+" in "+format, fmt.Sprintf(format, value))
			}
		}
		wantUnmarked(t, name+" in Sprint", fmt.Sprint(value), fmt.Sprintln(value))
	}
}

func TestSecretsSayThatTheyAreRedacted(t *testing.T) {
	secret := NewSecret(marked)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(format, secret); got != redacted {
			t.Errorf("%s prints %q, want %q", format, got, redacted)
		}
		if got := fmt.Sprintf(format, Secret{}); got != "" {
			t.Errorf("%s prints an empty secret as %q", format, got)
		}
	}
	if got := secret.Reveal(); got != marked {
		t.Errorf("Reveal returns %q", got)
	}
	if NewSecret("") != (Secret{}) || (Secret{}).Reveal() != "" || (Secret{}).LogValue().String() != "" {
		t.Error("an empty secret is not the zero Secret")
	}
	cfg := ClientConfig{Brokers: []string{"a:1", "b:2"}, ClientID: "me", SASL: SASLConfig{Mechanism: "PLAIN", Username: "svc", Password: secret}}
	for what, text := range map[string]string{
		"a client's": cfg.String(), "a producer's": ProducerConfig{ClientConfig: cfg}.String(), "a consumer's": ConsumerConfig{ClientConfig: cfg}.String(),
		"a requester's": RequesterConfig{ClientConfig: cfg}.String(),
	} {
		for _, part := range []string{`brokers="a:1,b:2"`, `client_id="me"`, `sasl_username="svc"`, redacted} {
			if !strings.Contains(text, part) {
				t.Errorf("%s text lacks %s: %s", what, part, text)
			}
		}
	}
}

func TestSecretsAreNotInJSON(t *testing.T) {
	for name, value := range secretive() {
		data, err := json.Marshal(value)
		if err != nil { // there may be a function, which JSON has no word for
			wantUnmarked(t, name+"'s JSON error", err.Error())
		}
		wantUnmarked(t, name+" as JSON", string(data))
	}
	cfg := SASLConfig{Username: "svc", Password: NewSecret(marked)}
	data, err := json.Marshal(map[string]any{"sasl": cfg, "pointer": &cfg, "secret": cfg.Password})
	if err != nil || strings.Count(string(data), redacted) != 3 {
		t.Errorf("JSON is %s, want three times %s (error: %v)", data, redacted, err)
	}
}

func TestSecretsAreNotInLogs(t *testing.T) {
	var out bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	for name, handler := range map[string]slog.Handler{"text": slog.NewTextHandler(&out, options), "JSON": slog.NewJSONHandler(&out, options)} {
		logger := slog.New(handler)
		for what, value := range secretive() {
			out.Reset()
			logger.Info("line", "value", value, slog.Group("group", "value", value), "text", fmt.Sprint(value))
			logger.With("value", value).WithGroup("g").Debug("line")
			wantUnmarked(t, what+" in a log line as "+name, out.String())
		}
		out.Reset()
		logger.Info("line", "config", ConsumerConfig{Topic: "orders", ClientConfig: ClientConfig{SASL: SASLConfig{Password: NewSecret(marked)}}})
		if text := out.String(); !strings.Contains(text, "orders") || !strings.Contains(text, redacted) {
			t.Errorf("a config logs as %s", text)
		}
	}
}

func TestSecretsAreNotInErrors(t *testing.T) {
	for name, sasl := range map[string]SASLConfig{
		"no mechanism":      {Username: "svc", Password: NewSecret(marked)},
		"no user":           {Mechanism: "PLAIN", Password: NewSecret(marked)},
		"unknown mechanism": {Mechanism: "X", Username: "svc", Password: NewSecret(marked)},
		"unencrypted":       {Mechanism: "PLAIN", Username: "svc", Password: NewSecret(marked)},
	} {
		cfg := ClientConfig{Brokers: []string{"kafka-1:9092", "b d"}, SASL: sasl, Compression: "?"}
		for what, err := range map[string]error{
			"client": cfg.Validate(), "producer": ProducerConfig{ClientConfig: cfg}.Validate(), "consumer": ConsumerConfig{ClientConfig: cfg}.Validate(),
		} {
			if err == nil {
				t.Errorf("%s: a %s's config is accepted", name, what)
			} else {
				wantUnmarked(t, name, err.Error(), fmt.Sprintf("%+v %#v", err, err))
			}
		}
	}
}

func TestRefusedPasswordsAreNotInErrorsOrLogs(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "dlq-orders"),
				kfake.EnableSASL(), kfake.Superuser(mechanism, "svc", "the right one"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			// kfake hangs up on wrong credentials; Kafka says so.
			cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(request kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
				response.ErrorCode = kerr.SaslAuthenticationFailed.Code
				return response, nil, true
			})
			var out bytes.Buffer
			client := ClientConfig{
				Brokers: cluster.ListenAddrs(), SASL: SASLConfig{Mechanism: mechanism, Username: "svc", Password: NewSecret(marked)},
				Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
			}
			_, clientErr := NewClient(client)
			_, producerErr := NewProducer[int](ProducerConfig{ClientConfig: client, Topic: "orders"})
			consumer := NewConsumerConfig("orders", "bookings")
			consumer.ClientConfig = client
			_, consumerErr := NewConsumer(consumer, ignore)
			for what, err := range map[string]error{"client": clientErr, "producer": producerErr, "consumer": consumerErr} {
				if !errors.Is(err, ErrAuthentication) || !strings.Contains(err.Error(), `user "svc" with `+mechanism) {
					t.Fatalf("%s: %v, want ErrAuthentication that names user and mechanism", what, err)
				}
				wantUnmarked(t, what, err.Error(), fmt.Sprintf("%+v", err))
				for cause := err; cause != nil; cause = errors.Unwrap(cause) {
					wantUnmarked(t, what+"'s cause", fmt.Sprintf("%v %+v %#v", cause, cause, cause))
				}
			}
			wantUnmarked(t, "the log", out.String())
		})
	}
}
