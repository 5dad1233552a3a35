package schemaregistry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/skeji/kafka"
)

const (
	// maxSchemas bounds what is kept: a topic has a handful, and whoever publishes may claim any id.
	maxSchemas = 1000
	// maxRefused bounds the ids that are kept as refused, beside the schemas, so that claimed ids displace none of
	// these.
	maxRefused = 1000
	// unknownFor is how long an id stays unknown: records that claim it must not each cost a request, and it may be
	// registered soon. So with answers that are too long, which may be another server's.
	unknownFor = 10 * time.Second
	// Of ids that turn out to be refused, the registry is asked for burst at once, and for rate in a second after that.
	// A topic has such ids by mistake or by attack; the registry serves others, too.
	burst = 100
	rate  = 20
	// askedAgainAfter is when a record is tried again whose id was not asked for: then a few partitions' records have
	// had their turn. Up to as much again is added at random.
	askedAgainAfter = 500 * time.Millisecond
)

// errUnknownSchema: the registry does not know the id.
var errUnknownSchema = errors.New("the registry does not know it")

// schemas keeps what was made of each id.
type schemas[K comparable, V any] struct {
	fetch func(id K) (V, error)

	mu       sync.Mutex
	byID     map[K]*schema[V] // those that can be used
	refused  map[K]*schema[V] // those that can't, by permanent errors
	fetching map[K]*schema[V]
	uses     int     // of byID and refused
	tokens   float64 // how many refused ids may be asked for
	counted  time.Time
}

// schema is what was made of one id, or is being made of it.
type schema[V any] struct {
	fetched chan struct{} // closed by who fetches; value and err are read after that
	value   V
	err     error

	used    int       // when, in uses of all; guarded by schemas.mu
	expires time.Time // zero: never; guarded by schemas.mu
}

func newSchemas[K comparable, V any](fetch func(id K) (V, error)) *schemas[K, V] {
	return &schemas[K, V]{
		fetch: fetch, byID: map[K]*schema[V]{}, refused: map[K]*schema[V]{}, fetching: map[K]*schema[V]{},
		tokens: burst, counted: time.Now(),
	}
}

// get returns what was made of an id. The first to ask fetches it, in its own goroutine, and others that ask meanwhile wait.
func (s *schemas[K, V]) get(id K) (V, error) {
	s.mu.Lock()
	if known := s.lookup(id); known != nil {
		s.mu.Unlock()
		<-known.fetched
		return known.value, known.err
	}
	if !s.take() {
		s.mu.Unlock()
		var none V
		text := fmt.Sprintf("schema registry: schema %v is not asked for: too many records claim ids that are refused", id)
		return none, kafka.NewTransientError(text, nil).WithRetryAfter(askedAgainAfter + rand.N(askedAgainAfter))
	}
	mine := &schema[V]{fetched: make(chan struct{})}
	s.fetching[id] = mine
	s.mu.Unlock()
	s.fill(id, mine)
	return mine.value, mine.err
}

// lookup returns what is known of an id, or being fetched. The mutex must be held.
func (s *schemas[K, V]) lookup(id K) *schema[V] {
	for _, known := range []*schema[V]{s.byID[id], s.refused[id]} {
		if known != nil && (known.expires.IsZero() || time.Now().Before(known.expires)) {
			s.uses++
			known.used = s.uses
			return known
		}
	}
	return s.fetching[id]
}

// take reports whether an id may be asked for that may turn out to be refused. The mutex must be held.
func (s *schemas[K, V]) take() bool {
	now := time.Now()
	s.tokens = min(burst, s.tokens+now.Sub(s.counted).Seconds()*rate)
	s.counted = now
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

func (s *schemas[K, V]) fill(id K, mine *schema[V]) {
	done := false
	defer func() { // whoever waits must not wait for ever, whatever fetch does
		s.mu.Lock()
		delete(s.fetching, id)
		if done {
			s.keep(id, mine)
		}
		s.mu.Unlock()
		close(mine.fetched)
	}()
	mine.err = kafka.NewTransientError("schema registry: the schema could not be read", nil) // if fetch panics
	mine.value, mine.err = s.fetch(id)
	done = true
}

// keep puts away what was made of an id. The mutex must be held.
func (s *schemas[K, V]) keep(id K, mine *schema[V]) {
	s.uses++
	mine.used = s.uses
	switch {
	case mine.err == nil:
		s.tokens++
		put(s.byID, maxSchemas, id, mine)
	case kafka.ClassOf(mine.err) == kafka.ClassTransient:
		s.tokens++ // outages are no claims
	default:
		if errors.Is(mine.err, errUnknownSchema) || errors.Is(mine.err, errTooLong) {
			mine.expires = time.Now().Add(unknownFor)
		}
		put(s.refused, maxRefused, id, mine)
	}
}

// put adds to a map, and takes out what was not used for longest if that is too much.
func put[K comparable, V any](kept map[K]*schema[V], most int, id K, added *schema[V]) {
	if _, ok := kept[id]; !ok && len(kept) >= most {
		oldest, used := id, added.used
		for other, known := range kept {
			if known.used < used {
				oldest, used = other, known.used
			}
		}
		delete(kept, oldest)
	}
	kept[id] = added
}
