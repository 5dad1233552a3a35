package deadletter_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

func TestPermissionsThatAreMissingAreNamedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	all := map[string]kfake.ACL{}
	allow := func(name string, kind kmsg.ACLResourceType, resource string, operation kmsg.ACLOperation) {
		all[name] = kfake.ACL{Resource: kind, Name: resource, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true}
	}
	allow("read letters", kmsg.ACLResourceTypeTopic, dlq, kmsg.ACLOperationRead)
	allow("write marks", kmsg.ACLResourceTypeTopic, dlq, kmsg.ACLOperationWrite)
	allow("write records", kmsg.ACLResourceTypeTopic, source, kmsg.ACLOperationWrite)
	allow("transact", kmsg.ACLResourceTypeTransactionalId, deadletter.GroupOf(dlq), kmsg.ACLOperationWrite)
	allow("join", kmsg.ACLResourceTypeGroup, deadletter.GroupOf(dlq), kmsg.ACLOperationRead)
	for missing, named := range map[string]string{
		"": "", "write marks": "topic " + dlq, "write records": "topic " + source, "join": "group " + deadletter.GroupOf(dlq),
		"transact": "transactional id " + deadletter.GroupOf(dlq),
	} {
		var granted []kfake.ACL
		for name, acl := range all {
			if name != missing {
				granted = append(granted, acl)
			}
		}
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(3, source, dlq),
			kfake.Superuser("PLAIN", "admin", "admin"), kfake.User("PLAIN", "app", "app", granted...))
		if err != nil {
			t.Fatal(err)
		}
		connect := func(user string) *kafka.Client {
			client, err := kafka.NewClient(kafka.ClientConfig{
				Brokers: cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler),
				SASL: kafka.SASLConfig{Mechanism: "PLAIN", Username: user, Password: kafka.NewSecret(user)},
			})
			if err != nil {
				t.Fatal(err)
			}
			return client
		}
		admin, app := connect("admin"), connect("app")
		if err := admin.KGO().ProduceSync(t.Context(), letter(0, 0)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		stats, err := deadletter.ReadStats(t.Context(), app, dlq, deadletter.Filter{})
		if err != nil || stats.Letters != 1 {
			t.Errorf("without %q: %+v, %v", missing, stats, err)
		}
		result, err := deadletter.Redrive(t.Context(), app, dlq, deadletter.RedriveOptions{})
		switch {
		case missing == "" && (err != nil || result.Sent != 1):
			t.Errorf("with all: %+v, %v", result, err)
		case missing != "" && (result.Sent != 0 || !errors.Is(err, kafka.ErrAuthorization) || !strings.Contains(err.Error(), named)):
			t.Errorf("without %q: %+v, %v", missing, result, err)
		}
		if missing == "transact" { // and may be done without
			if !errors.Is(err, deadletter.ErrNoTransactions) {
				t.Errorf("without %q: %v", missing, err)
			}
			if result, err := deadletter.Redrive(t.Context(), app, dlq, deadletter.RedriveOptions{NoTransactions: true}); err != nil || result.Sent != 1 {
				t.Errorf("without %q and without transactions: %+v, %v", missing, result, err)
			}
		}
		_, _ = admin.Close(), app.Close()
		cluster.Close()
	}
}
