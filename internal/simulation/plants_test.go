package simulation

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var plantsFlag = flag.Bool("plants", false, "plant bugs into the library, one at a time, and see each caught")

// plant is a bug: in a file of the library, a text is replaced.
type plant struct {
	name     string // what is wrong then
	file     string
	old, new string
	by       string // a test of the root package that must fail; "": the simulation must
	// shows is what the simulation has to find, one of these: another failure would prove nothing.
	shows []string
}

// plants are the bugs that the harness has to find. docs/planted.md lists them.
var plants = []plant{
	{"commits one record too far", "partition.go", "p.tracker.upTo.offset + 1}", "p.tracker.upTo.offset + 2}", "", []string{"COMMITTED AHEAD"}},
	{"commits the highest record that is done", "tracker.go", "		more = true\n	}\n	return more\n", "		more = true\n	}\n	if i := place - t.first; i >= 0 {\n		t.upTo, more = t.held[i], true\n	}\n	return more\n", "", []string{"COMMITTED AHEAD"}},
	{"marks a record before it is settled", "settle.go", "		p.try(t.ctx, t)\n", "		p.mu.Lock()\n		p.client.MarkCommitRecords(t.record)\n		p.mu.Unlock()\n		p.try(t.ctx, t)\n", "", []string{"COMMITTED AHEAD"}},
	{"does not drain at a handover", "rebalance.go", "	late := awaitWorkers(leaving, c.cfg.DrainTimeout)\n", "	late := awaitWorkers(leaving, 0)\n", "TestLeavingInTimeDoesNotCutTheDrainShort", nil},
	{"does not commit at a handover", "rebalance.go", "		err = c.commitHandover(client, leaving, offsets)\n", "", "", []string{"REDELIVERED FOR NO REASON"}},
	{"commits after the partition was lost", "expelled.go", "		p.fence()\n		p.halt()\n		p.cancel(ErrPartitionLost)\n", "		p.halt()\n		p.cancel(ErrPartitionLost)\n", "TestLateCompletionIsFenced", nil},
	{"takes a letter for stored before the brokers say so", "deadletter.go", "	d.attempt(ctx, sent, func(err error) {\n", "	stored <- nil\n	d.attempt(ctx, sent, func(err error) {\n", "TestDLQOutageRepeatsOnlyTheWrite", nil},
	{"takes a letter that failed for stored", "deadletter.go", "		if err == nil {\n			if dlq", "		if err == nil || attempt > 0 {\n			if dlq", "TestDLQOutageRepeatsOnlyTheWrite", nil},
	{"forgets to write letters", "settle.go", "	case p.giveUp(t, p.c.deadLetters):\n", "	case true:\n", "", []string{"DEAD LETTER MISSING"}},
	{"begins a key's next record during a backoff", "settle.go", "		p.sleep(t, delay)\n", "		p.mu.Lock()\n		if behind := p.lanes[t.lane]; t.keyed && len(behind) > 0 {\n			p.lanes[t.lane] = behind[1:]\n			p.behind--\n			p.due = append(p.due, p.begin(task{record: behind[0].record, place: behind[0].place}, time.Now()))\n		}\n		p.mu.Unlock()\n		p.sleep(t, delay)\n", "", []string{"REORDERED"}},
	{"lets every record of a key run at once", "lanes.go", "earlier || foreign || p.c.cfg.Concurrency == 1 || r.Key == nil {", "true {", "", []string{"REORDERED", "OVERLAPPING"}},
	{"takes the next record in hand while one is asleep", "lanes.go", "		return len(p.inHand) == 0\n", "		return true\n", "", []string{"REORDERED"}},
	{"handles the newest record first", "lanes.go", "		r := p.queue[0]\n		p.queue[0] = nil\n		p.queue = p.queue[1:]\n", "		r := p.queue[len(p.queue)-1]\n		p.queue = p.queue[:len(p.queue)-1]\n", "", []string{"REORDERED"}},
	{"believes an attempt whose context was taken away", "settle.go", "	case p.ctx.Err() != nil:\n		return t.ends(OutcomeLeft), true // we took the context away: whatever the handler made of that is no verdict\n", "", "TestInterruptedAttemptIsNoFailure", nil},
	{"counts what is left unfinished as done", "partition.go", "	if !settled {\n		p.left = true\n		return resumed\n	}\n", "", "", []string{"COMMITTED AHEAD"}},
	{"drops a record that comes while all workers are busy", "partition.go", "	p.queue = append(p.queue, records...)\n", "	if len(p.inHand) == 0 {\n		p.queue = append(p.queue, records...)\n	}\n", "", []string{"LOST"}},
	{"dead-letters business errors", "settle.go", "	case v.class == ClassBusiness:\n		return t.ends(OutcomeRejected), true\n", "", "", []string{"DEAD-LETTERED WRONGLY"}},
	{"retries permanent errors", "settle.go", "	case v.class == ClassTransient && t.attempt", "	case t.attempt", "TestPromises/Poison", nil},
	{"hands a zero value to the handler where it can't decode", "handler.go", "			return err\n		}\n		msg.Value", "			_ = err\n		}\n		msg.Value", "", []string{"DEAD LETTER MISSING"}},
	{"leaves fetching paused", "partition.go", "	p.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.id}})\n", "", "TestAPauseDoesNotOutliveTheAssignment|TestQueuesStayBelowTheirBound", nil},
	{"does not give the memory of a record back", "partition.go", "	p.c.queued.give(cost)\n	if p.account", "	if p.account", "TestQueuesStayBelowTheirBound", nil},
	{"forgets to allow rebalances", "poll.go", "		client.AllowRebalance() // after every poll, or Close hangs\n", "		if !fetches.Empty() {\n			client.AllowRebalance()\n		}\n", "", []string{"drained false", "panic: "}},
	{"tells progress that is not there", "tracker.go", "		case !r.done:\n			open = false\n			continue\n", "", "TestTrackerInEveryOrder", nil},
	{"believes progress of a record that was lost and written again", "progress.go", "	return found && epoch <= p.epoch\n", "	return found\n", "TestTrackerInEveryOrder", nil},
	{"does not tell the next owner what is done", "rebalance.go", "		c.tellProgress(request, leaving)\n", "", "TestPromises/Lanes", nil},
	{"two workers for one partition after a handler that ignored its context", "rebalance.go", "newPartition(c, client, topic, id, member, c.stragglers[id])", "newPartition(c, client, topic, id, member, nil)", "TestLateCompletionIsFenced", nil},
	{"marks what it drops", "lanes.go", "	for _, r := range p.queue {\n		cost +=", "	for _, r := range p.queue {\n		p.client.MarkCommitRecords(r)\n		cost +=", "", []string{"COMMITTED AHEAD"}},
	{"hands over what is in hand", "rebalance.go", "	c.drain(leaving)\n", "	for _, p := range leaving {\n		p.halt()\n		p.fence()\n	}\n", "", []string{"OVERLAPPING", "REDELIVERED FOR NO REASON", "REORDERED"}},
	{"does not cancel what outlasts the drain", "rebalance.go", "		p.cancel(ErrDrainTimeout)\n", "		_ = p\n", "TestDrainTimeoutCancelsWithItsCause", nil},
	{"does not look at the answer to a handover's commit", "rebalance.go", "		default:\n			return asked, err\n", "		default:\n			return asked, nil\n", "TestALastCommitThatFailsIsAnError", nil},
	{"joins again while a commit is under way", "rebalance.go", "	c.awaitPeriodicCommits(ctx, client)\n", "", "TestASessionBeginsAfterTheCommitsOfTheOneBefore", nil},
	{"commits what finishes after the handover", "rebalance.go", "		p.seal()\n	}\n	c.abandon(stuck)\n", "		p.mark()\n	}\n	c.abandon(stuck)\n", "TestAHandoverFencesWhatFinishesAfterIt", nil},
	{"commits what it hands over a second time", "progress.go", "			return own == nil || !own.isOf(request.MemberID)\n", "			return own != nil && !own.isOf(request.MemberID)\n", "TestNoPeriodicCommitFollowsAHandovers", nil},
	{"commits what it had before it was removed from the group", "rebalance.go", "	if len(c.ofOthers(client, leaving)) > 0 {\n", "	if false {\n", "TestARemovedMemberLetsGo", nil},
	{"goes on with what it had before it was removed from the group", "rebalance.go", "others := c.ofOthers(client, c.assignedNow()); len(others) > 0", "others := c.assignedNow(); false", "", []string{"drained false", "COMMITTED BACKWARDS", "HANDLED THOUGH COMMITTED"}},
	{"goes on when a commit says that it was removed", "expelled.go", "	return c.cfg.GroupProtocol", "	return false && c.cfg.GroupProtocol", "TestARemovedMemberLetsGo", nil},
	{"gives a handover's commit up in a new epoch", "rebalance.go", "!gone || errors.Is(err, kerr.StaleMemberEpoch)\n", "!gone\n", "TestAHandoversCommitIsTriedAgain", nil},
	{"does not give back the memory of what it drops", "lanes.go", "	p.queued -= cost\n	p.c.queued.give(cost)\n}", "	p.queued -= cost\n}", "TestNothingFollowsARecordThatFailsForGood", nil},
	{"puts a retry behind the queue", "settle.go", "		p.sleep(t, delay)\n	}\n", "		p.mu.Lock()\n		p.queue = append(p.queue, t.record)\n		p.mu.Unlock()\n		return t.ends(OutcomeHandled), true\n	}\n", "", []string{"REORDERED", "COMMITTED AHEAD"}},
	{"tells nobody what is done", "progress.go", "	if c.untold.Load() {", "	if true {", "", []string{"REDELIVERED FOR NO REASON"}},
	{"believes progress one record too far", "progress.go", "		case offset >= r.end:", "		case offset > r.end:", "", []string{"LOST"}},
	{"takes a letter for stored when franz-go has it", "deadletter.go", "func(err error) { stored <- err })\n		var err error", "func(error) {})\n		stored <- nil\n		var err error", "", []string{"DEAD LETTER MISSING"}},
	{"runs the handler again for its letter", "deadletter.go", "		p.refused(t, ", "		p.try(t.ctx, t)\n		p.refused(t, ", "TestDLQOutageRepeatsOnlyTheWrite", nil},
	{"puts a letter into the partition after its record's", "options.go", "return int(r.Partition) % n }", "return int(r.Partition+1) % n }", "TestDeadLettersGoWhereTheirRecordWas", nil},
	{"gives up one retry early", "settle.go", "t.attempt <= p.c.cfg.MaxRetries", "t.attempt < p.c.cfg.MaxRetries", "", []string{"LOST", "COMMITTED AHEAD"}},
	{"takes a panic for success", "handler.go", "			err = &PanicError{Value: value, Stack: debug.Stack()}\n", "			_ = debug.Stack\n", "", []string{"DEAD LETTER MISSING"}},
	{"warns of a flood where it is to pause", "floodguard.go", "	g.closed.Store(true)\n", "", "TestAnOutageDoesNotEmptyATopicIntoItsDLQ", nil},
	{"writes letters that are to be kept back", "heldback.go", "	return withheld\n", "	return false\n", "TestWhatIsHeldBackIsTriedAgain", nil},
	{"takes what is held back for done", "settle.go", "		return Settlement{}, false\n	case p.giveUp(t,", "		return t.ends(OutcomeHandled), true\n	case p.giveUp(t,", "TestWhatIsHeldBackIsTriedAgain", nil},
	{"keeps a probe's letter back", "heldback.go", " || t.trial.round > 0 || ", " || ", "TestARecordThatAlwaysFailsDoesNotKeepTheGuardClosed", nil},
	{"waits for the flood guard in a partition that stops", "heldback.go", "	case <-p.stop:\n	case <-changed:\n", "	case <-changed:\n", "TestAPauseHoldsNeitherHandoverNorShutdownUp", nil},
	{"takes a probe that was taken away for one that failed", "heldback.go", "failed := !passed && p.ctx.Err() == nil &&", "failed := !passed &&", "TestInterruptedProbesDecideNothing", nil},
	{"takes every record of a batch for a probe", "heldback.go", "			t.trial.round = round\n", "			for _, t := range tasks {\n				t.trial.round = round\n			}\n", "TestABatchIsOneProbe", nil},
	{"counts letters alone", "partition.go", "	p.settled++\n", "", "TestAFewLettersAmongManyRecordsAreNoFlood", nil},
	{"forgets what was settled in partitions that have left", "rebalance.go", "				c.settled += p.settledSoFar()\n", "", "TestAFewLettersAmongManyRecordsAreNoFlood", nil},
	{"takes records that wait for the flood guard for ones that hang", "heldback.go", "	p.now(t, ActivityHeldBack)\n	defer", "	defer", "TestAnOutageDoesNotEmptyATopicIntoItsDLQ", nil},
	{"lets probes that hang decide nothing, and the others neither", "floodguard.go", "	case g.passed > floodProbes-most:", "	case g.passed > floodProbes-most && g.begun == 0:", "TestProbesAreFewAndTheFirstOnesDecide", nil},
	{"stays paused where too few records come", "floodguard.go", " && g.begun == 0:\n", " && false:\n", "TestAFloodEndsThoughFewRecordsCome|TestAPauseEndsWithoutRecordsToTry", nil},
	{"believes probes of an earlier pause", "floodguard.go", " || round != g.round {", " {", "TestProbesAreFewAndTheFirstOnesDecide", nil},
	{"handles the later records of a parked key", "parking.go", "p.parking == nil || t.attempt > 0 || t", "true || t", "TestAKeyIsParkedUntilItsLastLetterIsHandled", nil},
	{"keeps a record back behind its own letter", "parking.go", "parked || first.origin >= p.originOf(t.record) { // its own", "parked || first.origin > p.originOf(t.record) { // its own", "TestAKeyIsParkedUntilItsLastLetterIsHandled|TestWhatFailsAgainKeepsItsKeyParked", nil},
	{"never unparks a key", "parking.go", "	if !p.parking.has(lane, origin) {\n", "	if true {\n", "TestAKeyIsParkedUntilItsLastLetterIsHandled", nil},
	{"tells the next owner of no key that it is unparked", "parking.go", "	if p.writeMark(t, kgo.RecordHeader{Key: HeaderDLQUnparked, Value: []byte(place)}) == nil {\n		return false\n	}\n", "	_ = place\n", "TestParkedKeysSurviveARestart", nil},
	{"says that a key is unparked after its record is done", "settle.go", "	if over && !p.unpark(t, s.Outcome) {\n		return t.ends(OutcomeLeft), true\n	}\n", "	if over {\n		go p.unpark(t, s.Outcome)\n	}\n", "TestAMarkComesBeforeTheOffset", nil},
	{"parks no key by a letter without room for headers", "parking.go", "	if !said {\n", "	if !said && false {\n", "TestALetterWithoutRoomParksItsKey", nil},
	{"takes a record that was sent back for a new one", "parking.go", "first.Offset >= 0 && first.Offset < r.Offset {", "false {", "TestAKeyIsParkedUntilItsLastLetterIsHandled", nil},
	{"believes any place that a record says it was first at", "parking.go", "ok && first.Topic == p.topic && first.Partition == p.id && first.Offset >= 0 && first.Offset < r.Offset {", "ok {", "TestForgedOriginsParkNobodyElse", nil},
	{"keeps keys parked behind letters that are deleted", "parking.go", "		p.forgetDeleted()\n", "", "TestDeletedLettersUnpark", nil},
	{"does not read which keys are parked", "partition.go", "		p.recall()\n", "		p.parking = newParkedKeys(p.c.cfg.MaxParkedRecords)\n", "TestParkedKeysSurviveARestart", nil},
	{"handles records before it knows which keys are parked", "partition.go", "		p.recall()\n", "		go p.recall()\n", "TestAPartitionWaitsForItsParkedKeys", nil},
	{"leaves out the last letter when it reads which keys are parked", "recall.go", "next > end {", "next >= end {", "TestALetterWithoutRoomParksItsKey", nil},
	{"forgets at a restart which letters were handled", "recall.go", "		parking.remove(lane, place.origin)\n", "", "TestParkedKeysSurviveARestart", nil},
	{"believes letters of other groups", "recall.go", " && place.group == p.c.cfg.Group", "", "TestOnlyOwnLettersPark", nil},
	{"holds parked records for failures", "heldback.go", " || t.verdict.class == ClassParked {\n", " {\n		return false\n	}\n	if t.verdict.class == ClassParked {\n		p.c.guard.letter(p.c.settledInAll(), time.Now())\n", "TestAParkedKeyIsNoFlood", nil},
	{"holds parked records for ones that went well", "partition.go", "	if t.attempt > 0 { // a record that is passed", "	if true { // a record that is passed", "TestParkedKeysHideNoOutage", nil},
	{"tries what was put off at once", "retrytopics.go", "	if delay == 0 {\n		return 0\n	}\n", "	if delay != 0 {\n		return 0\n	}\n", "TestARecordThatIsPutOffBlocksNothing", nil},
	{"says that a record is put off and does not write it", "settle.go", "	case v.class == ClassTransient && p.c.retryTopic != nil:\n		if p.giveUp(t, p.c.retryTopic) {\n", "	case v.class == ClassTransient && p.c.retryTopic != nil:\n		if true {\n", "TestARecordThatIsPutOffBlocksNothing", nil},
	{"puts off what will never go well", "settle.go", "	case v.class == ClassTransient && p.c.retryTopic != nil:\n", "	case p.c.retryTopic != nil:\n", "TestARecordThatIsPutOffBlocksNothing", nil},
	{"believes any topic's count of attempts", "retrytopics.go", "	if c.tier.delay == 0 {\n		return 0\n	}\n", "", "TestForgedRetriesDoNoHarm", nil},
	{"waits for as long as a timestamp says", "retrytopics.go", "	return min(delay, delay-time.Since(r.Timestamp))\n", "	return delay - time.Since(r.Timestamp)\n", "TestForgedRetriesDoNoHarm", nil},
	{"handles what another group has put off", "redriven.go", "			if c.tier.delay > 0 && string(h.Value) != c.cfg.Group {\n", "			if false {\n", "TestForgedRetriesDoNoHarm", nil},
	{"tries what is put off because it stops", "partition.go", "		case t.slept && p.halting(): // it was woken for that, and nobody has begun it\n", "		case false:\n", "TestARecordThatIsPutOffOutlivesRestarts", nil},
}

