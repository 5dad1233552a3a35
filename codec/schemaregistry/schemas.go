package schemaregistry

import (
	"errors"
	"sync"
	"time"

	"github.com/skeji/kafka"
)

const (
	// maxSchemas bounds what is kept: a topic has a handful, and whoever publishes may claim any id.
	maxSchemas = 1000
	// unknownFor is how long an id stays unknown: records that claim it must not each cost a request, and it may be registered soon.
	unknownFor = 10 * time.Second
)

// errUnknownSchema: the registry does not know the id.
var errUnknownSchema = errors.New("the registry does not know it")

// schemas keeps what was made of each id.
type schemas[V any] struct {
	fetch func(id int) (V, error)

	mu   sync.Mutex
	byID map[int]*schema[V]
}

// schema is what was made of one id, or is being made of it. Only fetched and expires may be looked at before fetched is closed.
type schema[V any] struct {
	fetched chan struct{} // closed by who fetches
	expires time.Time     // zero: never; guarded by schemas.mu
	value   V
	err     error
}

func newSchemas[V any](fetch func(id int) (V, error)) *schemas[V] {
	return &schemas[V]{fetch: fetch, byID: map[int]*schema[V]{}}
}

// get returns what was made of an id. The first to ask fetches it, in its own goroutine, and others that ask meanwhile wait.
func (s *schemas[V]) get(id int) (V, error) {
	s.mu.Lock()
	known, ok := s.byID[id]
	if ok && (known.expires.IsZero() || time.Now().Before(known.expires)) {
		s.mu.Unlock()
		<-known.fetched
		return known.value, known.err
	}
	if len(s.byID) >= maxSchemas {
		for other := range s.byID { // whichever: it is fetched again when it is met again
			delete(s.byID, other)
			break
		}
	}
	mine := &schema[V]{fetched: make(chan struct{})}
	s.byID[id] = mine
	s.mu.Unlock()
	s.fill(id, mine)
	return mine.value, mine.err
}

func (s *schemas[V]) fill(id int, mine *schema[V]) {
	keep, until := false, time.Time{}
	defer func() { // whoever waits must not wait for ever, whatever fetch does
		s.mu.Lock()
		mine.expires = until
		if !keep && s.byID[id] == mine {
			delete(s.byID, id)
		}
		s.mu.Unlock()
		close(mine.fetched)
	}()
	mine.err = kafka.NewTransientError("schema registry: the schema could not be read", nil) // if fetch panics
	mine.value, mine.err = s.fetch(id)
	keep = kafka.ClassOf(mine.err) != kafka.ClassTransient
	if errors.Is(mine.err, errUnknownSchema) {
		until = time.Now().Add(unknownFor)
	}
}
