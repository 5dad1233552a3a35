package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/recordheader"
)

// run is a redrive. It reads one partition after another, sends a window of letters at a time, and is alone with all of it.
type run struct {
	opts   RedriveOptions
	reader *reader
	to     destinations
	lock   *lock   // nil in a dry run
	sender *sender // nil in a dry run
	pace   *pace
	begun  time.Time
	result Result

	partition surveyed
	window    *window
	kept      int64 // the first letter of the partition that is pending and stays so, or -1
	next      int64 // the offset after the latest that was looked at
	looked    int64 // letters of the partition that were looked at and were pending
	passed    int64 // offsets of partitions before this one
	total     int64 // offsets of all partitions
	told      time.Time
	keyless   bool // it was said that the key is missing
	unsure    bool // letters may have been sent that no mark names
	killed    bool // the same, by the run before
}

// redrive is Redrive after the checks that need no broker.
func redrive(ctx context.Context, client *kafka.Client, topic string, opts RedriveOptions) (result Result, err error) {
	begun := time.Now()
	r, err := open(ctx, client, topic)
	if err != nil {
		return Result{}, err
	}
	if opts.Only != nil {
		if err := opts.Only.check(r); err != nil {
			return Result{}, err
		}
	}
	r.believed.unsealed = opts.Unsealed
	run := &run{opts: opts, reader: r, pace: newPace(opts.Rate), begun: begun}
	run.result.Left, run.result.Sources, run.result.Groups = map[Reason]int64{}, map[string]int64{}, map[string]int64{}
	defer func() {
		run.result.Elapsed = time.Since(begun)
		result = run.result
	}()
	if run.to, err = lookUpDestinations(ctx, r, opts); err != nil {
		return result, err
	}
	if !opts.DryRun {
		if run.lock, err = acquire(ctx, r, opts.Wait); err != nil {
			return result, err
		}
		defer run.lock.release()
		ctx = run.lock.ctx
		if run.sender, err = newSender(client, topic, run.to.limits, run.to.shrink, !opts.NoTransactions); err != nil {
			return result, err
		}
		defer run.sender.close()
		if err := run.sender.fence(ctx); err != nil { // before the marks are read: nothing that they don't name is stored later
			return result, err
		}
	}
	partitions, err := r.survey(ctx, opts.Filter.Partitions)
	if err != nil {
		return result, err
	}
	if !opts.AnyTopic {
		if err := r.checkLetters(partitions); err != nil {
			return result, err
		}
	}
	if opts.DryRun {
		run.result.Selection = newSelection(r)
	} else {
		opts.Audit.line(ctx, client, "redrive begins", topic, nil, opts.auditAttrs()...)
		defer func() { opts.Audit.line(ctx, client, "redrive ended", topic, err, run.result.auditAttrs()...) }()
	}
	if opts.DryRun && r.running(ctx) { // the run before was not killed
		for i := range partitions {
			partitions[i].killed = false
		}
	}
	err = run.all(ctx, partitions)
	return result, err
}

func lookUpDestinations(ctx context.Context, r *reader, opts RedriveOptions) (destinations, error) {
	d := destinations{to: opts.To, group: opts.Group, groups: newGroups(r.client), counts: map[string]int32{}}
	names, err := opts.allowed(r.topic)
	if err != nil {
		return d, err
	}
	topics, err := describe(ctx, r.client, names...)
	if err != nil {
		return d, err
	}
	faults := []error{mayWrite(r.topic, r.found)} // the marks
	for _, name := range names {
		faults = append(faults, mayWrite(name, topics[name]))
		d.counts[name] = topics[name].partitions()
	}
	d.limits = maxMessageBytes(ctx, r.client, names)
	if d.shrink, err = newCompressor(r.client); err != nil {
		return d, err
	}
	if opts.Group != "" {
		faults = append(faults, d.checkGroup(ctx, names))
	}
	return d, errors.Join(faults...)
}

func (r *run) all(ctx context.Context, partitions []surveyed) error {
	positions := map[int32]int64{}
	for _, s := range partitions {
		r.total += s.end - s.base
		positions[s.partition] = s.base
		r.killed = r.killed || s.killed
	}
	if err := r.commit(ctx, positions, stateRunning); err != nil {
		return err
	}
	defer func() {
		if r.killed {
			r.result.Repeated = min(Window, r.result.Sent)
		}
	}()
	for _, s := range partitions {
		finished, err := r.one(ctx, s)
		positions[s.partition] = r.position()
		if err != nil || !finished {
			if err == nil && r.sender != nil {
				_, _ = r.awaitMarks(ctx)
			}
			return errors.Join(err, r.end(ctx, positions))
		}
		r.result.Deleted += max(0, s.pending-r.looked)
	}
	r.result.Complete = true
	r.skipMarks(ctx, positions)
	return r.end(ctx, positions)
}

