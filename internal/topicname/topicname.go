// Package topicname holds topic names to what brokers accept.
package topicname

import (
	"fmt"
	"strings"
)

const maxLength = 249 // Kafka's: a name and "-<partition>" must fit a file name

// Check returns nil if brokers take name for a topic.
func Check(name string) error {
	legal := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
	}
	switch {
	case name == "":
		return fmt.Errorf("is empty")
	case name == "." || name == ".." || len(name) > maxLength || strings.ContainsFunc(name, func(r rune) bool { return !legal(r) }):
		return fmt.Errorf("is %q: want 1 to %d of a-z, A-Z, 0-9, '.', '_' and '-'", name, maxLength)
	}
	return nil
}
