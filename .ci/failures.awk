# Reads the output of go test -v, and prints the last that each failed test said, without the logs that it printed of others.
function keep(name, line) {
  if (line ~ /: member-[0-9]+ \(| level=(DEBUG|INFO|WARN|ERROR) /) return
  said[name, count[name]++] = substr(line, 1, 400)
}
/^=== (RUN|NAME|CONT) / { current = $3 }
/^ *--- (FAIL|PASS|SKIP): / { current = $3; if ($2 == "FAIL:") failed[current] = 1 }
/^ +[a-z0-9_]+_test\.go:[0-9]+: / { keep(current, $0) }
/^(panic|fatal error|WARNING: DATA RACE)/ { keep("the process", $0); failed["the process"] = 1 }
END {
  for (name in failed) {
    print name ":"
    for (i = count[name] < 6 ? 0 : count[name] - 6; i < count[name]; i++) print said[name, i]
  }
}
