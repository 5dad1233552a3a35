//go:build synctests

package kafka_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The build tag is franz-go's: its locks don't stop virtual time then.

// This table answers each kind of request that the clients make with each error code that Kafka has, at each point of a
// consumer's life, for a moment, for long, for ever. It knows nothing of what a code means: it judges by what must be so
// whatever brokers say. Nothing is lost, passed over, or committed before it is done; nothing comes again without a reason;
// Start ends in time; what stands still says why; and when the error is over, all is done.

var (
	allCodes = flag.Bool("codes", false, "try each error code for each length of time, not for one of them in turn")
	codePart = flag.String("part", "1/1", "try the third of eight parts of the error codes: 3/8")
)

// point is where in a consumer's life the brokers begin to refuse.
type point string

const (
	constructing point = "before the constructor"
	starting     point = "before Start"
	backlogged   point = "amid a backlog"
	handingOver  point = "at a handover"
	stopping     point = "at shutdown"
)

// lasting is for how long.
type lasting string

const (
	once      lasting = "once"
	fiveTimes lasting = "five times"
	aMinute   lasting = "for a minute"
	forEver   lasting = "for ever"
)

var lastings = []lasting{once, fiveTimes, aMinute, forEver}

// refusal is a kind of request, and where in it the error stands.
type refusal struct {
	name     string
	fault    kfake.Fault   // but for its error
	trigger  *kfake.Fault  // makes a running client send such a request; nil: it does so by itself
	protocol string        // GroupProtocol
	commits  time.Duration // CommitInterval; 0: an hour, see bubble
	resumes  bool          // the group has committed before
	atDebug  bool          // franz-go says it at no other level, and goes on asking
	points   []point
}

func about(topic string, keys ...kmsg.Key) kfake.Fault { return kfake.Fault{Keys: keys, Topic: topic} }
func ofGroup(keys ...kmsg.Key) kfake.Fault             { return kfake.Fault{Keys: keys, Group: "group"} }
func topLevel(keys ...kmsg.Key) kfake.Fault            { return kfake.Fault{Keys: keys, TopLevel: true} }

func refusals() []refusal {
	running := []point{starting, backlogged, handingOver}
	all := append([]point{constructing}, running...)
	toTheEnd := append(running, stopping) // they are asked at shutdown, too
	rejoin := &kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: "group", Err: kerr.RebalanceInProgress}
	lookUp := &kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: "group", Err: kerr.NotCoordinator}
	validate := &kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: kerr.FencedLeaderEpoch}
	return []refusal{
		{name: "Produce of a dead letter", fault: about("dlq-orders", kmsg.Produce), points: running},
		{name: "Fetch", fault: about("orders", kmsg.Fetch), points: running},
		{name: "Fetch as a whole", fault: topLevel(kmsg.Fetch), points: running},
		{name: "ListOffsets", fault: about("orders", kmsg.ListOffsets), atDebug: true, points: []point{starting, handingOver}},
		{name: "Metadata of the topic", fault: about("orders", kmsg.Metadata), points: all},
		{name: "Metadata of the dead letter topic", fault: about("dlq-orders", kmsg.Metadata), points: all},
		{name: "Metadata as a whole", fault: topLevel(kmsg.Metadata), points: all},
		{name: "FindCoordinator", fault: ofGroup(kmsg.FindCoordinator), trigger: lookUp, points: running},
		{name: "JoinGroup", fault: ofGroup(kmsg.JoinGroup), trigger: rejoin, points: []point{starting, backlogged, handingOver}},
		{name: "SyncGroup", fault: ofGroup(kmsg.SyncGroup), trigger: rejoin, points: []point{starting, backlogged, handingOver}},
		{name: "Heartbeat", fault: ofGroup(kmsg.Heartbeat), points: running},
		{name: "LeaveGroup", fault: ofGroup(kmsg.LeaveGroup), points: []point{handingOver, stopping}},
		{name: "LeaveGroup as a whole", fault: topLevel(kmsg.LeaveGroup), points: []point{stopping}},
		{name: "OffsetCommit, periodic", fault: about("orders", kmsg.OffsetCommit), commits: time.Second, points: []point{starting, backlogged, stopping}},
		{name: "OffsetCommit of a handover", fault: about("orders", kmsg.OffsetCommit), points: []point{handingOver, stopping}},
		{name: "OffsetFetch of the group", fault: ofGroup(kmsg.OffsetFetch), points: []point{starting, handingOver}},
		{name: "OffsetFetch of a partition", fault: about("orders", kmsg.OffsetFetch), points: []point{starting, handingOver}},
		{name: "InitProducerID", fault: kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}}, points: []point{constructing}},
		{name: "DescribeConfigs", fault: kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}}, points: []point{starting}},
		{name: "ApiVersions", fault: kfake.Fault{Keys: []kmsg.Key{kmsg.ApiVersions}}, points: []point{constructing, starting, handingOver}},
		{name: "OffsetForLeaderEpoch", fault: about("orders", kmsg.OffsetForLeaderEpoch), trigger: validate, resumes: true, atDebug: true, points: []point{starting, backlogged, handingOver}},
		{name: "ConsumerGroupHeartbeat", fault: ofGroup(kmsg.ConsumerGroupHeartbeat), protocol: "consumer", points: toTheEnd},
		{name: "OffsetCommit (KIP-848)", fault: about("orders", kmsg.OffsetCommit), protocol: "consumer", points: []point{handingOver, stopping}},
		{name: "OffsetFetch (KIP-848)", fault: ofGroup(kmsg.OffsetFetch), protocol: "consumer", points: []point{starting, handingOver}},
	}
}

