package integration

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// buildExamples makes programs of the examples of that name, in a folder. The root module has all that they need.
func buildExamples(t *testing.T, names ...string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", folder)
	build.Dir = ".."
	for _, name := range names {
		build.Args = append(build.Args, "./examples/"+name)
	}
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	return folder
}

// program is a process of an example service.
type program struct {
	name    string
	process *exec.Cmd
	log     output
	ended   chan struct{}
}

// output is what a process writes. It comes through a pipe, so that a process whose test is gone ends with its next line.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startProgram starts a program of the folder. It is killed at the test's end, if it runs then.
func startProgram(t *testing.T, folder, name string, seeds []string) *program {
	t.Helper()
	p := &program{name: name, process: exec.Command(filepath.Join(folder, name)), ended: make(chan struct{})}
	p.process.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KAFKA_") })
	p.process.Env = append(p.process.Env, "KAFKA_BROKERS="+strings.Join(seeds, ","), "HTTP_ADDRESS=127.0.0.1:0", "PROBES_ADDRESS=127.0.0.1:0")
	p.process.Stderr = &p.log
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = p.process.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text := p.log.String()
			t.Logf("the end of what %s logged:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return p
}

// address is where the program serves what the variable is for; "" if it does not yet.
func (p *program) address(variable string) string {
	found := regexp.MustCompile(` variable=` + variable + ` address=(\S+)`).FindStringSubmatch(p.log.String())
	if found == nil {
		return ""
	}
	return found[1]
}

// ready asks the program's probe.
func (p *program) ready(ctx context.Context) bool {
	probes := p.address("PROBES_ADDRESS")
	if probes == "" {
		return false
	}
	asked, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+probes+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(asked)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// kill ends the program as a crash would.
func (p *program) kill() {
	_ = p.process.Process.Kill() // which does nothing if it has ended
	<-p.ended
}

// terminate ends the program as Kubernetes would, and wants it to end well.
func (p *program) terminate(t *testing.T) {
	t.Helper()
	_ = p.process.Process.Signal(syscall.SIGTERM)
	await(t, p.name+" ends", p.ended)
	if code := p.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with %d", p.name, code)
	}
}
