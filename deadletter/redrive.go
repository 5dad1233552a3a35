package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// RedriveOptions says which letters go back, where to, and how fast. The zero value sends every pending letter of dlq-<topic> back
// to <topic>.
type RedriveOptions struct {
	Filter Filter // its State doesn't count: only what is pending is sent

	// Destinations are the topics that letters may be sent to. A letter's headers name its topic, and whoever may write to the dead
	// letter topic may write those: a letter for another topic is left. Default: the topic that the dead letter topic is named for
	// (dlq-<topic>, dlq.<topic>, <topic>-dlq, <topic>.dlq, <topic>-dlt, <topic>.DLT).
	Destinations []string
	// To sends all letters to this topic, whatever their headers say, those without headers too.
	To string
	// Group is for whom they are sent, whatever group they say: this library's consumers of other groups pass over them. Default: the
	// group whose handler failed; for everybody where the letter names none, and where To is not the topic that it came from. Set it
	// where the group has another name now. A group that reads none of the topics that letters may go to, by its members and its
	// committed offsets, is refused with [ErrGroup]: nobody would handle them.
	Group string
	// Only binds the run to what a dry run has shown: it sends letters that are in that one's Result.Selection, and no others, whether
	// they came later or could not be sent then. Default: all that the filter means.
	Only *Selection
	// Audit says who sends letters back, and why, for the log lines about it.
	Audit Audit
	// AnyTopic redrives a topic that seems to have no dead letters, too: see [ErrNotDeadLetters].
	AnyTopic bool

	// Unsealed sends letters that no key of kafka.ClientConfig.ControlKey has sealed, too, and believes marks that none
	// has: those of before there was a key, or of other tools. What they say of their topic and group is what any
	// writer of the dead letter topic may have made up, and it is sealed when it is sent back: look at them first.
	// Default: they are left.
	Unsealed bool

	Max         int64   // how many to send at most. Default: no limit
	Rate        float64 // how many a second, sent together each second, or when [Window] are due. Default: no limit
	MaxRedrives int     // a letter that has failed again so often is left. Default: 3. Negative: no limit
	DryRun      bool    // send, mark and commit nothing, only say what would be
	// Wait is how long to wait for another run to end. Default: not at all, Redrive returns ErrRunning. A run that was killed counts
	// as running for another ten seconds.
	Wait time.Duration

	// NoTransactions sends without a transactional id, where brokers have no transactions or these credentials may not use them. Then a
	// run that was frozen for longer than its session (ten seconds) may still send the letters that it had on their way, behind newer
	// records; and a run that was killed has stored up to [Window] letters that no mark names, which everybody gets twice. Default:
	// letters and their mark are a transaction of the transactional id that [GroupOf] names.
	NoTransactions bool

	// Transform may change the record before it is sent: value, headers, even the key, to mend a payload after a schema
	// change for example. Its topic and partition are set, and stay. Don't write into the bytes that are there: replace them. An
	// error ends the run before the letter is sent, unless it is ErrLeave: then the letter is left, pending. Where consumers park keys,
	// leave the key as it is: the old one would stay parked for as long as there is the letter.
	Transform func(letter Letter, r *kgo.Record) error

	// OnProgress is called now and then, from the goroutine of Redrive.
	OnProgress func(Progress)
	// OnLeft is called with each letter that the filter means and that is not sent, from the goroutine of Redrive.
	OnLeft func(letter Letter, why Reason)
}

// Reason is why a letter that the filter means is left where it is. It stays pending.
type Reason string

const (
	LeftHopLimit    Reason = "hop limit"         // it has come back MaxRedrives times
	LeftGroup       Reason = "group"             // the group that it would be for does not read the topic, and all others would pass over it
	LeftDestination Reason = "destination"       // its topic is none of the Destinations, or not there
	LeftUnreadable  Reason = "unreadable"        // its headers don't say where it came from
	LeftPointer     Reason = "record not in it"  // it says where the record is, and does not have it: see Letter.Pointer
	LeftTooLarge    Reason = "too large"         // its topic doesn't take it
	LeftTransform   Reason = "left by transform" // Transform returned ErrLeave
	LeftUnsealed    Reason = "not sealed"        // it may be forged: see Letter.Unsealed
)

// Progress is how far a run is.
type Progress struct {
	Total   int64         // what there is to be read: an upper bound, marks and letters that were sent before count as well
	Read    int64         // of Total
	Sent    int64         // and acknowledged, or would be (DryRun)
	Left    int64         // that the filter means
	Elapsed time.Duration // since Redrive was called
}

