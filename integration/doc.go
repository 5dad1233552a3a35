// Package integration holds the tests that need a real Kafka. It is a module of its own, so that Docker's
// dependencies stay out of the library's go.mod, and one package, so that one broker serves all tests.
//
// The broker comes from the first of these that can be had; where none can, the tests skip and say so:
//
//   - a container, when Docker answers. KAFKA_TEST_IMAGE names an image other than the default.
//     KAFKA_TEST_CONTAINERS=off forbids containers; =required makes the lack of one a failure, for CI.
//   - KAFKA_BROKERS, a list such as 127.0.0.1:9092. The tests create topics and groups there.
//
// The tests of TLS and SASL need listeners that the container lacks, and skip without these:
//
//   - KAFKA_TEST_PLAINTEXT_BROKERS, KAFKA_TEST_TLS_BROKERS, KAFKA_TEST_SASL_BROKERS (SASL without TLS) and
//     KAFKA_TEST_SASL_TLS_BROKERS: the bootstrap list of each kind of listener of one cluster. The SASL listeners
//     know PLAIN and SCRAM, with the user "app" and the password "app-secret".
//   - KAFKA_TEST_CERTS: the folder that holds ca.pem, client.pem and client-key.pem.
package integration
