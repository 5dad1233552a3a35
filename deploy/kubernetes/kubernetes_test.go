// Package kubernetes has the manifests of the example services, held to what these and the library heed.
package kubernetes

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skeji/kafka"
)

// A variable that nobody reads is a setting that somebody believes in.
func TestEveryVariableIsRead(t *testing.T) {
	known := map[string]bool{"KAFKA_TOPICS_MODE": true, "GOMEMLIMIT": true} // of package topics, of Go itself
	for _, match := range regexp.MustCompile(`env:"(KAFKA_\w+)"`).FindAllStringSubmatch(text(t, "../../env.go"), -1) {
		known[match[1]] = true
	}
	if len(known) < 20 {
		t.Fatalf("%d variables are known only: is env.go read?", len(known))
	}
	each(t, func(t *testing.T, name string, _ manifest, c container) {
		for _, variable := range c.Env {
			if _, own := addresses(t, name)[variable.Name]; !known[variable.Name] && !own {
				t.Errorf("%s is read by nobody", variable.Name)
			}
		}
	})
}

// The environment, with the files that are mounted, makes valid configs.
func TestTheLibraryTakesTheEnvironment(t *testing.T) {
	each(t, func(t *testing.T, _ string, m manifest, c container) {
		volumes, folders := map[string]bool{}, map[string]bool{}
		for _, volume := range m.Spec.Template.Spec.Volumes {
			volumes[volume.Name] = true
		}
		for _, mount := range c.VolumeMounts {
			if !volumes[mount.Name] {
				t.Errorf("there is no volume %s", mount.Name)
			}
			folders[mount.MountPath] = true
		}
		files := t.TempDir()
		for _, variable := range c.Env {
			value := variable.Value
			if strings.HasSuffix(variable.Name, "_FILE") {
				if !folders[path.Dir(value)] {
					t.Errorf("%s is %s, where nothing is mounted", variable.Name, value)
				}
				value = filepath.Join(files, variable.Name)
				if err := os.WriteFile(value, []byte("secret\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv(variable.Name, value)
		}
		cfg, err := kafka.NewConsumerConfigFromEnv("topic", "group")
		if err != nil {
			t.Fatal(err)
		}
		if cfg.ClientID != m.Metadata.Name || cfg.SASL.Password.Reveal() != "secret" {
			t.Errorf("config %v", cfg)
		}
	})
}

// addresses are the ports that a service listens on, by the variable that would say otherwise.
func addresses(t *testing.T, name string) map[string]int {
	t.Helper()
	found := map[string]int{}
	source := text(t, "../../examples/"+name+"/main.go") + text(t, "../../examples/internal/platform/serve.go")
	for _, match := range regexp.MustCompile(`Serve\("([A-Z_]+)", ":(\d+)"`).FindAllStringSubmatch(source, -1) {
		number, err := strconv.Atoi(match[2])
		if err != nil {
			t.Fatal(err)
		}
		found[match[1]] = number
	}
	return found
}

func TestPortsAreThoseThatTheServicesListenOn(t *testing.T) {
	each(t, func(t *testing.T, name string, m manifest, c container) {
		want := addresses(t, name)
		for _, variable := range c.Env {
			if _, own := want[variable.Name]; own {
				t.Errorf("%s is set: this test knows only the service's own default", variable.Name)
			}
		}
		byVariable := map[string]string{"PROBES_ADDRESS": "probes", "HTTP_ADDRESS": "http"}
		for variable, number := range want {
			if !slices.Contains(c.Ports, port{byVariable[variable], number}) {
				t.Errorf("the service listens on %d (%s), which is not among the ports %v", number, variable, c.Ports)
			}
		}
		if len(c.Ports) != len(want) {
			t.Errorf("ports %v, and the service listens on %v", c.Ports, want)
		}
		if scraped := m.Spec.Template.Metadata.Annotations["prometheus.io/port"]; scraped != strconv.Itoa(want["PROBES_ADDRESS"]) {
			t.Errorf("Prometheus is sent to port %s", scraped)
		}
		for _, service := range read(t, name)[1:] {
			if service.Kind != "Service" || service.Spec.Ports[0].TargetPort != "http" {
				t.Errorf("a %s that leads to %v", service.Kind, service.Spec.Ports)
			}
			for label, value := range service.Spec.Selector {
				if m.Spec.Template.Metadata.Labels[label] != value {
					t.Errorf("the Service selects %s=%s, and the pods have %v", label, value, m.Spec.Template.Metadata.Labels)
				}
			}
		}
	})
}

func TestProbesAskForWhatTheServicesAnswer(t *testing.T) {
	handler := kafka.HealthHandler()
	each(t, func(t *testing.T, _ string, _ manifest, c container) {
		for _, of := range []struct {
			name  string
			probe probe
			path  string
		}{{"startup", c.StartupProbe, "/livez"}, {"liveness", c.LivenessProbe, "/livez"}, {"readiness", c.ReadinessProbe, "/readyz"}} {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://pod"+of.probe.HTTPGet.Path, nil))
			if answer.Code != http.StatusOK || of.probe.HTTPGet.Path != of.path || of.probe.HTTPGet.Port != "probes" {
				t.Errorf("the %s probe asks port %s for %s and gets %d", of.name, of.probe.HTTPGet.Port, of.probe.HTTPGet.Path, answer.Code)
			}
		}
		// topics.Ensure takes a minute at most, and the constructors some seconds.
		if start := time.Duration(c.StartupProbe.PeriodSeconds*c.StartupProbe.FailureThreshold) * time.Second; start < 75*time.Second {
			t.Errorf("a service that waits for its topics is restarted after %v", start)
		}
	})
}

// The library's default is in config.go, the gateway's in its main.
func TestPodsHaveTheTimeToEnd(t *testing.T) {
	drain := seconds(t, "../../config.go", "defaultDrainTimeout")
	gateway := seconds(t, "../../examples/gateway/main.go", "shutdownTimeout") + seconds(t, "../../examples/gateway/main.go", "publishTimeout")
	const leaving = 10 * time.Second // the last commit, and the farewell to the group
	each(t, func(t *testing.T, name string, m manifest, c container) {
		want := drain + leaving
		if name == "gateway" {
			want = gateway + time.Duration(c.Lifecycle.PreStop.Sleep.Seconds)*time.Second
		}
		if grace := time.Duration(m.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second; grace <= want {
			t.Errorf("a pod has %v to end, and may need %v", grace, want)
		}
	})
}

func seconds(t *testing.T, file, constant string) time.Duration {
	t.Helper()
	match := regexp.MustCompile(constant + `\s+= (\d+) \* time\.Second`).FindStringSubmatch(text(t, file))
	if match == nil {
		t.Fatalf("%s does not say what %s is, in seconds", file, constant)
	}
	number, err := strconv.Atoi(match[1])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(number) * time.Second
}

func TestPodsAreBoundedAndUnprivileged(t *testing.T) {
	each(t, func(t *testing.T, _ string, m manifest, c container) {
		spec := m.Spec.Template.Spec
		if m.Spec.Replicas != 4 || c.Resources.Requests["cpu"] == "" || c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" {
			t.Errorf("%d replicas with the resources %v", m.Spec.Replicas, c.Resources)
		}
		if !spec.SecurityContext.RunAsNonRoot || !c.SecurityContext.ReadOnlyRootFilesystem ||
			c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation {
			t.Errorf("security: %v, %v", spec.SecurityContext, c.SecurityContext)
		}
		if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
			t.Error("service links are on: they may add variables that begin with KAFKA_")
		}
	})
}
