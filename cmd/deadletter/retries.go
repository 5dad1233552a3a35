package main

import (
	"context"
	"fmt"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// warnOfRetryTopics names the retry topics whose records nobody reads: their group was renamed, for example. A look
// that fails is no failure of a list of dead letter topics.
func warnOfRetryTopics(ctx context.Context, s streams, client *kafka.Client) {
	unread, err := deadletter.UnreadRetryTopics(ctx, client)
	if err != nil {
		fmt.Fprintf(s.err, "retry topics that nobody reads could not be looked for: %v\n", err)
		return
	}
	for _, topic := range unread {
		name, group, source := printable(topic.Name), printable(topic.Group), printable(topic.Source)
		fmt.Fprintf(s.err, "retry topic %s of %s has %s records that nobody reads: no member of group %s does. Start a consumer of group %s, or send "+
			"them to another group: deadletter redrive %s --allow %s --for GROUP, or delete them: deadletter purge %s --all\n",
			name, source, atMost(topic.Unread), group, group, name, source, name)
	}
}
