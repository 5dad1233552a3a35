// Package kafkatest is for the tests of services that use package kafka: a broker in the test's own process, what is published and what
// becomes of it, and handlers without any broker.
package kafkatest
