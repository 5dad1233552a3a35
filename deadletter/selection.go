package deadletter

import "fmt"

// Selection is the letters that a dry run would have sent: a bit for each. RedriveOptions.Only binds a run to it.
type Selection struct {
	topic   string
	id      [16]byte // of the topic: one that is made again has other letters at the same offsets
	letters map[int32]*sentOffsets
}

func newSelection(r *reader) *Selection {
	return &Selection{topic: r.topic, id: r.found.id, letters: map[int32]*sentOffsets{}}
}

// add is called with ascending offsets of a partition.
func (s *Selection) add(partition int32, offset int64) {
	chosen, ok := s.letters[partition]
	if !ok {
		chosen = &sentOffsets{base: offset}
		s.letters[partition] = chosen
	}
	chosen.add(offset, offset)
}

func (s *Selection) has(partition int32, offset int64) bool {
	chosen, ok := s.letters[partition]
	return ok && offset >= chosen.base && chosen.has(offset)
}

func (s *Selection) count() (n int64) {
	for _, chosen := range s.letters {
		n += chosen.count()
	}
	return n
}

// check returns an error if the selection is of another topic.
func (s *Selection) check(r *reader) error {
	switch {
	case s.topic != r.topic:
		return fmt.Errorf("deadletter: RedriveOptions.Only is a selection of letters of %s, not of %s", s.topic, r.topic)
	case s.id != r.found.id:
		return errMadeAgain
	}
	return nil
}
