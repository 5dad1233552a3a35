package kafka

import (
	"reflect"
	"regexp"
	"runtime"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file refuses those of the user's options that this package overrides. Without it they would be ignored in
// silence: a start offset, for example, and the whole topic is handled.

// overriddenOptions says of each option what to use instead.
var overriddenOptions = map[string]string{
	"ConsumeStartOffset":      "set StartFrom (KAFKA_CONSUMER_START_FROM) or AutoOffsetReset (KAFKA_CONSUMER_AUTO_OFFSET_RESET)",
	"ConsumeResetOffset":      "set AutoOffsetReset (KAFKA_CONSUMER_AUTO_OFFSET_RESET)",
	"ConsumerGroup":           "set ConsumerConfig.Group",
	"ConsumeTopics":           "set ConsumerConfig.Topic",
	"ConsumePartitions":       "a consumer's group assigns its partitions",
	"AutoCommitMarks":         "offsets of finished records are committed, as often as CommitInterval says",
	"DisableAutoCommit":       "offsets of finished records are committed, as often as CommitInterval says",
	"GreedyAutoCommit":        "offsets of finished records are committed, as often as CommitInterval says",
	"AutoCommitCallback":      "use ConsumerHooks.OffsetsCommitted",
	"BlockRebalanceOnPoll":    "a consumer always has it",
	"OnOffsetsFetched":        "a consumer has its own",
	"AdjustFetchOffsetsFn":    "set StartFrom (KAFKA_CONSUMER_START_FROM) or AutoOffsetReset (KAFKA_CONSUMER_AUTO_OFFSET_RESET)",
	"OnPartitionsAssigned":    "use ConsumerHooks.PartitionsAssigned",
	"OnPartitionsRevoked":     "use ConsumerHooks.PartitionsRevoked",
	"OnPartitionsLost":        "use ConsumerHooks.PartitionsLost",
	"Rack":                    "set ClientConfig.Rack (KAFKA_CLIENT_RACK)",
	"RequiredAcks":            "all in-sync replicas acknowledge each message",
	"MaxBufferedRecords":      "set ClientConfig.MaxBufferedRecords",
	"MaxBufferedBytes":        "set ClientConfig.MaxBufferedBytes",
	"ProducerBatchMaxBytes":   "set MaxMessageBytes",
	"ProducerBatchMaxBytesFn": "set MaxMessageBytes",
}

// overriddenByConsumers are those that a producer may have.
var overriddenByConsumers = map[string]string{
	"RecordPartitioner":  "a dead letter goes to the partition that its record came from",
	"WithContext":        "Start's context and Close end a consumer",
	"ServerSideBalancer": `set GroupProtocol to "consumer"`,
}

func (f *faults) checkOptions(options []kgo.Opt) { f.refuseOptions(options, overriddenOptions) }

func (f *faults) checkConsumerOptions(c ConsumerConfig) {
	f.refuseOptions(c.Options, overriddenByConsumers)
	if c.GroupProtocol == ProtocolConsumer {
		f.refuseOptions(c.Options, map[string]string{"Balancers": `with GroupProtocol "consumer" the brokers assign partitions`})
	}
}

func (f *faults) refuseOptions(options []kgo.Opt, refused map[string]string) {
	for _, option := range options {
		name := optionName(option)
		if advice, ok := refused[name]; ok {
			f.addf("Options: kgo.%s is overridden: %s", name, advice)
		}
	}
}

// closureSuffix is what follows a function's name in those of the functions within it.
var closureSuffix = regexp.MustCompile(`\.func[0-9.]+$`)

// optionName returns the name of the kgo function that made the option, "" if it can't be told. An option is a function
// inside a struct, and it is named after the one that made it, also where that was inlined.
func optionName(option kgo.Opt) string {
	value := reflect.ValueOf(option)
	if value.Kind() != reflect.Struct || value.NumField() != 1 || value.Field(0).Kind() != reflect.Func {
		return ""
	}
	function := runtime.FuncForPC(value.Field(0).Pointer())
	if function == nil {
		return ""
	}
	name := closureSuffix.ReplaceAllString(function.Name(), "")
	return name[strings.LastIndex(name, ".")+1:]
}
