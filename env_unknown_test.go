package kafka_test

import (
	"log/slog"
	"testing"

	"github.com/skeji/kafka"
)

// warned returns what a client logs that is made of this environment.
func warned(t *testing.T, b *bubble, clients int) *logged {
	t.Helper()
	cfg, err := kafka.NewConsumerConfigFromEnv("orders", "group")
	if err != nil {
		t.Fatal(err)
	}
	var log logged
	cfg.Options, cfg.Logger = b.client().Options, log.logger(slog.LevelInfo)
	for range clients {
		client, err := kafka.NewClient(cfg.ClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
	}
	return &log
}

// A typo in a variable's name leaves a default in place. It is said once for each logger, and without the value.
func TestUnknownVariablesAreLoggedWithTheNearestName(t *testing.T) {
	for name, nearest := range map[string]string{
		"KAFKA_CONSUMER_MAX_RETRY": "KAFKA_CONSUMER_MAX_RETRIES", "KAFKA_CONSUMER_CONCURENCY": "KAFKA_CONSUMER_CONCURRENCY",
		"KAFKA_PRODUCER_COMPRESION": "KAFKA_PRODUCER_COMPRESSION", "KAFKA_TLS_REQUIRE": "KAFKA_TLS_REQUIRED", "KAFKA_SASL_USER": "KAFKA_SASL_USERNAME",
		"KAFKA_SASL_PASSWRD": "KAFKA_SASL_PASSWORD", "KAFKA_CLIENT_RACKS": "KAFKA_CLIENT_RACK", "KAFKA_REQUESTER_TIMEOUT": "KAFKA_REQUESTER_REQUEST_TIMEOUT",
		"KAFKA_CONSUMER_LINGER": "KAFKA_PRODUCER_LINGER",
	} {
		setEnvironment(t, map[string]string{"KAFKA_BROKERS": "127.0.0.1:9092", name: marked})
		inBubble(t, func(t *testing.T, b *bubble) {
			log := warned(t, b, 3)
			if n := log.count(slog.LevelWarn, "variable="+name, "nearest="+nearest); n != 1 || log.contains(marked) {
				t.Errorf("%s is logged %d times, want once, with %s and without its value", name, n, nearest)
			}
		})
	}
}

func TestVariablesOfOthersAreNotLogged(t *testing.T) {
	for _, name := range []string{
		// Of Kubernetes, for Services that are called kafka, kafka-consumer and kafka-tls.
		"KAFKA_PORT", "KAFKA_SERVICE_HOST", "KAFKA_CONSUMER_SERVICE_HOST", "KAFKA_CONSUMER_SERVICE_PORT", "KAFKA_CONSUMER_SERVICE_PORT_HTTP_METRICS", "KAFKA_CONSUMER_PORT",
		"KAFKA_CONSUMER_PORT_8080_TCP", "KAFKA_CONSUMER_PORT_8080_TCP_PROTO", "KAFKA_CONSUMER_PORT_8080_TCP_PORT", "KAFKA_CONSUMER_PORT_8080_TCP_ADDR",
		"KAFKA_TLS_PORT_53_UDP_ADDR", "KAFKA_CONSUMER_ORDERS_SERVICE_HOST",
		"KAFKA_TOPICS_MODE", "KAFKA_ADVERTISED_LISTENERS", "KAFKACONSUMER", "MY_KAFKA_CONSUMER_X",
	} {
		setEnvironment(t, map[string]string{"KAFKA_BROKERS": "127.0.0.1:9092", name: "x"})
		inBubble(t, func(t *testing.T, b *bubble) {
			if log := warned(t, b, 1); log.contains("not known") {
				t.Errorf("%s is logged", name)
			}
		})
	}
	variables := map[string]string{"KAFKA_CONSUMER_EMPTY": "", "KAFKA_BROKERS": "127.0.0.1:9092"}
	setEnvironment(t, variables)
	inBubble(t, func(t *testing.T, b *bubble) {
		if log := warned(t, b, 1); log.contains("not known") {
			t.Error("an empty variable is logged")
		}
	})
}
