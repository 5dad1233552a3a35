package kubernetes

import (
	"slices"
	"testing"
)

// A policy that selects no pod, or another port, protects nobody and says nothing.

func TestEveryServiceHasADisruptionBudget(t *testing.T) {
	budgets := map[string]policy{}
	for _, budget := range readAs[policy](t, "availability.yaml") {
		budgets[budget.Metadata.Name] = budget
	}
	each(t, func(t *testing.T, name string, m manifest, _ container) {
		budget := budgets[name]
		if budget.Kind != "PodDisruptionBudget" || budget.Spec.MaxUnavailable != 1 || !budget.Spec.Selector.selects(m) {
			t.Errorf("no budget for %v: %+v", m.Spec.Template.Metadata.Labels, budget)
		}
		if m.Spec.Replicas <= budget.Spec.MaxUnavailable {
			t.Errorf("%d replicas: none is left while one is away", m.Spec.Replicas)
		}
	})
}

func TestNetworkPoliciesAreForThePortsThatThereAre(t *testing.T) {
	policies := readAs[policy](t, "network.yaml")
	each(t, func(t *testing.T, name string, m manifest, c container) {
		var in, out []int
		isolated := false
		for _, p := range policies {
			if p.Kind != "NetworkPolicy" {
				t.Fatalf("a %s", p.Kind)
			}
			if !p.Spec.PodSelector.selects(m) {
				continue
			}
			isolated = isolated || slices.Contains(p.Spec.PolicyTypes, "Ingress") && slices.Contains(p.Spec.PolicyTypes, "Egress")
			for _, rule := range p.Spec.Ingress {
				if len(rule.From) == 0 {
					t.Error("a rule lets everybody in")
				}
				in = append(in, rule.numbers()...)
			}
			for _, rule := range p.Spec.Egress {
				if len(rule.To) == 0 {
					t.Error("a rule lets everything out")
				}
				out = append(out, rule.numbers()...)
			}
		}
		var want []int
		for _, port := range c.Ports {
			want = append(want, port.ContainerPort)
		}
		slices.Sort(in)
		slices.Sort(want)
		if !isolated || !slices.Equal(in, want) {
			t.Errorf("isolated: %t; it lets in on %v, and the pod listens on %v", isolated, in, want)
		}
		if !slices.Contains(out, 9093) || !slices.Contains(out, 53) {
			t.Errorf("it lets out to %v: neither brokers nor names without 9093 and 53", out)
		}
	})
}

type (
	policy struct {
		Kind     string
		Metadata struct{ Name string }
		Spec     struct {
			MaxUnavailable  int
			Selector        selector // of a budget
			PodSelector     selector // of a network policy
			PolicyTypes     []string
			Ingress, Egress []rule
		}
	}
	selector struct{ MatchLabels map[string]string }
	rule     struct {
		From, To []any
		Ports    []struct{ Port int }
	}
)

// selects tells whether the pods of a Deployment have the labels.
func (s selector) selects(m manifest) bool {
	for label, value := range s.MatchLabels {
		if m.Spec.Template.Metadata.Labels[label] != value {
			return false
		}
	}
	return len(s.MatchLabels) > 0
}

func (r rule) numbers() (numbers []int) {
	for _, port := range r.Ports {
		numbers = append(numbers, port.Port)
	}
	return numbers
}
