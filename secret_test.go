package kafka_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// marked stands for what must not be printed: a password, or a record's value.
// redacted is how secrets print.
const redacted = "[redacted]"

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
	secret   kafka.Secret
	sasl     kafka.SASLConfig
	client   kafka.ClientConfig
	producer kafka.ProducerConfig
	consumer kafka.ConsumerConfig
	pointer  *kafka.ConsumerConfig
	list     []kafka.Secret
	table    map[string]kafka.SASLConfig
	any      any
}

// secretive returns every value through which a password can reach a printer.
func secretive() map[string]any {
	secret := kafka.NewSecret(marked)
	sasl := kafka.SASLConfig{Mechanism: "PLAIN", Username: "svc", Password: secret}
	client := kafka.ClientConfig{Brokers: []string{"kafka-1:9092"}, SASL: sasl, ControlKey: secret}
	producing := kafka.ProducerConfig{ClientConfig: client, Topic: "orders", Client: kafka.ClientWith(client)}
	consuming := kafka.ConsumerConfig{ClientConfig: client, Topic: "orders", Group: "bookings"}
	hidden := hiding{
		secret, sasl, client, producing, consuming, &consuming, []kafka.Secret{secret}, map[string]kafka.SASLConfig{"a": sasl}, consuming,
	}
	values := kafka.HoldersOf(client, producing, consuming)
	maps.Copy(values, map[string]any{
		"Secret": secret, "*Secret": &secret, "[]Secret": []kafka.Secret{secret}, "map of Secret": map[string]kafka.Secret{"a": secret},
		"SASLConfig": sasl, "*SASLConfig": &sasl, "ClientConfig": client, "*ClientConfig": &client,
		"ProducerConfig": producing, "*ProducerConfig": &producing, "ConsumerConfig": consuming, "*ConsumerConfig": &consuming,
		"unexported fields": hidden, "a pointer to unexported fields": &hidden, "a list of them": []any{hidden, &hidden},
		"RequesterConfig": kafka.RequesterConfig{ClientConfig: client}, "*RequesterConfig": &kafka.RequesterConfig{ClientConfig: client},
		"reflect.Value": reflect.ValueOf(consuming),
		"an error":      fmt.Errorf("config %v: %w", consuming, errors.New("bad")),
	})
	return values
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
	secret := kafka.NewSecret(marked)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(format, secret); got != redacted {
			t.Errorf("%s prints %q, want %q", format, got, redacted)
		}
		if got := fmt.Sprintf(format, kafka.Secret{}); got != "" {
			t.Errorf("%s prints an empty secret as %q", format, got)
		}
	}
	if got := secret.Reveal(); got != marked {
		t.Errorf("Reveal returns %q", got)
	}
	if kafka.NewSecret("") != (kafka.Secret{}) || (kafka.Secret{}).Reveal() != "" || (kafka.Secret{}).LogValue().String() != "" {
		t.Error("an empty secret is not the zero Secret")
	}
	cfg := kafka.ClientConfig{Brokers: []string{"a:1", "b:2"}, ClientID: "me", SASL: kafka.SASLConfig{Mechanism: "PLAIN", Username: "svc", Password: secret}}
	for what, text := range map[string]string{
		"a client's": cfg.String(), "a producer's": kafka.ProducerConfig{ClientConfig: cfg}.String(), "a consumer's": kafka.ConsumerConfig{ClientConfig: cfg}.String(),
		"a requester's": kafka.RequesterConfig{ClientConfig: cfg}.String(),
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
	cfg := kafka.SASLConfig{Username: "svc", Password: kafka.NewSecret(marked)}
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
		logger.Info("line", "config", kafka.ConsumerConfig{Topic: "orders", ClientConfig: kafka.ClientConfig{SASL: kafka.SASLConfig{Password: kafka.NewSecret(marked)}}})
		if text := out.String(); !strings.Contains(text, "orders") || !strings.Contains(text, redacted) {
			t.Errorf("a config logs as %s", text)
		}
	}
}

func TestSecretsAreNotInErrors(t *testing.T) {
	for name, sasl := range map[string]kafka.SASLConfig{
		"no mechanism":      {Username: "svc", Password: kafka.NewSecret(marked)},
		"no user":           {Mechanism: "PLAIN", Password: kafka.NewSecret(marked)},
		"unknown mechanism": {Mechanism: "X", Username: "svc", Password: kafka.NewSecret(marked)},
		"unencrypted":       {Mechanism: "PLAIN", Username: "svc", Password: kafka.NewSecret(marked)},
	} {
		cfg := kafka.ClientConfig{Brokers: []string{"kafka-1:9092", "b d"}, SASL: sasl, Compression: "?"}
		for what, err := range map[string]error{
			"client": cfg.Validate(), "producer": kafka.ProducerConfig{ClientConfig: cfg}.Validate(), "consumer": kafka.ConsumerConfig{ClientConfig: cfg}.Validate(),
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
			client := kafka.ClientConfig{
				Brokers: cluster.ListenAddrs(), SASL: kafka.SASLConfig{Mechanism: mechanism, Username: "svc", Password: kafka.NewSecret(marked)},
				Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
			}
			_, clientErr := kafka.NewClient(client)
			_, producerErr := kafka.NewProducer[int](kafka.ProducerConfig{ClientConfig: client, Topic: "orders"})
			consumer := kafka.NewConsumerConfig("orders", "bookings")
			consumer.ClientConfig = client
			_, consumerErr := kafka.NewConsumer(consumer, ignore)
			for what, err := range map[string]error{"client": clientErr, "producer": producerErr, "consumer": consumerErr} {
				if !errors.Is(err, kafka.ErrAuthentication) || !strings.Contains(err.Error(), `user "svc" with `+mechanism) {
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