// errorCodes are all that Kafka has, and one that it will have.
func errorCodes() []*kerr.Error {
	codes := []*kerr.Error{{Message: "a code of the future", Code: 999}, kerr.UnknownServerError}
	for code := int16(1); code < 500; code++ {
		if err := kerr.TypedErrorForCode(code); err != kerr.UnknownServerError {
			codes = append(codes, err)
		}
	}
	return codes
}

// inPart reports whether the code with this index belongs to a part such as 3/8. A part takes every eighth group of
// consecutive codes, one for each length of time, so that each part has all lengths.
func inPart(index int, part string) (bool, error) {
	var nth, parts int
	if n, err := fmt.Sscanf(part, "%d/%d", &nth, &parts); err != nil || n != 2 || nth < 1 || nth > parts {
		return false, fmt.Errorf("part %q: want one such as 3/8", part)
	}
	return index/len(lastings)%parts == nth-1, nil
}

// TestAPartOfTheCodes holds parts to taking each code once, and for each length of time.
func TestAPartOfTheCodes(t *testing.T) {
	for _, wrong := range []string{"", "3", "0/8", "9/8", "-1/8", "a/b"} {
		if _, err := inPart(0, wrong); err == nil {
			t.Errorf("part %q is no error", wrong)
		}
	}
	for index := range errorCodes() {
		taken := 0
		for nth := range 8 {
			if in, err := inPart(index, fmt.Sprintf("%d/8", nth+1)); err != nil {
				t.Fatal(err)
			} else if in {
				taken++
			}
		}
		if taken != 1 {
			t.Errorf("code %d is in %d parts", index, taken)
		}
	}
	lengths := map[int]bool{}
	for index := range errorCodes() {
		if in, _ := inPart(index, "3/8"); in {
			lengths[index%len(lastings)] = true
		}
	}
	if len(lengths) != len(lastings) {
		t.Errorf("a part has %d lengths of time, want %d", len(lengths), len(lastings))
	}
}

// TestEveryErrorCode is the table. -codes tries all lengths of time, which takes some minutes; -part tries some of the codes.
func TestEveryErrorCode(t *testing.T) {
	codes := errorCodes()
	if len(codes) < 130 {
		t.Fatalf("%d codes: the enumeration is broken", len(codes))
	}
	if _, err := inPart(0, *codePart); err != nil {
		t.Fatal(err)
	}
	for i, refusal := range refusals() {
		for j, point := range refusal.points {
			t.Run(refusal.name+" "+string(point), func(t *testing.T) {
				t.Parallel()
				cases, met := 0, 0
				for k, code := range codes {
					if in, _ := inPart(k, *codePart); !in {
						continue
					}
					for l, lasting := range lastings {
						if !*allCodes && l != (i+j+k)%len(lastings) {
							continue
						}
						c := codeCase{refusal, code, point, lasting}
						if c.cannotBe() {
							continue
						}
						cases++
						hit, breaches := c.run(t)
						if hit {
							met++
						}
						if len(breaches) > 0 { // the first says most
							t.Errorf("%v: %s (and %d more)", c, breaches[0], len(breaches)-1)
						}
					}
				}
				t.Logf("%d cases, %d of them met the error", cases, met)
				if met == 0 {
					t.Error("no case met its error: they prove nothing")
				}
			})
		}
	}
}

// codeCase is one line of the table.
type codeCase struct {
	refusal
	code    *kerr.Error
	point   point
	lasting lasting
}

func (c codeCase) String() string {
	return fmt.Sprintf("%s (%d) on %s %s, %s", c.code.Message, c.code.Code, c.name, c.point, c.lasting)
}

// names tells whether a text says which error it was.
func (c codeCase) names(text string) bool {
	return strings.Contains(text, c.cause())
}

// asSeen is the error as clients know it, cause what they call it.
func (c codeCase) asSeen() *kerr.Error { return kerr.TypedErrorForCode(c.code.Code) }
func (c codeCase) cause() string       { return c.asSeen().Message }

// cannotBe are answers that would not be what they say.
func (c codeCase) cannotBe() bool {
	switch c.code {
	case kerr.DuplicateSequenceNumber: // that the message is stored
		return slices.Contains(c.fault.Keys, kmsg.Produce)
	case kerr.UnsupportedVersion: // to ApiVersions it is answered in the oldest version's format; members have left the old protocol
		return slices.Contains(c.fault.Keys, kmsg.ApiVersions) || slices.Contains(c.fault.Keys, kmsg.ConsumerGroupHeartbeat)
	case kerr.FetchSessionIDNotFound: // to a request that names no session
		return slices.Contains(c.fault.Keys, kmsg.Fetch) && !c.brief()
	case kerr.UnknownMemberID: // to one that has just asked for an id
		return slices.Contains(c.fault.Keys, kmsg.JoinGroup) && c.lasting != once
	}
	return false
}

func (c codeCase) brief() bool { return slices.Contains([]lasting{once, fiveTimes}, c.lasting) }
