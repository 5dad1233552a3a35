package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// clusters are the Kafka clusters that the tests get, started by the program that KAFKA_CONTROL names. It is called
// with these verbs: start NAME --port P [--brokers N] [--set KEY=VALUE]..., which prints the bootstrap list; stop NAME;
// certs NAME, which prints the folder of the certificates; log NAME, which prints a broker's log file; kill, freeze,
// thaw and revive NAME I; and docker, which sees to Docker and an image, and prints what to export.
type clusters struct {
	control string // empty: there is none
	folder  string // for the script that breaks brokers

	prefix  string
	started []string // names
	env     []string // what tests need to know; empty: not started
	version string   // Kafka's
}

func newClusters(control, folder string) *clusters {
	return &clusters{control: control, folder: folder, prefix: fmt.Sprintf("stages-%d", os.Getpid())}
}

// A broker takes five ports, and the next one's start ten higher.
const (
	firstPort      = 19092
	portsPerBroker = 10
	lastPort       = 32000 // below those that systems give to clients
	tlsPort        = 2     // from the broker's first
	saslPort       = 3
	saslTLSPort    = 4
)

// call runs the control program. It is in a process group of its own: Ctrl-C must not end it half way.
func (c *clusters) call(args ...string) (string, error) {
	cmd := exec.Command(c.control, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	ownGroup(cmd)
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", c.control, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(output)), nil
}

// start starts the three clusters, unless they run.
func (c *clusters) start() error {
	if len(c.env) > 0 {
		return nil
	}
	oauth := "listener.name.sasl_ssl.oauthbearer." // short sessions, and Kafka's own validator of unsigned tokens
	plain, port, err := c.startOne("plain", firstPort, 1,
		"listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		oauth+`sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="app";`,
		oauth+"connections.max.reauth.ms=4000")
	if err != nil {
		return err
	}
	guarded, guardedPort, err := c.startOne("acl", port+portsPerBroker, 1,
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users=User:ANONYMOUS",
		"listener.name.ssl.ssl.client.auth=required")
	if err != nil {
		return err
	}
	three, _, err := c.startOne("three", guardedPort+portsPerBroker, 3)
	if err != nil {
		return err
	}
	certs, err := c.call("certs", c.prefix+"-plain")
	if err != nil {
		return err
	}
	guardedCerts, err := c.call("certs", c.prefix+"-acl")
	if err != nil {
		return err
	}
	script := filepath.Join(c.folder, "break")
	text := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$1\" '%s' \"$2\"\n", c.control, c.prefix+"-three")
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		return err
	}
	c.version = c.kafkaVersion()
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	c.env = []string{
		"KAFKA_TEST_CONTAINERS=off",
		"KAFKA_BROKERS=" + plain,
		"KAFKA_TEST_PLAINTEXT_BROKERS=" + plain,
		"KAFKA_TEST_TLS_BROKERS=" + at(port+tlsPort),
		"KAFKA_TEST_SASL_BROKERS=" + at(port+saslPort),
		"KAFKA_TEST_SASL_TLS_BROKERS=" + at(port+saslTLSPort),
		"KAFKA_TEST_OAUTH_BROKERS=" + at(port+saslTLSPort),
		"KAFKA_TEST_CERTS=" + certs,
		"KAFKA_TEST_ACL_ADMIN_BROKERS=" + guarded,
		"KAFKA_TEST_ACL_BROKERS=" + at(guardedPort+saslPort),
		"KAFKA_TEST_ACL_TLS_BROKERS=" + at(guardedPort+tlsPort),
		"KAFKA_TEST_ACL_CERTS=" + guardedCerts,
		"KAFKA_TEST_CLUSTER_BROKERS=" + three,
		"KAFKA_TEST_CLUSTER_CONTROL=" + script,
	}
	return nil
}

// startOne starts a cluster at the first free ports from port on.
func (c *clusters) startOne(name string, port, brokers int, settings ...string) (bootstrap string, at int, err error) {
	for !free(port, brokers) {
		if port += portsPerBroker; port > lastPort {
			return "", 0, errors.New("no free ports for a cluster of brokers")
		}
	}
	name = c.prefix + "-" + name
	args := []string{"start", name, "--brokers", fmt.Sprint(brokers), "--port", fmt.Sprint(port)}
	for _, setting := range settings {
		args = append(args, "--set", setting)
	}
	c.started = append(c.started, name) // a start that fails may leave a broker
	bootstrap, err = c.call(args...)
	return bootstrap, port + portsPerBroker*(brokers-1), err
}

// free reports whether nothing listens on the ports of so many brokers.
func free(port, brokers int) bool {
	for broker := range brokers {
		for i := range portsPerBroker / 2 {
			listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+broker*portsPerBroker+i))
			if err != nil {
				return false
			}
			listener.Close()
		}
	}
	return true
}

// stop stops what was started, and deletes its data.
func (c *clusters) stop() error {
	var errs []error
	for _, name := range c.started {
		_, err := c.call("stop", name)
		errs = append(errs, err)
	}
	c.started, c.env = nil, nil
	return errors.Join(errs...)
}

// docker sees to Docker, and returns what tests need to know.
func (c *clusters) docker() ([]string, error) {
	if c.control == "" {
		return []string{"KAFKA_TEST_CONTAINERS=required"}, nil
	}
	output, err := c.call("docker")
	if err != nil {
		return nil, err
	}
	return append(exported(output), "KAFKA_TEST_CONTAINERS=required"), nil
}

// exported returns the variables of lines such as "export A=1 B=2".
func exported(output string) (env []string) {
	for line := range strings.Lines(output) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "export" {
			env = append(env, words[1:]...)
		}
	}
	return env
}

var kafkaVersion = regexp.MustCompile(`Kafka version: (\S+)`)

// kafkaVersion reads the version from a broker's log; it is empty if the log lacks it.
func (c *clusters) kafkaVersion() string {
	path, err := c.call("log", c.prefix+"-plain")
	if err != nil {
		return ""
	}
	text, err := os.ReadFile(path)
	if match := kafkaVersion.FindSubmatch(text); err == nil && match != nil {
		return string(match[1])
	}
	return ""
}

// dockerAnswers reports whether there is a Docker engine to talk to.
func dockerAnswers() bool { return exec.Command("docker", "info").Run() == nil }
