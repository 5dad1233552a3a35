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
//   - KAFKA_TEST_OAUTH_BROKERS: the bootstrap list of a listener of that cluster with TLS that takes OAUTHBEARER with unsigned
//     tokens, as Kafka does by default, and ends sessions after some seconds (connections.max.reauth.ms).
//   - KAFKA_TEST_CERTS: the folder that holds ca.pem, client.pem and client-key.pem.
//
// The tests of permissions need another cluster, with an authorizer that denies what nothing allows, and skip without these.
// They make users and ACLs there.
//
//   - KAFKA_TEST_ACL_ADMIN_BROKERS and KAFKA_TEST_ACL_BROKERS: the bootstrap lists of a plaintext listener, whose user
//     ANONYMOUS may do everything, and of a SASL listener without TLS.
//   - KAFKA_TEST_ACL_TLS_BROKERS and KAFKA_TEST_ACL_CERTS: those of a TLS listener that requires a client certificate, and
//     its folder, as above. The certificate's subject is CN=client.
//
// Some tests of topics need three brokers, and skip without KAFKA_TEST_CLUSTER_BROKERS, their bootstrap list.
//
// The packages below this one break brokers, and skip without that list and KAFKA_TEST_CLUSTER_CONTROL: a program that they call
// with a verb (kill, revive, freeze or thaw) and a broker's number, which is its place in the list, from 0. It returns once the
// verb is done. What a test broke is mended at its end.
package integration
