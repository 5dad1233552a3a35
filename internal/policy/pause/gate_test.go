package pause

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAGateOpensWhenItsLastHolderLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		if g.Closed() || g.Open("nobody") || !g.Await(nil) {
			t.Error("the zero value is not open")
		}
		began := time.Now()
		if !g.Close("a", "one") || g.Close("b", "two") || g.Close("a", "another") {
			t.Error("Close reports something else than that the gate was open")
		}
		time.Sleep(time.Minute)
		if since, why := g.State(); !since.Equal(began) || why != "another; two" {
			t.Errorf("closed since %v for %q", since, why)
		}
		var passed sync.WaitGroup
		for range 3 {
			passed.Go(func() {
				if !g.Await(nil) {
					t.Error("Await is false without a stop")
				}
				if waited := time.Since(began); waited != 2*time.Minute {
					t.Errorf("passed after %v", waited)
				}
			})
		}
		if g.Open("a") || !g.Closed() {
			t.Error("it is open while b holds it")
		}
		time.Sleep(time.Minute)
		if !g.Open("b") || g.Closed() || g.Open("b") {
			t.Error("it is closed, and nobody holds it")
		}
		passed.Wait()
		if since, why := g.State(); !since.IsZero() || why != "" {
			t.Errorf("open, and closed since %v for %q", since, why)
		}
	})
}

func TestAwaitEndsWithStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		g.Close("a", "")
		stop := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(stop) })
		if g.Await(stop) || !g.Closed() {
			t.Error("it passed a closed gate")
		}
	})
}

// A waiter can miss that the gate was opened and closed again meanwhile: it waits on then, and never for ever.
func TestAwaitWhileOthersOpenAndClose(t *testing.T) {
	var g Gate
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			for range 1000 {
				g.Close(name, name)
				g.State()
				g.Open(name)
				g.Await(nil)
			}
		})
	}
	all.Wait()
	if g.Closed() {
		t.Error("closed, and nobody holds it")
	}
}
