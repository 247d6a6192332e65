package clients

import (
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

// follow runs a watch plan until the test is over and returns what its handler is given.
func follow(t *testing.T, parameters map[string]interface{}) <-chan interface{} {
	t.Helper()
	plan, err := watch.Parse(parameters)
	must(t, err)
	values := make(chan interface{}, 100)
	plan.Handler = func(_ uint64, value interface{}) { values <- value }
	ended := make(chan error, 1)
	go func() { ended <- plan.RunWithConfig(api.DefaultConfig().Address, nil) }()
	t.Cleanup(func() {
		plan.Stop()
		must(t, receive(t, ended, "the end of the plan"))
	})
	return values
}

// until takes values from a watch until one is as wanted.
func until(t *testing.T, values <-chan interface{}, wanted func(interface{}) bool) {
	t.Helper()
	for !wanted(receive(t, values, "a watch")) {
	}
}

func TestWatchPlansOfKeys(t *testing.T) {
	t.Parallel()
	kv := connect(t).KV()
	key := follow(t, map[string]interface{}{"type": "key", "key": "go/watch/a"})
	prefix := follow(t, map[string]interface{}{"type": "keyprefix", "prefix": "go/watch/"})
	for _, text := range []string{"1", "2"} {
		_, err := kv.Put(&api.KVPair{Key: "go/watch/a", Value: []byte(text)}, nil)
		must(t, err)
		until(t, key, func(value interface{}) bool {
			pair, _ := value.(*api.KVPair)
			return pair != nil && string(pair.Value) == text
		})
	}
	_, err := kv.Put(&api.KVPair{Key: "go/watch/b", Value: nil}, nil)
	must(t, err)
	until(t, prefix, func(value interface{}) bool {
		pairs, _ := value.(api.KVPairs)
		return len(pairs) == 2
	})
	_, err = kv.DeleteTree("go/watch/", nil)
	must(t, err)
	until(t, key, func(value interface{}) bool { return value == nil })
	until(t, prefix, func(value interface{}) bool {
		pairs, _ := value.(api.KVPairs)
		return len(pairs) == 0
	})
}

func TestWatchPlansOfServices(t *testing.T) {
	t.Parallel()
	client := connect(t)
	service := follow(t, map[string]interface{}{"type": "service", "service": "go-watched", "passingonly": true})
	services := follow(t, map[string]interface{}{"type": "services"})
	nodes := follow(t, map[string]interface{}{"type": "nodes"})
	checks := follow(t, map[string]interface{}{"type": "checks", "state": "critical"})
	must(t, client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: "go-watched", Port: 90, Check: &api.AgentServiceCheck{CheckID: "go-watched", TTL: "1h"}}))
	until(t, services, func(value interface{}) bool {
		_, there := value.(map[string][]string)["go-watched"]
		return there
	})
	until(t, checks, func(value interface{}) bool {
		for _, row := range value.([]*api.HealthCheck) {
			if row.CheckID == "go-watched" {
				return true
			}
		}
		return false
	})
	until(t, nodes, func(value interface{}) bool { return len(value.([]*api.Node)) >= 1 })
	must(t, client.Agent().UpdateTTL("go-watched", "up", api.HealthPassing))
	until(t, service, func(value interface{}) bool { return len(value.([]*api.ServiceEntry)) == 1 })
	must(t, client.Agent().ServiceDeregister("go-watched"))
	until(t, service, func(value interface{}) bool { return len(value.([]*api.ServiceEntry)) == 0 })
}

func TestWatchPlanOfEvents(t *testing.T) {
	t.Parallel()
	client := connect(t)
	events := follow(t, map[string]interface{}{"type": "event", "name": "go-deploy"})
	id, _, err := client.Event().Fire(&api.UserEvent{Name: "go-deploy", Payload: []byte("v1\x00")}, nil)
	must(t, err)
	until(t, events, func(value interface{}) bool {
		for _, event := range value.([]*api.UserEvent) {
			if event.ID == id && string(event.Payload) == "v1\x00" {
				return true
			}
		}
		return false
	})
	listed, meta, err := client.Event().List("go-deploy", nil)
	must(t, err)
	check(t, len(listed) == 1 && meta.LastIndex == client.Event().IDToIndex(id), "%+v %d", listed, meta.LastIndex)
}

func TestWatchPlansOfTheMesh(t *testing.T) {
	t.Parallel()
	roots := follow(t, map[string]interface{}{"type": "connect_roots"})
	until(t, roots, func(value interface{}) bool {
		list := value.(*api.CARootList)
		return len(list.Roots) >= 1 && list.ActiveRootID != "" && list.TrustDomain != ""
	})
	leaf := follow(t, map[string]interface{}{"type": "connect_leaf", "service": "go-leaf"})
	until(t, leaf, func(value interface{}) bool {
		certificate := value.(*api.LeafCert)
		return certificate.Service == "go-leaf" && certificate.CertPEM != "" && certificate.PrivateKeyPEM != ""
	})
}
