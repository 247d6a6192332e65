package clients

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func TestServiceHealthWhileBlocking(t *testing.T) {
	t.Parallel()
	client := connect(t)
	agent := client.Agent()
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{
		ID: "go-web-1", Name: "go-web", Tags: []string{"v1", "blue"}, Port: 8080, Address: "127.0.0.9",
		Meta:            map[string]string{"owner": "go"},
		Weights:         &api.AgentWeights{Passing: 3, Warning: 2},
		TaggedAddresses: map[string]api.ServiceAddress{"wan": {Address: "198.18.0.1", Port: 80}},
		Checks: api.AgentServiceChecks{
			{CheckID: "go-web-ttl", Name: "alive", TTL: "1h", Status: api.HealthWarning,
				DeregisterCriticalServiceAfter: "90m"},
			{CheckID: "go-web-http", HTTP: "http://" + api.DefaultConfig().Address + "/v1/status/leader",
				Interval: "1s", Timeout: "5s", Header: map[string][]string{"X-A": {"b"}}},
		},
	}))
	var meta *api.QueryMeta
	eventually(t, func() error {
		entries, answer, err := client.Health().Service("go-web", "v1", false, nil)
		if err != nil {
			return err
		}
		meta = answer
		if len(entries) != 1 || len(entries[0].Checks) != 3 {
			return unless(false, "entries %+v", entries)
		}
		for _, row := range entries[0].Checks {
			if row.CheckID == "go-web-http" && row.Status != api.HealthPassing {
				return unless(false, "the HTTP check is %s: %s", row.Status, row.Output)
			}
		}
		return nil
	})
	entries, _, err := client.Health().ServiceMultipleTags("go-web", []string{"v1", "blue"}, false,
		&api.QueryOptions{Filter: `Service.Meta.owner == "go"`, Near: "_agent"})
	must(t, err)
	check(t, len(entries) == 1, "entries %+v", entries)
	entry := entries[0]
	check(t, entry.Service.Weights == api.AgentWeights{Passing: 3, Warning: 2}, "%+v", entry.Service.Weights)
	check(t, entry.Service.TaggedAddresses["wan"].Port == 80, "%+v", entry.Service.TaggedAddresses)
	check(t, entry.Checks.AggregatedStatus() == api.HealthWarning, "%s", entry.Checks.AggregatedStatus())
	passing, _, err := client.Health().Service("go-web", "", true, nil)
	must(t, err)
	check(t, len(passing) == 0, "a warning is not passing")

	woken := make(chan []*api.ServiceEntry, 1)
	go func() {
		options := &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: patience}
		for {
			entries, answer, err := client.Health().Service("go-web", "", true, options)
			if err != nil {
				t.Error(err)
			}
			if err != nil || len(entries) > 0 {
				woken <- entries
				return
			}
			options.WaitIndex = answer.LastIndex
		}
	}()
	must(t, agent.UpdateTTL("go-web-ttl", "all is well", api.HealthPassing))
	check(t, len(receive(t, woken, "the blocking health read")) == 1, "woke with nothing")

	status, info, err := agent.AgentHealthServiceByID("go-web-1")
	must(t, err)
	check(t, status == api.HealthPassing && info.Service.Port == 8080, "%s %+v", status, info)
	status, infos, err := agent.AgentHealthServiceByName("go-web")
	must(t, err)
	check(t, status == api.HealthPassing && len(infos) == 1, "%s %+v", status, infos)
	must(t, agent.EnableServiceMaintenance("go-web-1", "go on"))
	_, info, err = agent.AgentHealthServiceByID("go-web-1")
	must(t, err)
	check(t, info.AggregatedStatus == api.HealthMaint, "in maintenance it is %s", info.AggregatedStatus)
	must(t, agent.DisableServiceMaintenance("go-web-1"))

	service, _, err := agent.Service("go-web-1", nil)
	must(t, err)
	check(t, service.ContentHash != "" && service.Service == "go-web", "%+v", service)
	services, err := agent.ServicesWithFilter(`Service == "go-web" and "blue" in Tags`)
	must(t, err)
	check(t, len(services) == 1, "%+v", services)
	checks, err := agent.ChecksWithFilter(`ServiceID == "go-web-1"`)
	must(t, err)
	check(t, len(checks) == 2, "%+v", checks)
	must(t, agent.ServiceDeregister("go-web-1"))
	check(t, agent.ServiceDeregister("go-web-1") != nil, "an unknown service went twice")
}

