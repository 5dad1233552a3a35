package schemaregistry

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeji/kafka"
)

func TestAnIDIsFetchedOnceByAllWhoMeetIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetched atomic.Int32
		answer := make(chan struct{})
		s := newSchemas(func(id int) (string, error) {
			fetched.Add(1)
			<-answer
			return "made", nil
		})
		got := make(chan string, 50)
		for range 50 {
			go func() {
				value, _ := s.get(7)
				got <- value
			}()
		}
		synctest.Wait() // until all wait
		close(answer)
		for range 50 {
			if value := <-got; value != "made" {
				t.Errorf("got %q", value)
			}
		}
		if n := fetched.Load(); n != 1 {
			t.Errorf("fetched %d times", n)
		}
	})
}

func TestWhatIsKept(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		at, later int // how often it was fetched when asked twice at once, and again after unknownFor
	}{
		"a schema":        {nil, 1, 1},
		"an unusable one": {&kafka.DecodeError{Reason: "it is AVRO, want JSON"}, 1, 1},
		"an unknown id":   {&kafka.DecodeError{Reason: "unknown", Err: errUnknownSchema}, 1, 2},
		"an outage":       {kafka.NewTransientError("down", nil), 2, 3},
		"anything else":   {errors.New("odd"), 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fetched := 0
				s := newSchemas(func(int) (int, error) { fetched++; return 1, test.err })
				ask := func(want int) {
					t.Helper()
					if _, err := s.get(7); err != test.err {
						t.Errorf("got %v", err)
					}
					if fetched != want {
						t.Errorf("fetched %d times, want %d", fetched, want)
					}
				}
				ask(1)
				ask(test.at)
				time.Sleep(unknownFor)
				ask(test.later)
			})
		})
	}
}

func TestClaimedIDsDontFillTheMemory(t *testing.T) {
	s := newSchemas(func(id int) (int, error) { return id, nil })
	for id := range 3 * maxSchemas {
		if value, err := s.get(id); value != id || err != nil {
			t.Fatalf("%d: %d (%v)", id, value, err)
		}
	}
	if len(s.byID) != maxSchemas {
		t.Errorf("%d are kept, want %d", len(s.byID), maxSchemas)
	}
	for id := range maxSchemas { // whatever was forgotten is fetched again
		if value, err := s.get(id); value != id || err != nil {
			t.Fatalf("%d: %d (%v)", id, value, err)
		}
	}
}

// Forged ids neither displace schemas nor are asked for without end.
func TestRefusedIDsAreAskedForAtARate(t *testing.T) {
	for name, refusal := range map[string]error{
		"unknown": &kafka.DecodeError{Reason: "unknown", Err: errUnknownSchema}, "unusable": &kafka.DecodeError{Reason: "it is AVRO, want JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good, forged := 0, 0
				s := newSchemas(func(id int) (int, error) {
					if id < maxSchemas {
						good++
						return id, nil
					}
					forged++
					return 0, refusal
				})
				askAll := func() {
					for id := range maxSchemas {
						if value, err := s.get(id); value != id || err != nil {
							t.Fatalf("%d: %d (%v)", id, value, err)
						}
					}
				}
				askAll()
				for id := range 20_000 {
					_, err := s.get(maxSchemas + id)
					if id < burst && err != refusal {
						t.Fatalf("%d: %v", id, err)
					}
					if later, ok := err.(*kafka.TransientError); id >= burst && (!ok || later.RetryAfter < askedAgainAfter || later.RetryAfter > 2*askedAgainAfter) {
						t.Fatalf("%d: %v", id, err)
					}
				}
				askAll()
				if good != maxSchemas || forged != burst {
					t.Errorf("%d good ids and %d forged ones were fetched", good, forged)
				}
				time.Sleep(time.Second)
				for id := range 20_000 {
					_, _ = s.get(2*maxSchemas + burst + id)
				}
				if forged != burst+rate {
					t.Errorf("%d forged ids were fetched after another second", forged)
				}
				time.Sleep(time.Hour)
				for id := range 20 * maxRefused {
					_, _ = s.get(maxSchemas + id)
					time.Sleep(time.Second / rate)
				}
				if len(s.refused) != maxRefused || len(s.byID) != maxSchemas || len(s.fetching) != 0 {
					t.Errorf("%d, %d and %d are kept", len(s.refused), len(s.byID), len(s.fetching))
				}
			})
		})
	}
}

func TestTheSchemaThatIsUsedLeastMakesRoom(t *testing.T) {
	fetched := 0
	s := newSchemas(func(id int) (int, error) { fetched++; return id, nil })
	for id := range 3 * maxSchemas {
		_, _ = s.get(id)
		_, _ = s.get(0)
	}
	if fetched != 3*maxSchemas {
		t.Errorf("fetched %d times", fetched)
	}
}

func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		calls := 0
		s := newSchemas(func(int) (int, error) {
			if calls++; calls > 1 {
				return 1, nil
			}
			<-answer
			panic("a parser's")
		})
		outcome := make(chan error, 1)
		go func() {
			defer func() { recover() }()
			_, _ = s.get(7)
		}()
		synctest.Wait()
		go func() {
			_, err := s.get(7)
			outcome <- err
		}()
		synctest.Wait()
		close(answer)
		if err := <-outcome; kafka.ClassOf(err) != kafka.ClassTransient {
			t.Errorf("got %v, want what is retried", err)
		}
		if value, err := s.get(7); value != 1 || err != nil {
			t.Errorf("asked again: %d (%v)", value, err)
		}
	})
}
