//go:build synctests

package simulation

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fenceCommits does what Kafka does and the in-process cluster does not: a member that has lost a partition and joined again
// (KIP-848) may not commit it with its old epoch, once another member has committed it with a later one.
func (w *world) fenceCommits() {
	type owner struct {
		member string
		epoch  int32
	}
	latest := map[int32]owner{}
	w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		request := r.(*kmsg.OffsetCommitRequest)
		for _, t := range request.Topics {
			for _, p := range t.Partitions {
				switch before := latest[p.Partition]; {
				case before.member != request.MemberID && before.epoch > request.Generation:
					return staleCommit(request), nil, true
				case request.Generation >= before.epoch:
					latest[p.Partition] = owner{request.MemberID, request.Generation}
				}
			}
		}
		return nil, nil, false
	})
}

func staleCommit(request *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	response := request.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, t := range request.Topics {
		answer := kmsg.NewOffsetCommitResponseTopic()
		answer.Topic, answer.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetCommitResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, kerr.StaleMemberEpoch.Code
			answer.Partitions = append(answer.Partitions, partition)
		}
		response.Topics = append(response.Topics, answer)
	}
	return response
}
