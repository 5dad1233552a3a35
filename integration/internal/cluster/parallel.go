package cluster

import (
	"flag"
	"strconv"
)

// RunSideBySide lets n parallel tests run at once, unless -parallel says how many. Most of them wait for brokers, so there may be
// more of them than CPUs. A TestMain calls it before m.Run.
func RunSideBySide(n int) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		_ = flag.Set("test.parallel", strconv.Itoa(n))
	}
}
