// Package variable reads environment variables without what files and editors add to their values.
package variable

import (
	"os"
	"strings"
)

// Get returns the variable's value, trimmed; "" if it is not set.
func Get(name string) string { return Trim(os.Getenv(name)) }

// Trim leaves out a byte order mark at the beginning and line ends at the end. Nobody sees them, and a password that
// has one is wrong.
func Trim(value string) string {
	return strings.TrimRight(strings.TrimPrefix(value, "\ufeff"), "\r\n")
}