func TestSidecarIsRegisteredWithItsService(t *testing.T) {
	t.Parallel()
	agent := connect(t).Agent()
	must(t, agent.ServiceRegisterOpts(&api.AgentServiceRegistration{
		Name: "go-mesh", Port: 9090,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Proxy: &api.AgentServiceConnectProxyConfig{
				Upstreams: []api.Upstream{{DestinationName: "go-up", LocalBindPort: 9191}}}}},
	}, api.ServiceRegisterOpts{ReplaceExistingChecks: true}))
	sidecar, _, err := agent.Service("go-mesh-sidecar-proxy", nil)
	must(t, err)
	check(t, sidecar.Kind == api.ServiceKindConnectProxy && sidecar.Port >= 21000, "%+v", sidecar)
	check(t, sidecar.Proxy.DestinationServiceName == "go-mesh" && len(sidecar.Proxy.Upstreams) == 1, "%+v", sidecar.Proxy)
	eventually(t, func() error {
		entries, _, err := connect(t).Health().Connect("go-mesh", "", false, nil)
		if err != nil {
			return err
		}
		return unless(len(entries) == 1, "entries %+v", entries)
	})
	must(t, agent.ServiceDeregister("go-mesh"))
}

func TestChecksOfTheAgent(t *testing.T) {
	t.Parallel()
	agent := connect(t).Agent()
	// One of the node would make the services of all other tests critical.
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{Name: "go-checked"}))
	must(t, agent.CheckRegister(&api.AgentCheckRegistration{
		ID: "go-check", Name: "memory", Notes: "enough", ServiceID: "go-checked",
		AgentServiceCheck: api.AgentServiceCheck{TTL: "1h"}}))
	for _, set := range []func(string, string) error{agent.PassTTL, agent.WarnTTL, agent.FailTTL} {
		must(t, set("go-check", "said so"))
	}
	checks, err := agent.Checks()
	must(t, err)
	check(t, checks["go-check"].Status == api.HealthCritical && checks["go-check"].Output == "said so",
		"%+v", checks["go-check"])
	must(t, agent.CheckDeregister("go-check"))
	must(t, agent.ServiceDeregister("go-checked"))
	self, err := agent.Self()
	must(t, err)
	check(t, self["Config"]["Datacenter"] == "dc1", "%+v", self["Config"])
	members, err := agent.MembersOpts(api.MembersOpts{Segment: api.AllSegments})
	must(t, err)
	check(t, len(members) == 1 && members[0].Status == 1, "%+v", members)
	metrics, err := agent.Metrics()
	must(t, err)
	check(t, metrics.Timestamp != "", "%+v", metrics)
	host, err := agent.Host()
	must(t, err)
	check(t, host["Memory"] != nil, "%+v", host)
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	client := connect(t)
	catalog := client.Catalog()
	_, err := catalog.Register(&api.CatalogRegistration{
		Node: "go-ext", Address: "192.0.2.1", NodeMeta: map[string]string{"external-node": "true"},
		Service: &api.AgentService{ID: "go-db1", Service: "go-db", Port: 5432, Tags: []string{"primary"}},
		Checks: api.HealthChecks{{CheckID: "go-db", Name: "db", Status: api.HealthPassing, ServiceID: "go-db1",
			Definition: api.HealthCheckDefinition{TCP: "192.0.2.1:5432", IntervalDuration: 30 * time.Second,
				TimeoutDuration: 2 * time.Second}}},
	}, nil)
	must(t, err)
	found, meta, err := catalog.Service("go-db", "primary", &api.QueryOptions{
		NodeMeta: map[string]string{"external-node": "true"}, AllowStale: true, MaxAge: time.Second})
	must(t, err)
	check(t, len(found) == 1 && found[0].ServicePort == 5432 && found[0].Address == "192.0.2.1", "%+v", found)
	check(t, meta.KnownLeader, "%+v", meta)
	node, _, err := catalog.Node("go-ext", nil)
	must(t, err)
	check(t, node.Node.Node == "go-ext" && node.Services["go-db1"].Port == 5432, "%+v", node)
	list, _, err := catalog.NodeServiceList("go-ext", nil)
	must(t, err)
	check(t, len(list.Services) == 1, "%+v", list)
	checks, _, err := client.Health().Checks("go-db", nil)
	must(t, err)
	check(t, len(checks) == 1 && checks[0].Definition.IntervalDuration == 30*time.Second, "%+v", checks)
	state, _, err := client.Health().State(api.HealthAny, &api.QueryOptions{Filter: `Node == "go-ext"`})
	must(t, err)
	check(t, len(state) == 1, "%+v", state)
	datacenters, err := catalog.Datacenters()
	must(t, err)
	check(t, len(datacenters) == 1 && datacenters[0] == "dc1", "%+v", datacenters)
	_, err = catalog.Deregister(&api.CatalogDeregistration{Node: "go-ext", ServiceID: "go-db1"}, nil)
	must(t, err)
	found, _, err = catalog.Service("go-db", "", nil)
	must(t, err)
	check(t, len(found) == 0, "%+v", found)
	_, err = catalog.Deregister(&api.CatalogDeregistration{Node: "go-ext"}, nil)
	must(t, err)
	_, _, err = catalog.Nodes(&api.QueryOptions{Datacenter: "dc9"})
	check(t, err != nil, "an unknown datacenter answered")
}

