package kafka

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// This file finds variables that look like this library's and are none of them: a typo in a name would leave a default in
// place without a word. It is a warning and no error: a program may have such variables of its own, and one that is rolled back meets
// those of its next version.

// ownPrefixes are those of names that are likely meant for this library.
var ownPrefixes = []string{"KAFKA_CLIENT_", "KAFKA_TLS_", "KAFKA_SASL_", "KAFKA_CONSUMER_", "KAFKA_PRODUCER_", "KAFKA_REQUESTER_"}

// serviceVariable matches what Kubernetes sets for a Service, which may be called kafka-consumer.
var serviceVariable = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// misspelled is a variable that nothing reads, and the nearest that something does.
type misspelled struct{ name, nearest string }

// unknownVariables returns those that are set and not known, sorted.
func unknownVariables(set map[string]string) (unknown []misspelled) {
	var known []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[environment]()) {
		known = append(known, field.Tag.Get("env"))
	}
	for name, value := range set {
		ours := slices.ContainsFunc(ownPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if !ours || value == "" || slices.Contains(known, name) || serviceVariable.MatchString(name) {
			continue
		}
		nearest := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(distance(name, a), distance(name, b)) })
		unknown = append(unknown, misspelled{name, nearest})
	}
	slices.SortFunc(unknown, func(a, b misspelled) int { return cmp.Compare(a.name, b.name) })
	return unknown
}

// distance is how many characters must be inserted, removed or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of a prefix of a to each prefix of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// saidUnknown has the loggers that were told of a variable. There are few of both.
var saidUnknown sync.Map

// logUnknown warns of variables, once for each logger. It leaves their values out: they may be secrets.
func logUnknown(log *slog.Logger, unknown []misspelled) {
	for _, variable := range unknown {
		type line struct {
			log  *slog.Logger
			name string
		}
		if _, said := saidUnknown.LoadOrStore(line{log, variable.name}, nil); !said {
			log.LogAttrs(context.Background(), slog.LevelWarn, "environment variable is not known to this library and has no effect; correct its name, or ignore this if it is another program's",
				slog.String("variable", variable.name), slog.String("nearest", variable.nearest))
		}
	}
}