// Result is what a run did.
type Result struct {
	Sent     int64            // stored by all in-sync replicas, marked, and committed; or what would be sent (DryRun)
	Left     map[Reason]int64 // meant by the filter, not sent, pending
	Filtered int64            // pending, not meant by the filter, or not in Only
	// Repeated is how many letters may have been sent twice, at most, because the run before this one was killed or refused while it
	// sent. Readers of what is committed (isolation.level=read_committed) have each of them once; others, as consumers are by default,
	// have also seen what was sent and not committed.
	Repeated int64
	// Sources counts what was sent, by the topic it was sent to.
	Sources map[string]int64
	// Groups counts what was sent, by the group that it is for; "" is everybody.
	Groups map[string]int64
	// Selection is which letters would be sent, for RedriveOptions.Only. It is nil unless DryRun is set.
	Selection *Selection
	// Deleted is how many letters were deleted while it ran, by retention or with DeleteRecords, before it came to them. They were not
	// sent.
	Deleted int64
	// Complete says that all letters that were there at the start were looked at. It is false after an error, and when Max was reached.
	Complete bool
	Elapsed  time.Duration // of the whole call
}

var (
	// ErrRunning is returned when another run is at the same dead letter topic. The error says which.
	ErrRunning = errors.New("deadletter: another redrive is running")
	// ErrLeave is for Transform: leave this letter where it is.
	ErrLeave = errors.New("deadletter: leave this letter")
	// ErrDestination says that nothing tells where letters may be sent to: Destinations is empty, and the topic's name tells nothing.
	ErrDestination = errors.New("deadletter: no destination is allowed")
	// ErrGroup says that RedriveOptions.Group has neither members that read the topics that letters may go to, nor offsets of them.
	ErrGroup = errors.New("deadletter: nobody would handle what is sent to this group")
	// ErrNotDeadLetters says that a topic is not named like a dead letter topic, and that none of its records says what went wrong. A
	// redrive would write its notes into it, for all its consumers to read, and a purge would delete what may be the only copy.
	ErrNotDeadLetters = errors.New("deadletter: this seems to be no dead letter topic")
)

const defaultMaxRedrives = 3

// GroupOf is the name of the group that redrives of a dead letter topic run in, and of their transactional id. The group's lag is how
// far the topic goes beyond the first pending letter.
func GroupOf(topic string) string { return "redrive-" + topic }

// Redrive sends pending letters back.
//
// What is sent is the record that failed: its key, the bytes of its value and its headers, in their order. It goes to the partition
// that it came from, or by its key where that is not there. What is sent of a source partition keeps its order; a letter that is left
// does not keep later ones back. Of the letter's headers stay where the record was first (topic, partition, offset, timestamp), how
// many headers it has lost, and how often it was sent back, which counts one more. Added are the group that it is for
// ([HeaderRedriveGroup]), since a topic reaches every group, and this library's consumers of other groups pass the record
// over; and where the letter is ([HeaderLetterPartition], [HeaderLetterOffset]). Its timestamp is now: retention
// counts from that, and an old record's could be over.
//
// A run goes up to the topic's end as it was at its start, so that a letter that comes back at once is not sent in circles. It sends
// up to [Window] letters and the mark that names them in a transaction, waits until all in-sync replicas have them, commits, and goes
// on. When it is killed, the next run goes on from there: none is lost, and what was not committed, Window letters at most, is sent
// again; the [Result] counts that. Letters that the filter doesn't mean, or that can't be sent, stay pending, and the committed offset stays at the first of
// them: a later run begins there and passes over what the marks name.
//
// One run at a time: each is a member of the group that [GroupOf] names. Another one returns [ErrRunning], or waits. A run that was
// frozen while another one began is fenced: brokers refuse whatever it still sends, since both have the same transactional id, which
// has the name of the group. Readers of what is committed see letters once their transaction has ended, which takes as long as sending
// a window; after a kill -9 in the midst of that, up to a minute, unless another run begins.
//
// When ctx ends, so does Redrive, with its error: what is on its way is awaited and marked first, for up to ten seconds. Where sending
// fails, the run ends, and later letters of the same window may have been sent before that one. The Result is what was done, beside an
// error too.
//
// It needs READ, DESCRIBE and WRITE on the dead letter topic, DESCRIBE and WRITE on the destinations, READ on its group, DESCRIBE on
// those that letters name, and WRITE on the transactional id; without that it returns [ErrNoTransactions] before it sends anything,
// unless NoTransactions is set.
func Redrive(ctx context.Context, client *kafka.Client, topic string, opts RedriveOptions) (Result, error) {
	if opts.MaxRedrives == 0 {
		opts.MaxRedrives = defaultMaxRedrives
	}
	opts.Filter.State = Pending
	if err := opts.check(); err != nil {
		return Result{}, err
	}
	return redrive(ctx, client, topic, opts)
}

func (o RedriveOptions) check() error {
	if o.Max < 0 || !(o.Rate >= 0) || o.Wait < 0 { // nor NaN
		return fmt.Errorf("deadletter: RedriveOptions: Max is %d, Rate %v, Wait %v: want 0 or more", o.Max, o.Rate, o.Wait)
	}
	return o.Filter.check()
}

// Window is how many letters a transaction has at most, and so how many are sent again when a run is killed.
const Window = 500