const root = "../.."

// TestPlantsAreInTheDocuments holds the table of docs/planted.md to the one above, and both to the code.
func TestPlantsAreInTheDocuments(t *testing.T) {
	if len(plants) < 20 {
		t.Errorf("%d planted bugs", len(plants))
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "planted.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plants {
		if row := p.row(); !strings.Contains(string(page), row) {
			t.Errorf("docs/planted.md lacks\n%s", row)
		}
		if _, err := p.apply(); err != nil {
			t.Error(err)
		}
	}
}

func (p plant) row() string {
	by := "the simulation: " + strings.ToLower(strings.Join(p.shows, ", "))
	if p.by != "" {
		by = "`" + strings.ReplaceAll(p.by, "|", "`, `") + "`"
	}
	return fmt.Sprintf("| %s | %s | %s |", p.name, p.file, by)
}

// apply returns the file's text with the bug in it.
func (p plant) apply() (string, error) {
	text, err := os.ReadFile(filepath.Join(root, p.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), p.old); n != 1 {
		return "", fmt.Errorf("%q: %s holds the text to be replaced %d times", p.name, p.file, n)
	}
	return strings.Replace(string(text), p.old, p.new, 1), nil
}

// patience is how many seconds a seed may take. It takes less than one, if the processors have nothing else to do.
const patience = 300

