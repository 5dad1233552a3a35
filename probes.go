package kafka

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// This file answers probes over HTTP.

// HealthReporter is a [Consumer] of any type.
type HealthReporter interface{ Health() Health }

// HealthHandler answers Kubernetes' probes: GET /livez and GET /readyz, with 200 and {"ok":true}, or 503 and
// {"ok":false}. It names nothing, so that the port may be open to whoever probes; [HealthDetails] says why. It makes no
// request, so that brokers that are slow don't fail a probe, and asks the consumers once a second at most, however often
// it is asked.
//
//	go http.ListenAndServe(":8080", kafka.HealthHandler(consumer))
func HealthHandler(consumers ...HealthReporter) http.Handler {
	mux := http.NewServeMux()
	for path, passes := range map[string]func(Health) bool{"/livez": Health.Live, "/readyz": Health.Ready} {
		answer := lasting(func() probeAnswer { return probeAnswer{OK: all(consumers, passes)} })
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { answer().write(w) })
	}
	return mux
}

// HealthDetails answers any GET with the [Health] of each consumer as JSON, for people: with 200 if all are live and
// ready, and 503 otherwise. It asks the consumers once a second at most.
//
//	mux.Handle("/healthz", kafka.HealthDetails(consumer))
//
// The texts name topics, partitions, brokers and users, no keys, no values, and nothing that a handler said: keep it on a
// port that only operators reach.
func HealthDetails(consumers ...HealthReporter) http.Handler {
	answer := lasting(func() probeAnswer {
		a := probeAnswer{OK: true, Consumers: make([]Health, len(consumers))}
		for i, consumer := range consumers {
			a.Consumers[i] = consumer.Health()
			a.OK = a.OK && a.Consumers[i].Live() && a.Consumers[i].Ready()
		}
		return a
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		answer().write(w)
	})
}

func all(consumers []HealthReporter, passes func(Health) bool) bool {
	for _, consumer := range consumers {
		if !passes(consumer.Health()) {
			return false
		}
	}
	return true
}

// probeAnswer is the body of an answer.
type probeAnswer struct {
	OK        bool     `json:"ok"`
	Consumers []Health `json:"consumers,omitempty"`
}

func (a probeAnswer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !a.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(a)
}

// probeLasts is how long an answer is given again.
const probeLasts = time.Second

// lasting returns a function that calls ask, and returns what it has returned before while that is not old.
func lasting(ask func() probeAnswer) func() probeAnswer {
	var mu sync.Mutex
	var at time.Time
	var latest probeAnswer
	return func() probeAnswer {
		mu.Lock()
		defer mu.Unlock()
		if at.IsZero() || time.Since(at) >= probeLasts {
			latest, at = ask(), time.Now()
		}
		return latest
	}
}