func TestPreparedQueries(t *testing.T) {
	t.Parallel()
	client := connect(t)
	queries := client.PreparedQuery()
	must(t, client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "go-asked", Port: 81, Tags: []string{"x"}}))
	eventually(t, func() error {
		found, _, err := client.Catalog().Service("go-asked", "", nil)
		if err != nil {
			return err
		}
		return unless(len(found) == 1, "not in the catalog yet")
	})
	definition := &api.PreparedQueryDefinition{
		Name:    "go-query",
		Service: api.ServiceQuery{Service: "go-asked", OnlyPassing: true, Tags: []string{"x", "!y"}, Near: "_agent"},
		DNS:     api.QueryDNSOptions{TTL: "7s"},
	}
	id, _, err := queries.Create(definition, nil)
	must(t, err)
	read, _, err := queries.Get(id, nil)
	must(t, err)
	check(t, len(read) == 1 && read[0].Name == "go-query" && read[0].DNS.TTL == "7s", "%+v", read)
	for _, name := range []string{id, "go-query"} {
		answer, _, err := queries.Execute(name, nil)
		must(t, err)
		check(t, len(answer.Nodes) == 1 && answer.Nodes[0].Service.Port == 81, "%+v", answer)
		check(t, answer.DNS.TTL == "7s" && answer.Failovers == 0, "%+v", answer)
	}
	definition.ID, definition.Service.Tags = id, []string{"y"}
	_, err = queries.Update(definition, nil)
	must(t, err)
	answer, _, err := queries.Execute(id, nil)
	must(t, err)
	check(t, len(answer.Nodes) == 0, "%+v", answer)
	list, _, err := queries.List(nil)
	must(t, err)
	check(t, len(list) >= 1, "%+v", list)
	_, err = queries.Delete(id, nil)
	must(t, err)
	_, _, err = queries.Get(id, nil)
	check(t, err != nil, "a deleted query answered")
	must(t, client.Agent().ServiceDeregister("go-asked"))
}