// skipMarks moves positions beyond the marks that are there, this run's own at the end, and beyond the markers of its transactions, so
// that nothing seems to be pending where nothing is. Where that fails, it seems so.
func (r *run) skipMarks(ctx context.Context, positions map[int32]int64) {
	if r.result.Sent == 0 || r.opts.DryRun {
		return
	}
	ends, err := r.awaitMarks(ctx)
	if err != nil {
		return
	}
	for partition, from := range positions {
		if at, _, err := r.reader.read(ctx, partition, from, ends[partition], r.reader.believed.isMark); err == nil {
			positions[partition] = max(from, at)
		}
	}
}

// awaitMarks returns where each partition ends, once this run's marks can be read: brokers say that a transaction is committed before
// all partitions have its markers. Who asks next, for what is pending, is to find nothing of what was sent.
func (r *run) awaitMarks(ctx context.Context) (ends map[int32]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout) // another producer's transaction may be open, which is nothing to wait for
	defer cancel()
	for {
		if _, ends, err = r.reader.bounds(ctx); err != nil {
			return nil, err
		}
		readable := true
		for partition, mark := range r.sender.marked {
			readable = readable && ends[partition] > mark
		}
		if readable || !sleep(ctx, markersBackoff) {
			return ends, nil
		}
	}
}

const markersBackoff = 20 * time.Millisecond // markers take milliseconds

