package kubernetes

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What the tests read of a manifest; JSON finds the fields whatever their case.
type (
	manifest struct {
		Kind     string
		Metadata struct{ Name string }
		Spec     struct {
			Replicas int
			Selector map[string]any // of a Service: the labels
			Ports    []struct{ TargetPort string }
			Template struct {
				Metadata struct{ Labels, Annotations map[string]string }
				Spec     pod
			}
		}
	}
	pod struct {
		TerminationGracePeriodSeconds int
		EnableServiceLinks            *bool
		SecurityContext               struct{ RunAsNonRoot bool }
		Containers                    []container
		Volumes                       []struct{ Name string }
	}
	container struct {
		Env                                         []struct{ Name, Value string }
		Ports                                       []port
		StartupProbe, LivenessProbe, ReadinessProbe probe
		Lifecycle                                   struct {
			PreStop struct{ Sleep struct{ Seconds int } }
		}
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool
			ReadOnlyRootFilesystem   bool
		}
		VolumeMounts []struct{ Name, MountPath string }
	}
	port struct {
		Name          string
		ContainerPort int
	}
	probe struct {
		HTTPGet                         struct{ Path, Port string }
		PeriodSeconds, FailureThreshold int
	}
)

// each calls check with the Deployment of each service, and its container.
func each(t *testing.T, check func(t *testing.T, name string, m manifest, c container)) {
	for _, name := range []string{"gateway", "pipeline-executor", "bookings"} {
		t.Run(name, func(t *testing.T) {
			m := read(t, name)[0]
			containers := m.Spec.Template.Spec.Containers
			if m.Kind != "Deployment" || m.Metadata.Name != name || len(containers) != 1 {
				t.Fatalf("a %s called %s with %d containers", m.Kind, m.Metadata.Name, len(containers))
			}
			check(t, name, m, containers[0])
		})
	}
}

func read(t *testing.T, name string) []manifest { return readAs[manifest](t, name+".yaml") }

// readAs returns the documents of a file.
func readAs[M any](t *testing.T, file string) (all []M) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text(t, file)))
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all
		}
		var asJSON []byte
		if err == nil {
			asJSON, err = json.Marshal(document)
		}
		var m M
		if err == nil {
			err = json.Unmarshal(asJSON, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
