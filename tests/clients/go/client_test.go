// Package clients runs Consul's own Go client, unmodified, against the lictor agent that CONSUL_HTTP_ADDR names.
package clients

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// Patience bounds every wait; no test depends on how long something takes within it.
const patience = 20 * time.Second

// connect makes a client of the agent under test.
func connect(t *testing.T) *api.Client {
	t.Helper()
	client, err := api.NewClient(api.DefaultConfig())
	must(t, err)
	return client
}

// must ends the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// check ends the test where a condition does not hold.
func check(t *testing.T, holds bool, text string, values ...interface{}) {
	t.Helper()
	if !holds {
		t.Fatalf(text, values...)
	}
}

// eventually polls until a condition holds; the last reason why it did not is the failure.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// receive takes the next value of a channel.
func receive[T any](t *testing.T, channel <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-channel:
		return value
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// unless is an error with this text where a condition does not hold.
func unless(holds bool, text string, values ...interface{}) error {
	if holds {
		return nil
	}
	return fmt.Errorf(text, values...)
}
