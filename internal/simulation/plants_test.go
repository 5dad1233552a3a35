package simulation

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
}

// plants are the bugs that the harness has to find. docs/planted.md lists them.
var plants = []plant{
	{"commits one record too far", "partition.go", "Offset: p.tracker.upTo.offset, LeaderEpoch", "Offset: p.tracker.upTo.offset + 1, LeaderEpoch", ""},
	{"commits the highest record that is done", "tracker.go", "	for len(t.held) > 0 && t.held[0].done {\n", "	t.held[0].done = true\n	for len(t.held) > 0 && t.held[0].done {\n", ""},
	{"marks a record before it is settled", "settle.go", "		p.try(t)\n", "		p.mu.Lock()\n		p.client.MarkCommitRecords(t.record)\n		p.mu.Unlock()\n		p.try(t)\n", ""},
	{"does not drain at a handover", "rebalance.go", "	late := awaitWorkers(leaving, c.cfg.DrainTimeout)\n", "	late := awaitWorkers(leaving, 0)\n", "TestInterruptedAttemptIsNoFailure"},
	{"does not commit at a handover", "rebalance.go", "		err = c.commitHandover(client, leaving, offsets)\n", "", ""},
	{"commits after the partition was lost", "rebalance.go", "		p.fence()\n		p.halt()\n		p.cancel(ErrPartitionLost)\n", "		p.halt()\n		p.cancel(ErrPartitionLost)\n", "TestLateCompletionIsFenced"},
	{"treats lost partitions like revoked ones", "rebalance.go", "	c.abandon(awaitWorkers(leaving, drainGrace))\n", "	c.abandon(awaitWorkers(leaving, c.cfg.DrainTimeout))\n	_ = client.CommitMarkedOffsets(context.Background())\n", "TestLostPartitionIsCancelledAndCommitsNothing"},
	{"takes a letter for stored before the brokers say so", "deadletter.go", "	d.attempt(ctx, sent, func(err error) {\n", "	stored <- nil\n	d.attempt(ctx, sent, func(err error) {\n", "TestDLQOutageRepeatsOnlyTheWrite"},
	{"takes a letter that failed for stored", "deadletter.go", "		if err == nil {\n			p.logDeadLetter(t, stored)\n", "		if err == nil || attempt > 0 {\n			p.logDeadLetter(t, stored)\n", "TestDLQOutageRepeatsOnlyTheWrite"},
	{"forgets to write letters", "settle.go", "	case p.giveUp(t):\n", "	case true:\n", ""},
	{"begins a key's next record during a backoff", "settle.go", "		p.sleep(t, delay)\n", "		p.mu.Lock()\n		if behind := p.lanes[t.lane]; t.keyed && len(behind) > 0 {\n			p.lanes[t.lane] = behind[1:]\n			p.behind--\n			p.due = append(p.due, p.begin(task{record: behind[0].record, place: behind[0].place}))\n		}\n		p.mu.Unlock()\n		p.sleep(t, delay)\n", ""},
	{"lets every record of a key run at once", "lanes.go", "earlier || p.c.cfg.Concurrency == 1 || r.Key == nil {", "true {", ""},
	{"takes the next record in hand while one is asleep", "lanes.go", "		return len(p.inHand) == 0\n", "		return true\n", ""},
	{"handles the newest record first", "lanes.go", "		r := p.queue[0]\n		p.queue[0] = nil\n		p.queue = p.queue[1:]\n", "		r := p.queue[len(p.queue)-1]\n		p.queue = p.queue[:len(p.queue)-1]\n", ""},
	{"believes an attempt whose context was taken away", "settle.go", "	case p.ctx.Err() != nil:\n		return end(OutcomeLeft) // we took the context away: whatever the handler made of that is no verdict\n", "", ""},
	{"counts what is left unfinished as done", "partition.go", "	if !settled {\n		p.left = true\n		return resumed\n	}\n", "", ""},
	{"drops a record that comes while all workers are busy", "partition.go", "	p.queue = append(p.queue, records...)\n", "	if len(p.inHand) == 0 {\n		p.queue = append(p.queue, records...)\n	}\n", ""},
	{"dead-letters business errors", "settle.go", "	case v.class == ClassBusiness:\n		return end(OutcomeRejected)\n", "", ""},
	{"retries permanent errors", "settle.go", "	case v.class == ClassTransient && t.attempt", "	case t.attempt", "TestPromises/Poison"},
	{"hands a zero value to the handler where it can't decode", "handler.go", "			return err\n		}\n		return contained", "			_ = err\n		}\n		return contained", ""},
	{"leaves fetching paused", "partition.go", "	p.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.id}})\n", "", "TestAPauseDoesNotOutliveTheAssignment|TestQueuesStayBelowTheirBound"},
	{"does not give the memory of a record back", "partition.go", "	p.c.queued.give(cost)\n	if p.account", "	if p.account", ""},
	{"forgets to allow rebalances", "poll.go", "		client.AllowRebalance() // after every poll, or Close hangs\n", "		if !fetches.Empty() {\n			client.AllowRebalance()\n		}\n", ""},
	{"tells progress that is not there", "tracker.go", "		case !r.done:\n			open = false\n			continue\n", "", "TestTrackerInEveryOrder"},
	{"believes progress of a record that was lost and written again", "progress.go", "	return found && i < len(p.done) && epoch <= p.epoch\n", "	return found && i < len(p.done)\n", "TestTrackerInEveryOrder"},
	{"does not tell the next owner what is done", "rebalance.go", "		c.tellProgress(request, leaving)\n", "", "TestPromises/Lanes"},
	{"two workers for one partition after a handler that ignored its context", "rebalance.go", "newPartition(c, client, topic, id, c.stragglers[id])", "newPartition(c, client, topic, id, nil)", "TestLateCompletionIsFenced"},
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
	by := "the simulation"
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

// TestPlantedBugsAreCaught proves the harness: what it would not find, it does not disprove.
func TestPlantedBugsAreCaught(t *testing.T) {
	if !*plantsFlag {
		t.Skip("run with -plants, or make plants")
	}
	for _, p := range plants {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
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
			arguments := []string{"test", "-vet=off", "-tags", "synctests", "-timeout", "100s", "-count=1", "-overlay", overlayFile}
			if p.by == "" {
				arguments = append(arguments, "./internal/simulation", "-run", "^TestSimulation$", "-seeds", "150")
			} else {
				arguments = append(arguments, ".", "-run", p.by)
			}
			child := exec.Command("go", arguments...)
			child.Dir = root
			output, err := child.CombinedOutput()
			if err == nil || strings.Contains(string(output), "[build failed]") {
				t.Errorf("not caught: %v\n%s", err, output[max(0, len(output)-2000):])
				return
			}
			for line := range strings.SplitSeq(string(output), "\n") {
				if strings.Contains(line, ".go:") {
					t.Log(strings.TrimSpace(line)[:min(len(strings.TrimSpace(line)), 160)])
					break
				}
			}
		})
	}
}
