package topics

import (
	"fmt"
	"slices"

	"github.com/skeji/kafka/internal/variable"
)

// Mode says how far a call may go to make the cluster what the list says. No mode ever deletes a topic, takes
// partitions away or moves replicas.
type Mode string

const (
	// Off does nothing and asks nobody.
	Off Mode = "off"
	// Check changes nothing. Any difference is an error: a missing topic, a setting, a number of partitions.
	Check Mode = "check"
	// Create makes the topics that are missing. Those that exist stay as they are; differences are reported and logged,
	// and are no error. This is the default.
	Create Mode = "create"
	// Reconcile makes missing topics, sets the declared settings of existing ones, and adds partitions where the topic
	// has AllowGrow. A difference that it may not or can't mend is an error.
	Reconcile Mode = "reconcile"
)

// ParseMode reads a mode's name; the empty text is [Create].
func ParseMode(text string) (Mode, error) {
	mode := Mode(text)
	switch {
	case mode == "":
		return Create, nil
	case !slices.Contains([]Mode{Off, Check, Create, Reconcile}, mode):
		return "", fmt.Errorf("topics: mode is %q: want off, check, create or reconcile (KAFKA_TOPICS_MODE)", text)
	}
	return mode, nil
}

// ModeFromEnv reads KAFKA_TOPICS_MODE.
func ModeFromEnv() (Mode, error) { return ParseMode(variable.Get("KAFKA_TOPICS_MODE")) }
