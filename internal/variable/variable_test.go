package variable_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/variable"
)

var goField = regexp.MustCompile(`\b(?:Brokers|ClientID|CAFile|CertFile|KeyFile|ServerName|Mechanism|Username|Password|TokenFile|AllowPlaintext|ControlKey|AcceptUnsealed|Required|TLS\.\w+|SASL\.\w+|Options|kgo\.\w+)\b`)

// Whatever is wrong with the variables of a connection, a command names no field of a Go struct.
func TestCommandsNameVariablesOnly(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, variables := range map[string]map[string]string{
		"nothing":                    {},
		"brokers":                    {"KAFKA_BROKERS": "http://kafka"},
		"client id":                  {"KAFKA_CLIENT_ID": "a\tb"},
		"client id, too long":        {"KAFKA_CLIENT_ID": strings.Repeat("x", 300)},
		"TLS, not a boolean":         {"KAFKA_TLS_ENABLED": "yess"},
		"TLS, required":              {"KAFKA_TLS_REQUIRED": "true"},
		"no authorities":             {"KAFKA_TLS_CA_FILE": noPEM},
		"missing authorities":        {"KAFKA_TLS_CA_FILE": noPEM + "x"},
		"certificate without key":    {"KAFKA_TLS_CERT_FILE": noPEM},
		"no certificate":             {"KAFKA_TLS_CERT_FILE": noPEM, "KAFKA_TLS_KEY_FILE": noPEM},
		"mechanism":                  {"KAFKA_SASL_MECHANISM": "AWS_MSK_IAM"},
		"user without mechanism":     {"KAFKA_SASL_USERNAME": "app"},
		"token without mechanism":    {"KAFKA_SASL_TOKEN_FILE": "token"},
		"mechanism without user":     {"KAFKA_SASL_MECHANISM": "PLAIN"},
		"mechanism without token":    {"KAFKA_SASL_MECHANISM": "OAUTHBEARER"},
		"token and user":             {"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_SASL_TOKEN_FILE": "token", "KAFKA_SASL_USERNAME": "app"},
		"user that can't be printed": {"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "a\tb", "KAFKA_SASL_PASSWORD": "x"},
		"plaintext":                  {"KAFKA_BROKERS": "kafka-1:9092", "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "app", "KAFKA_SASL_PASSWORD": "x"},
		"short key":                  {"KAFKA_CONTROL_KEY": "short"},
		"no key":                     {"KAFKA_ACCEPT_UNSEALED": "true"},
		"file without a key":         {"KAFKA_CONTROL_KEY_FILE": empty},
		"key and a file of it":       {"KAFKA_CONTROL_KEY": strings.Repeat("k", 32), "KAFKA_CONTROL_KEY_FILE": noPEM},
		"no broker there":            {"KAFKA_BROKERS": "127.0.0.1:1"},
		"missing token":              {"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_SASL_TOKEN_FILE": noPEM + "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KAFKA_BROKERS", "127.0.0.1:1")
			if name == "nothing" {
				t.Setenv("KAFKA_BROKERS", "")
			}
			for key, value := range variables {
				t.Setenv(key, value)
			}
			cfg, err := kafka.NewClientConfigFromEnv()
			if err == nil {
				var client *kafka.Client
				if client, err = kafka.NewClient(cfg); err == nil {
					_ = client.Ping(context.Background())
				}
			}
			if err == nil {
				t.Fatal("no error")
			}
			if said := variable.ForCommand(err.Error()); goField.MatchString(said) || name != "no broker there" && name != "missing token" && name != "brokers" && !strings.Contains(said, "KAFKA_") && !strings.Contains(said, noPEM) {
				t.Errorf("a command says %q", said)
			}
		})
	}
}

func TestTrimLeavesOutWhatNobodySees(t *testing.T) {
	for value, want := range map[string]string{"": "", "a": "a", "a\n": "a", "a\r\n\n": "a", "\ufeffa": "a", " a ": " a ", "a\nb": "a\nb"} {
		if got := variable.Trim(value); got != want {
			t.Errorf("Trim(%q) is %q, want %q", value, got, want)
		}
	}
}
