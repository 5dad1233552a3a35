package main

// plant is a bug that can be put into the library. Its place is a function of the root package or of internal/engine, and a
// statement or an expression that occurs once in that function. Formatting and comments do not matter.
type plant struct {
	name     string // what the library does then
	promise  string // the subtest of TestPromises for the promise that the bug breaks
	function string // type.method or function
	find     string // Go source
	replace  string // Go source in its place; "" removes it

	// What must catch it: a test of these packages, or else the simulation with one of these findings.
	test     string
	findings []string
}

// plants are one bug of each kind.
var plants = []plant{
	// Commits.
	{
		name: "commits one record too far", promise: "AtLeastOnce",
		function: "Offsets.handOver", find: `o.tracker.upTo.offset + 1`, replace: `o.tracker.upTo.offset + 2`,
		findings: []string{"COMMITTED AHEAD"},
	},
	{
		name: "marks a record before it is settled", promise: "AtLeastOnce",
		function: "partition.settle", find: `p.try(t, p.copyOf(t), p.c.handleAlone)`,
		replace:  `p.client.MarkCommitRecords(t.record); p.try(t, p.copyOf(t), p.c.handleAlone)`,
		findings: []string{"COMMITTED AHEAD"},
	},
	{
		name: "takes a message for another when a batch is handled again", promise: "AtLeastOnce",
		function: "batchCall.do", find: `c.handled.Swap(true)`, replace: `false`,
		test: "TestMiddlewareThatCallsABatchsHandlerTwice",
	},
	{
		name: "gives up a batch for an error that may be of one message", promise: "AtLeastOnce",
		function: "partition.failedWithOthers", find: `t.verdict.others`, replace: `false`,
		test: "TestWhatBecomesOfABatch",
	},
	{
		name: "treats the error of a cancelled attempt as a verdict", promise: "AtLeastOnce",
		function: "partition.conclude", find: `p.ctx.Err() != nil`, replace: `false`,
		test: "TestInterruptedAttemptIsNoFailure",
	},
	{
		name: "reports unfinished records as done in the progress metadata", promise: "Lanes",
		function: "tracker.doneAhead", find: `!r.done`, replace: `false`,
		test: "TestTrackerInEveryOrder",
	},

	// Rebalances and shutdown.
	{
		name: "does not drain at a handover", promise: "Shutdown",
		function: "consumer.drain", find: `awaitWorkers(leaving, c.cfg.DrainTimeout)`, replace: `awaitWorkers(leaving, 0)`,
		test: "TestLeavingInTimeDoesNotCutTheDrainShort",
	},
	{
		name: "does not commit at a handover", promise: "Rebalance",
		function: "consumer.revoked", find: `c.commitHandover(client, leaving, offsets)`, replace: `error(nil)`,
		findings: []string{"REDELIVERED FOR NO REASON"},
	},
	{
		name: "cancels handlers at the drain timeout without the cause", promise: "Shutdown",
		function: "consumer.drain", find: `p.cancel(ErrDrainTimeout)`, replace: `p.cancel(nil)`,
		test: "TestDrainTimeoutCancelsWithItsCause",
	},
	{
		name: "commits after the partition was lost", promise: "Rebalance",
		function: "consumer.disown", find: `p.offsets.Fence()`,
		test: "TestLateCompletionIsFenced",
	},
	{
		name: "keeps working after the group has removed the member", promise: "Rebalance",
		function: "consumer.committed", find: `c.removedFromGroup(err)`, replace: `false`,
		test: "TestARemovedMemberLetsGo",
	},

	// Failures and dead letters.
	{
		name: "treats a dead letter that the brokers refused as stored", promise: "NothingVanishes",
		function: "partition.putAway", find: `err == nil`, replace: `err == nil || attempt > 0`,
		test: "TestDLQOutageRepeatsOnlyTheWrite",
	},
	{
		name: "does not write the dead letter", promise: "NothingVanishes",
		function: "partition.conclude", find: `p.giveUp(t, p.route.deadLetters)`, replace: `OutcomeDeadLettered`,
		findings: []string{"DEAD LETTER MISSING"},
	},
	{
		name: "treats a panic as success", promise: "Poison",
		function: "contained", find: `err = &PanicError{Value: value, Stack: debug.Stack()}`, replace: `_ = debug.Stack`,
		findings: []string{"DEAD LETTER MISSING"},
	},
	{
		name: "calls the handler with a zero value for a record that does not decode", promise: "BadInput",
		function: "typed", find: `return err`, replace: `_ = err`,
		findings: []string{"DEAD LETTER MISSING"},
	},
	{
		name: "dead-letters business errors", promise: "NothingVanishes",
		function: "Policy.Decide", find: `failure == Rejected`, replace: `false`,
		findings: []string{"DEAD-LETTERED WRONGLY"},
	},
	{
		name: "retries permanent errors", promise: "Poison",
		function: "Policy.Decide", find: `failure == Transient && attempt <= p.MaxRetries`,
		replace: `attempt <= p.MaxRetries`,
		test:    "TestHooksAreToldWhatBecomesOfARecord",
	},
	{
		name: "gives up one retry early", promise: "NothingVanishes",
		function: "Policy.Decide", find: `attempt <= p.MaxRetries`, replace: `attempt < p.MaxRetries`,
		findings: []string{"LOST", "COMMITTED AHEAD"},
	},

	// Order and concurrency.
	{
		name: "begins the next record while one waits for its retry", promise: "Order",
		function: "scheduler.mayBegin", find: `len(s.inHand) == 0`, replace: `true`,
		findings: []string{"REORDERED"},
	},
	{
		name: "runs all records of a key at once", promise: "Lanes",
		function: "scheduler.pick", find: `r.Key == nil`, replace: `true`,
		findings: []string{"REORDERED", "OVERLAPPING"},
	},

	// Memory.
	{
		name: "drops records that come while a handler runs", promise: "BoundedMemory",
		function: "scheduler.add", find: `s.queue = append(s.queue, records...)`,
		replace:  `if len(s.inHand) == 0 { s.queue = append(s.queue, records...) }`,
		findings: []string{"LOST"},
	},
	{
		name: "does not give the memory of a record back", promise: "BoundedMemory",
		function: "partition.finish", find: `p.c.queued.give(cost)`,
		test: "TestQueuesStayBelowTheirBound",
	},
	{
		name: "leaves fetching paused", promise: "BoundedMemory",
		function: "flow.resume", find: `f.client.ResumeFetchPartitions(map[string][]int32{f.topic: {f.id}})`,
		test: "TestAPauseDoesNotOutliveTheAssignment",
	},

	// Optional features.
	{
		name: "does not pause for a flood of dead letters", promise: "FloodGuard",
		function: "floodGuard.pause", find: `g.closed.Store(true)`,
		test: "TestAnOutageDoesNotEmptyATopicIntoItsDLQ",
	},
	{
		name: "forgets at a restart which keys are parked", promise: "Parking",
		function: "partition.run", find: `p.recall()`, replace: `p.parking = newParkedKeys(p.c.cfg.MaxParkedRecords)`,
		test: "TestParkedKeysSurviveARestart",
	},
	{
		name: "retries a delayed record at once", promise: "RetryTopics",
		function: "partition.untilDue", find: `min(longest, due.Sub(now), r.Timestamp.Add(longest).Sub(now))`,
		replace: `min(0, longest, due.Sub(now))`,
		test:    "TestARecordThatIsPutOffBlocksNothing",
	},

	// Publishing.
	{
		name: "fails a message when the context of another caller ends", promise: "Publish",
		function: "deadlines.bound", find: `return deliveryContext{*shared, ctx}`, replace: `_ = shared; return ctx`,
		test: "TestOneCallersContextNeverFailsAnothers",
	},
}
