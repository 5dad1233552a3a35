package kafka_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeji/kafka"
)

var (
	controlKey = strings.Repeat("c", 32)
	otherKey   = strings.Repeat("o", 32)
)

// A key that is too short, or is not where the config says, is no reason to go on without one.
func TestControlKeysThatAreNoneAreRefused(t *testing.T) {
	for _, key := range []string{"short", " \n ", controlKey + "\n" + otherKey[1:], strings.Repeat(controlKey+"\n", 11)} {
		cfg := kafka.ClientConfig{Brokers: []string{"kafka-1:9092"}, ControlKey: kafka.NewSecret(key)}
		err := cfg.Validate()
		wantFault(t, err, "ControlKey", "KAFKA_CONTROL_KEY", "KAFKA_CONTROL_KEY_FILE")
		if strings.Contains(err.Error(), "ccc") || strings.Contains(err.Error(), "ooo") {
			t.Errorf("the error has the key: %v", err)
		}
		wantFault(t, kafka.ProducerConfig{ClientConfig: cfg, Topic: "orders"}.Validate(), "ControlKey")
		consumer := kafka.NewConsumerConfig("orders", "group", "kafka-1:9092")
		consumer.ControlKey = cfg.ControlKey
		wantFault(t, consumer.Validate(), "ControlKey")
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for name, variables := range map[string]map[string]string{
		"KAFKA_CONTROL_KEY_FILE: ":        {"KAFKA_CONTROL_KEY_FILE": missing},
		"KAFKA_CONTROL_KEY_FILE is empty": {"KAFKA_CONTROL_KEY_FILE": secretFile(t, "\r\n")},
		"KAFKA_CONTROL_KEY and KAFKA_CONTROL_KEY_FILE are both set": {
			"KAFKA_CONTROL_KEY": controlKey, "KAFKA_CONTROL_KEY_FILE": secretFile(t, controlKey),
		},
		"key 2 has 5 bytes: want 32 or more": {"KAFKA_CONTROL_KEY_FILE": secretFile(t, controlKey+"\nshort\n")},
	} {
		variables["KAFKA_BROKERS"] = "kafka-1:9092"
		setEnvironment(t, variables)
		_, err := kafka.NewClientConfigFromEnv()
		wantFault(t, err, name, "KAFKA_CONTROL_KEY")
		if strings.Contains(err.Error(), "ccc") {
			t.Errorf("the error has the key: %v", err)
		}
	}
}