// end says in the offsets that every letter that was sent is marked, if that is so: a run before this one may have been killed between
// the two, and this one may not have come to its letters.
func (r *run) end(ctx context.Context, positions map[int32]int64) error {
	r.tell(true)
	if errors.Is(context.Cause(ctx), errLockLost) {
		return nil
	}
	state := stateDone
	if r.unsure || r.killed && (!r.result.Complete || r.result.Filtered > 0) {
		state = stateRunning
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	return r.commit(ctx, positions, state)
}

func (r *run) commit(ctx context.Context, positions map[int32]int64, state string) error {
	if r.lock == nil || len(positions) == 0 {
		return nil
	}
	return r.lock.commit(ctx, positions, state)
}

// position is up to where every letter of the partition was sent.
func (r *run) position() int64 {
	if r.kept >= 0 {
		return r.kept
	}
	return r.next
}

// one redrives a partition. It returns false when Max is reached.
func (r *run) one(ctx context.Context, s surveyed) (finished bool, err error) {
	r.passed += r.partition.end - r.partition.base
	r.partition, r.window, r.kept, r.next, r.looked = s, &window{partition: s.partition}, -1, s.base, 0
	// What is on its way when ctx ends is awaited, but not for ever.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(flushTimeout, cancel) })
	defer stop()

	var failure error
	at, finished, err := r.reader.read(ctx, s.partition, s.base, s.end, func(record *kgo.Record) bool {
		var goOn bool
		goOn, failure = r.look(ctx, sending, record)
		r.tell(false)
		return goOn
	})
	failure = errors.Join(failure, r.flush(sending)) // which has nothing to do if it was flush that failed
	if finished && err == nil && failure == nil {
		r.next = max(r.next, at) // there may be none of ours at the end
	}
	return finished && failure == nil, errors.Join(failure, err)
}

// look decides what becomes of a record of the dead letter topic.
func (r *run) look(ctx, sending context.Context, record *kgo.Record) (goOn bool, err error) {
	if r.window.due(0) { // there may be nothing to send for long
		if err := r.flush(sending); err != nil {
			return false, err
		}
	}
	if r.reader.believed.isMark(record) || r.partition.sent.has(record.Offset) {
		r.next = record.Offset + 1
		return true, nil
	}
	if r.opts.Max > 0 && r.result.Sent+int64(len(r.window.letters)) >= r.opts.Max {
		return false, nil
	}
	r.looked++
	letter := r.reader.believed.letter(record)
	out, why, err := r.judge(ctx, letter)
	switch {
	case err != nil:
		return false, err
	case out == nil:
		r.keep(record.Offset)
		if why == "" {
			r.result.Filtered++
		} else {
			r.leave(letter, why)
		}
		r.next = record.Offset + 1
		return true, nil
	}
	if err := r.awaitTurn(ctx, sending); err != nil {
		return false, err
	}
	limit := int(r.to.limits[out.Topic])
	if !r.window.fits(out, limit) {
		if err := r.flush(sending); err != nil {
			return false, err
		}
	}
	r.next = record.Offset + 1
	if r.opts.DryRun {
		r.result.count(out)
		r.result.Selection.add(record.Partition, record.Offset)
		return true, nil
	}
	r.window.add(letter, out)
	if r.window.due(0) || batchBytes(out) > limit {
		if err := r.flush(sending); err != nil {
			return false, err
		}
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return true, nil
}

// leave notes that a letter which the filter means is not sent.
func (r *run) leave(letter Letter, why Reason) {
	r.result.Left[why]++
	if r.opts.OnLeft != nil {
		r.opts.OnLeft(letter, why)
	}
}

// count notes that a record was sent.
func (r *Result) count(sent *kgo.Record) {
	group, _ := recordheader.Last(sent.Headers, HeaderRedriveGroup)
	r.Sent++
	r.Sources[sent.Topic]++
	r.Groups[string(group)]++
}

func (r *run) keep(offset int64) {
	if r.kept < 0 || offset < r.kept {
		r.kept = offset
	}
}

// judge returns what to send for a letter; nothing, and no reason, for one that the filter doesn't mean.
func (r *run) judge(ctx context.Context, letter Letter) (*kgo.Record, Reason, error) {
	if !r.opts.Filter.means(letter) || letter.Offset < r.opts.Filter.FromOffset {
		return nil, "", nil
	}
	if only := r.opts.Only; only != nil && !only.has(letter.Partition, letter.Offset) {
		return nil, "", nil
	}
	r.tellLackOfKey(ctx, letter)
	if r.reader.believed.leaves(letter) {
		return nil, LeftUnsealed, nil
	}
	if limit := r.opts.MaxRedrives; limit >= 0 && letter.Origin.Redrives >= limit {
		return nil, LeftHopLimit, nil
	}
	out, why, err := r.to.record(ctx, letter)
	if out == nil {
		return nil, why, err
	}
	if r.opts.Transform != nil {
		topic, partition := out.Topic, out.Partition
		if err := r.opts.Transform(letter, out); errors.Is(err, ErrLeave) {
			return nil, LeftTransform, nil
		} else if err != nil {
			return nil, "", fmt.Errorf("deadletter: transform the letter %s-%d offset %d: %w", letter.Topic, letter.Partition, letter.Offset, err)
		}
		out.Topic, out.Partition = topic, partition
	}
	r.reader.believed.client.SealHeaders(out) // nothing changes it from here on
	if !r.to.shrink.mayFit(out, int(r.to.limits[out.Topic])) {
		return nil, LeftTooLarge, nil
	}
	return out, "", nil
}

// awaitTurn keeps the rate. A window that would grow old meanwhile is settled first.
func (r *run) awaitTurn(ctx, sending context.Context) error {
	if r.opts.DryRun {
		return nil
	}
	if wait := r.pace.wait(time.Now()); wait > 0 {
		if r.window.due(wait) {
			if err := r.flush(sending); err != nil {
				return err
			}
		}
		if !sleep(ctx, r.pace.wait(time.Now())) {
			return context.Cause(ctx)
		}
	}
	r.pace.taken(time.Now())
	return nil
}

// flush sends the window and commits how far the partition is.
func (r *run) flush(ctx context.Context) error {
	if len(r.window.letters) == 0 {
		return nil
	}
	if cause := context.Cause(r.lock.ctx); errors.Is(cause, errLockLost) { // another run sends them
		r.keep(r.window.letters[0].letter.Offset)
		r.window.letters = nil
		return cause
	}
	done := r.sender.settle(ctx, r.window)
	for _, s := range done.sent {
		r.result.count(s.record)
	}
	for _, s := range done.tooLarge {
		r.keep(s.letter.Offset)
		r.leave(s.letter, LeftTooLarge)
	}
	if done.err != nil {
		r.keep(done.failed.letter.Offset)
		r.unsure = true
		if errors.Is(done.err, errLockLost) {
			r.lock.lose(errLockLost)
		}
		return done.err
	}
	return r.commit(ctx, map[int32]int64{r.partition.partition: r.position()}, stateRunning)
}

// progressInterval is how often OnProgress is called, at most.
const progressInterval = 200 * time.Millisecond

func (r *run) tell(now bool) {
	if r.opts.OnProgress == nil || !now && time.Since(r.told) < progressInterval {
		return
	}
	r.told = time.Now()
	left := int64(0)
	for _, n := range r.result.Left {
		left += n
	}
	r.opts.OnProgress(Progress{
		Total: r.total, Read: r.passed + r.next - r.partition.base, Sent: r.result.Sent, Left: left, Elapsed: time.Since(r.begun),
	})
}
