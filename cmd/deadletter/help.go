package main

const help = `deadletter: why letters are in a dead letter topic, and how they come back.

  deadletter ls                which dead letter topics there are, and how full they are
  deadletter stats   TOPIC     why the letters are there: by class, error, source topic, group, hour
  deadletter peek    TOPIC     some letters whole: error, origin, headers, key and value
  deadletter ls      TOPIC     letters, one a line, without keys and values
  deadletter redrive TOPIC     send letters back to the topics they came from
  deadletter purge   TOPIC     delete letters, for good

A service that can't handle a record puts it into a dead letter topic, with the reason in its headers.
Step by step:

  1. deadletter ls                                   find the topic
  2. deadletter stats dlq-orders                     see what went wrong, and how often
  3. deadletter peek dlq-orders --error timeout      look at letters of one kind
  4. Repair the cause. A letter that goes back too early fails again, and comes back. Its class is a hint:
       transient   the service tried some times in vain, as when a database was away: it likely works now
       permanent   the service said that it can never work: its code, or the data, has to be mended first
       parked      nothing is wrong with it: it waits behind an earlier letter of its key; send it along
  5. deadletter redrive dlq-orders --class transient --dry-run     see what would be sent, and where to
     deadletter redrive dlq-orders --class transient --max 10      send some, and see that they are handled
     deadletter redrive dlq-orders --class transient --rate 100    send the rest, 100 a second
  6. deadletter purge dlq-orders --redriven          delete those that went back; retention would do it, too

What was sent back stays in the topic until it is deleted, but it is no longer pending, and is not sent again.
Only pending letters are shown and counted, unless --state says otherwise. redrive and purge ask before they
change anything.

TOPIC may be left out where KAFKA_CONSUMER_DLQ_TOPIC names it, but for ls. Each subcommand has more to say:
deadletter redrive -h

The cluster is the one of the variables that services have: KAFKA_BROKERS (host:port,host:port) and, where it
asks for them, KAFKA_TLS_ENABLED, KAFKA_TLS_REQUIRED, KAFKA_TLS_CA_FILE, KAFKA_TLS_CERT_FILE,
KAFKA_TLS_KEY_FILE, KAFKA_TLS_SERVER_NAME, KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or
KAFKA_SASL_PASSWORD_FILE, KAFKA_SASL_TOKEN_FILE, KAFKA_SASL_ALLOW_PLAINTEXT.

Where services have KAFKA_CONTROL_KEY or KAFKA_CONTROL_KEY_FILE, set it here too: it tells what they have
written from what others have made up, and seals what goes back: without a seal, these services take it for an
ordinary record, in every group. Letters that the key has not sealed are shown as "not sealed", and go back with
--unsealed alone, unless KAFKA_ACCEPT_UNSEALED is true, as it is while a key is introduced.

With -o json standard output is JSON Lines, a value a line. Questions, progress and errors go to standard error.
` + exitCodes

const exitCodes = `
Exit codes: 0 done, up to --max if that is given; 1 failed; 2 a mistake in the arguments or variables; 3 done in
part: letters that were meant are left, or it was interrupted; 4 refused: nobody said yes, or another redrive is
running. Tables have local times (TZ), but hours of --by hour; JSON has UTC.
`

const auditHelp = `  --by NAME             who does this, for the log (default: the user of this process, and its host)
  --reason TEXT         why, for the log: a ticket, for example
`

const filterHelp = `
Which letters. All that is given must be so; NAME,... is any of these:
  --class NAME,...      transient, permanent, parked; letters of Spring and Connect have an exception's name
  --source TOPIC,...    came from these topics
  --group NAME,...      these consumer groups could not handle them
  --key KEY             have exactly this key
  --error TEXT          have this in the error's text, or in its pattern that stats shows
  --since TIME          failed then or later: "2026-11-25 14:00:05" or 2026-11-25T14:00 (local),
                        2026-11-25T14:00:00Z, 2026-11-25, or 90m for 90 minutes ago
  --until TIME          failed before
  --partition N,...     of the dead letter topic
  --from-offset N       of the dead letter topic, in each of the partitions
`

const stateHelp = `  --state NAME          pending (default): not sent back yet; redriven: sent back; all
`

const lsHelp = `usage: deadletter ls [-o FORMAT]
       deadletter ls TOPIC [flags]

Without TOPIC: the topics that are named like dead letter topics: dlq-*, dlq.*, *-dlq, *.dlq, *-dlt, *.DLT.
They are not read, for speed: RECORDS has what was sent back, too, and PENDING may have it, where it lies behind
the first letter that is pending. deadletter stats counts exactly.

Retry topics (retry-N-GROUP-TOPIC) with records that no member of their group reads are named on standard error:
the group was renamed, or its service is stopped. It takes DESCRIBE on the group to know.

With TOPIC: its letters, one a line, in the order of the partitions. PARTITION and OFFSET are the letter's own,
FROM is where the record was first, TRIES how often it was tried (0: it was parked; -: the letter does not say),
BACK how often it was sent back before. Keys and values are not shown.

  -n N                  show N letters at most (default 20); 0: all
  -o FORMAT             table (default) or json
` + filterHelp + stateHelp + exitCodes

