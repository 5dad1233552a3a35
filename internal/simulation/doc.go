// Package simulation runs the library's producer and consumers on an in-process cluster in virtual time, does to both what a
// seed says, and judges every record. A seed fixes what happens and when, not how goroutines are scheduled: replayed, it may
// come out differently.
//
//	go test -tags synctests ./internal/simulation -seeds 1000
//	go test -tags synctests ./internal/simulation -seed 42 -v
//
// The build tag is franz-go's: its locks stop virtual time without it, so that nothing is run.
package simulation
