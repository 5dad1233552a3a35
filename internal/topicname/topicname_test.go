package topicname

import (
	"strings"
	"testing"
)

func TestNamesAreThoseThatBrokersTake(t *testing.T) {
	for name, legal := range map[string]bool{
		"orders": true, "azAZ09._-": true, "...": true, "a": true, strings.Repeat("x", 249): true,
		"": false, ".": false, "..": false, strings.Repeat("x", 250): false,
		// The neighbours of what is legal.
		"`": false, "{": false, "@": false, "[": false, "/": false, ":": false, "^": false, ",": false, "a b": false, "größe": false,
	} {
		if err := Check(name); (err == nil) != legal {
			t.Errorf("%q: legal %v, and the error is %v", name, legal, err)
		}
	}
}