// TestPlantedBugsAreCaught proves the harness: what it would not find, it does not disprove.
func TestPlantedBugsAreCaught(t *testing.T) {
	if !*plantsFlag {
		t.Skip("run with -plants, or make plants")
	}
	for _, p := range plants {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			spoiled, err := p.apply()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), p.file)
			if err := os.WriteFile(file, []byte(spoiled), 0o600); err != nil {
				t.Fatal(err)
			}
			original, err := filepath.Abs(filepath.Join(root, p.file))
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: file}})
			if err != nil {
				t.Fatal(err)
			}
			overlayFile := filepath.Join(t.TempDir(), "overlay.json")
			if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			// -v prints what a seed finds when the seed ends: a bug may make another one hang. Its stacks come before the time is over.
			arguments := []string{"test", "-v", "-vet=off", "-tags", "synctests", "-timeout", fmt.Sprint(2*patience, "s"), "-overlay", overlayFile}
			if p.by == "" {
				arguments = append(arguments, "./internal/simulation", "-run", "^TestSimulation$", "-count", "1", "-seeds", "1000")
			} else { // a test is one seed: where things happen at the same time, another order may hide the bug
				arguments = append(arguments, ".", "-run", p.by, "-count", "10", "-failfast")
			}
			child := exec.Command("go", arguments...)
			child.Dir = root
			output, err := child.CombinedOutput()
			found := findings(string(output))
			if err == nil || !p.isCaught(found) {
				t.Errorf("not caught: %v, found %q\n%s", err, found, output[max(0, len(output)-2000):])
				return
			}
			t.Log(found)
		})
	}
}

// isCaught tells whether among the findings is what the plant has to lead to.
func (p plant) isCaught(found []string) bool {
	return slices.ContainsFunc(found, func(finding string) bool {
		if p.by != "" {
			return strings.HasPrefix(finding, "--- FAIL: ")
		}
		return slices.ContainsFunc(p.shows, func(sign string) bool { return strings.Contains(finding, sign) })
	})
}

// finding is the name of a test that failed, a verdict of the ledger's report, or what else the simulation complains of.
var finding = regexp.MustCompile(`^--- FAIL: Test\w+|^[A-Z-]{4}[A-Z -]* \d+:|drained false|was acknowledged and is not stored|^panic: `)

func findings(output string) (found []string) {
	for line := range strings.Lines(output) {
		if text := finding.FindString(strings.TrimSpace(line)); text != "" && !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	return found
}