const statsHelp = `usage: deadletter stats TOPIC [flags]

Counts letters by what went wrong. In errors, numbers and ids are replaced by #, so that one cause is one line.

  --by NAME,...         class, error, source, group, hour (UTC); default: all but hour
  -n N                  show the N most frequent of each (default 10); 0: all
  -o FORMAT             table (default) or json: a line with the totals, then one for each count
` + filterHelp + stateHelp + exitCodes

const peekHelp = `usage: deadletter peek TOPIC [flags]

Shows letters whole: what went wrong, where they came from, KEY, VALUE and headers, which may be personal data.
Characters that a terminal would obey are shown as \x1b or \u202e, bytes that are no text as hex. In JSON, bytes
that are no text are base64, in keyBase64 and valueBase64. Without a value: a tombstone.

  -n N                  show N letters at most (default 5); 0: all
  --full                show values in full length; a table cuts them to 2,000 characters
  -o FORMAT             table (default) or json
` + filterHelp + stateHelp + exitCodes

const redriveHelp = `usage: deadletter redrive TOPIC [flags]

Sends pending letters back to the topics they came from, in their order, with key, value and headers as they
were. Of the consumers of this library only those of the group that failed get them; other clients all do.

A letter is left, and named with the reason, if it came back too often, its topic is not allowed or not there or
does not take its size, its group does not read its topic, nothing says where it came from, KAFKA_CONTROL_KEY
has not sealed it, or it does not have the record in it, as those of share groups by default. It does not keep
later letters back, of its key neither.
Letters that must never go back: send them to a topic of their own with --to, or mend what makes them fail.

It counts first and asks, and then sends the letters that it has counted, and no others. With --yes, it sends
all that were there at the start. What is done, by whom and why is logged to standard error. Ctrl-C ends it
cleanly, and the same command goes on where it was: what was sent is noted in the dead letter topic, and is
not sent again. Only after a kill -9 up to 500 letters are sent again: consumers with isolation.level
read_committed get them once, others may get them twice.

  --dry-run             say what would be sent and where to, and change nothing
  --max N               send N letters at most, from 1 on: begin with some, and see that they are handled
                        (default: no limit)
  --rate N              send N letters a second at most (default: no limit)
  --yes                 don't ask
  --allow TOPIC,...     topics that letters may go to (default: the one that TOPIC is named for: orders, if it
                        is dlq-orders or orders-dlq)
  --to TOPIC            send all to this topic, wherever they came from
  --for GROUP           who gets them, all of them, whatever groups they name: use it with --group OLDNAME;
                        consumers of this library with another group pass over them (default: the group that
                        could not handle them; with --to another topic, everybody)
  --max-redrives N      leave a letter that has come back N times already (default 3); -1: no limit
  --wait DURATION       wait so long for the end of another redrive of TOPIC (default: refuse at once)
  --no-transactions     where the brokers have no transactions, or don't grant WRITE on the transactional id
                        redrive-TOPIC: then a redrive that was frozen for ten seconds may send old letters
                        behind newer records, while another one runs
  --unsealed            send letters that KAFKA_CONTROL_KEY has not sealed, too, as those of before there was a
                        key, and believe such notes about what was sent: see first that nobody made them up
  --any-topic           redrive TOPIC though it is not named like a dead letter topic and none of its records
                        says what went wrong: notes about what was sent are written into it
` + auditHelp + `  -o FORMAT             table (default) or json: a line for each letter that is left, then the result

To mend values on the way, after a change of schema for example, write a program with deadletter.Redrive of the
library, and its Transform.
` + filterHelp + exitCodes

const purgeHelp = `usage: deadletter purge TOPIC --redriven | --before TIME | --all [flags]

Deletes letters for good. A topic is deleted from its beginning on, each partition up to a point: nothing can be
picked out. It counts first, says how many of the letters are pending, and asks. What is deleted, by whom and
why is logged to standard error. While a redrive is running, it refuses.

  --redriven            up to the first letter that is pending, so that none of these is lost, or that still
                        parks its key, so that its service can keep the key's order: wait until what went
                        back is handled. A service that parks no keys any more never says so: use --before
  --unsealed            with --redriven: believe notes that KAFKA_CONTROL_KEY has not sealed, and delete
                        letters that it has not: without, each partition ends at the first of these
  --before TIME         up to the first letter written then or later: 2026-11-25T14:00, 2026-11-25, or 72h for
                        72 hours ago
  --all                 all that is there
  --partition N,...     only in these partitions
  --any-topic           of TOPIC though it is not named like a dead letter topic and none of its records says
                        what went wrong
  --dry-run             count, and delete nothing
` + auditHelp + `  --yes                 don't ask
  -o FORMAT             table (default) or json
` + exitCodes
