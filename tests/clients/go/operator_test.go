package clients

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// Not parallel: a restored snapshot takes back what other tests do meanwhile.
func TestSnapshotTakesBack(t *testing.T) {
	client := connect(t)
	_, err := client.KV().Put(&api.KVPair{Key: "go/snapshot", Value: []byte("before")}, nil)
	must(t, err)
	reader, meta, err := client.Snapshot().Save(nil)
	must(t, err)
	archive, err := io.ReadAll(reader)
	must(t, err)
	must(t, reader.Close())
	check(t, len(archive) > 0 && meta.LastIndex > 0, "%d bytes, %+v", len(archive), meta)
	_, err = client.KV().Put(&api.KVPair{Key: "go/snapshot", Value: []byte("after")}, nil)
	must(t, err)
	must(t, client.Snapshot().Restore(nil, bytes.NewReader(archive)))
	pair, _, err := client.KV().Get("go/snapshot", nil)
	must(t, err)
	check(t, pair != nil && string(pair.Value) == "before", "%+v", pair)
	check(t, client.Snapshot().Restore(nil, bytes.NewReader([]byte("no archive"))) != nil, "nonsense was restored")
	_, err = client.KV().Delete("go/snapshot", nil)
	must(t, err)
}

func TestOperator(t *testing.T) {
	t.Parallel()
	client := connect(t)
	operator := client.Operator()
	raft, err := operator.RaftGetConfiguration(nil)
	must(t, err)
	check(t, len(raft.Servers) == 1 && raft.Servers[0].Leader && raft.Servers[0].Voter, "%+v", raft)
	leader, err := client.Status().Leader()
	must(t, err)
	check(t, leader == raft.Servers[0].Address, "%s and %+v", leader, raft.Servers[0])
	peers, err := client.Status().Peers()
	must(t, err)
	check(t, len(peers) == 1 && peers[0] == leader, "%v", peers)
	check(t, operator.RaftRemovePeerByAddress("127.0.0.7:1", nil) != nil, "an unknown peer was removed")

	pilot, err := operator.AutopilotGetConfiguration(nil)
	must(t, err)
	pilot.MaxTrailingLogs = 251
	changed, err := operator.AutopilotCASConfiguration(pilot, nil)
	must(t, err)
	check(t, changed, "autopilot's configuration was refused")
	changed, err = operator.AutopilotCASConfiguration(pilot, nil)
	must(t, err)
	check(t, !changed, "an old configuration of autopilot was taken")
	check(t, pilot.LastContactThreshold.Duration() == 200*time.Millisecond, "%v", pilot.LastContactThreshold)
	eventually(t, func() error {
		health, err := operator.AutopilotServerHealth(nil)
		if err != nil {
			return err
		}
		return unless(health.Healthy && len(health.Servers) == 1, "%+v", health)
	})
	state, err := operator.AutopilotState(nil)
	must(t, err)
	check(t, state.Leader == raft.Servers[0].ID, "%+v", state)
	_, err = operator.KeyringList(nil)
	check(t, err != nil, "a keyring without encryption")
}

func TestConfigEntries(t *testing.T) {
	t.Parallel()
	entries := connect(t).ConfigEntries()
	set := func(entry api.ConfigEntry) {
		t.Helper()
		done, _, err := entries.Set(entry, nil)
		must(t, err)
		check(t, done, "%s %s was not set", entry.GetKind(), entry.GetName())
	}
	set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "go-c", Protocol: "http",
		Meta: map[string]string{"a": "b"}, UpstreamConfig: &api.UpstreamConfiguration{
			Defaults: &api.UpstreamConfig{ConnectTimeoutMs: 1500}}})
	set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "go-c2", Protocol: "http"})
	set(&api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "go-c", DefaultSubset: "v1",
		ConnectTimeout: 3 * time.Second, Subsets: map[string]api.ServiceResolverSubset{
			"v1": {Filter: "Service.Meta.version == 1"}, "v2": {OnlyPassing: true}}})
	set(&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "go-c", Splits: []api.ServiceSplit{
		{Weight: 90, ServiceSubset: "v1"}, {Weight: 10, ServiceSubset: "v2"}}})
	set(&api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: "go-c", Routes: []api.ServiceRoute{{
		Match:       &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{PathPrefix: "/admin"}},
		Destination: &api.ServiceRouteDestination{Service: "go-c2", RequestTimeout: 4 * time.Second, NumRetries: 2}}}})
	set(&api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "go-c", Sources: []*api.SourceIntention{
		{Name: "go-front", Action: api.IntentionActionAllow}}})

	read, _, err := entries.Get(api.ServiceResolver, "go-c", nil)
	must(t, err)
	resolver := read.(*api.ServiceResolverConfigEntry)
	check(t, resolver.ConnectTimeout == 3*time.Second && len(resolver.Subsets) == 2, "%+v", resolver)
	read, _, err = entries.Get(api.ServiceRouter, "go-c", nil)
	must(t, err)
	router := read.(*api.ServiceRouterConfigEntry)
	check(t, router.Routes[0].Destination.RequestTimeout == 4*time.Second, "%+v", router.Routes[0].Destination)
	read, _, err = entries.Get(api.ServiceSplitter, "go-c", nil)
	must(t, err)
	check(t, read.(*api.ServiceSplitterConfigEntry).Splits[0].Weight == 90, "%+v", read)
	listed, _, err := entries.List(api.ServiceDefaults, nil)
	must(t, err)
	check(t, len(listed) >= 2, "%+v", listed)

	old, _, err := entries.CAS(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "go-c", Protocol: "grpc"}, 1, nil)
	must(t, err)
	check(t, !old, "an entry was set at an old index")
	_, _, err = entries.Set(&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "go-c",
		Splits: []api.ServiceSplit{{Weight: 50}}}, nil)
	check(t, err != nil, "half a splitter was taken")

	chain, _, err := connect(t).DiscoveryChain().Get("go-c", nil, nil)
	must(t, err)
	check(t, chain.Chain.Protocol == "http" && len(chain.Chain.Targets) == 3, "%+v", chain.Chain)
	start := chain.Chain.Nodes[chain.Chain.StartNode]
	check(t, start.Type == api.DiscoveryGraphNodeTypeRouter && len(start.Routes) == 2, "%+v", start)

	for _, kind := range []string{api.ServiceRouter, api.ServiceSplitter, api.ServiceResolver, api.ServiceIntentions,
		api.ServiceDefaults} {
		_, err = entries.Delete(kind, "go-c", nil)
		must(t, err)
	}
	_, _, err = entries.Get(api.ServiceDefaults, "go-c", nil)
	check(t, err != nil, "a deleted entry answered")
}

func TestProxyDefaultsAndMesh(t *testing.T) {
	t.Parallel()
	entries := connect(t).ConfigEntries()
	_, _, err := entries.Set(&api.ProxyConfigEntry{Kind: api.ProxyDefaults, Name: api.ProxyConfigGlobal,
		Config: map[string]interface{}{"local_connect_timeout_ms": 1000}, Mode: api.ProxyModeDirect}, nil)
	must(t, err)
	_, _, err = entries.Set(&api.MeshConfigEntry{TransparentProxy: api.TransparentProxyMeshConfig{
		MeshDestinationsOnly: true}}, nil)
	must(t, err)
	read, _, err := entries.Get(api.ProxyDefaults, api.ProxyConfigGlobal, nil)
	must(t, err)
	check(t, read.(*api.ProxyConfigEntry).Mode == api.ProxyModeDirect, "%+v", read)
	read, _, err = entries.Get(api.MeshConfig, api.MeshConfigMesh, nil)
	must(t, err)
	check(t, read.(*api.MeshConfigEntry).TransparentProxy.MeshDestinationsOnly, "%+v", read)
	for kind, name := range map[string]string{api.ProxyDefaults: api.ProxyConfigGlobal, api.MeshConfig: api.MeshConfigMesh} {
		_, err = entries.Delete(kind, name, nil)
		must(t, err)
	}
}

func TestIntentions(t *testing.T) {
	t.Parallel()
	connectAPI := connect(t).Connect()
	pair := &api.Intention{SourceName: "go-src", DestinationName: "go-dst", Action: api.IntentionActionDeny,
		SourceType: api.IntentionSourceConsul, Description: "no"}
	_, err := connectAPI.IntentionUpsert(pair, nil)
	must(t, err)
	read, _, err := connectAPI.IntentionGetExact("go-src", "go-dst", nil)
	must(t, err)
	check(t, read != nil && read.Action == api.IntentionActionDeny && read.Description == "no", "%+v", read)
	allowed, _, err := connectAPI.IntentionCheck(&api.IntentionCheck{Source: "go-src", Destination: "go-dst",
		SourceType: api.IntentionSourceConsul}, nil)
	must(t, err)
	check(t, !allowed, "a denied source is allowed")
	pair.Action = api.IntentionActionAllow
	_, err = connectAPI.IntentionUpsert(pair, nil)
	must(t, err)
	match, _, err := connectAPI.IntentionMatch(&api.IntentionMatch{By: api.IntentionMatchDestination,
		Names: []string{"go-dst"}}, nil)
	must(t, err)
	check(t, len(match["go-dst"]) == 1 && match["go-dst"][0].Action == api.IntentionActionAllow, "%+v", match)
	listed, _, err := connectAPI.Intentions(&api.QueryOptions{Filter: `SourceName == "go-src"`})
	must(t, err)
	check(t, len(listed) == 1, "%+v", listed)
	_, err = connectAPI.IntentionDeleteExact("go-src", "go-dst", nil)
	must(t, err)
	read, _, err = connectAPI.IntentionGetExact("go-src", "go-dst", nil)
	must(t, err)
	check(t, read == nil, "%+v", read)

	// The older calls, by ID.
	id, _, err := connectAPI.IntentionCreate(&api.Intention{SourceName: "go-old", DestinationName: "go-dst2", //nolint
		Action: api.IntentionActionAllow, SourceType: api.IntentionSourceConsul}, nil)
	must(t, err)
	read, _, err = connectAPI.IntentionGet(id, nil)
	must(t, err)
	check(t, read != nil && read.SourceName == "go-old", "%+v", read)
	_, err = connectAPI.IntentionDelete(id, nil)
	must(t, err)
}

func TestCertificatesAndCoordinates(t *testing.T) {
	t.Parallel()
	client := connect(t)
	roots, _, err := client.Agent().ConnectCARoots(nil)
	must(t, err)
	check(t, len(roots.Roots) == 1 && roots.Roots[0].Active, "%+v", roots)
	configuration, _, err := client.Connect().CAGetConfig(nil)
	must(t, err)
	check(t, configuration.Provider == "consul", "%+v", configuration)
	verdict, err := client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: "go-target",
		ClientCertURI: "spiffe://" + roots.TrustDomain + "/ns/default/dc/dc1/svc/go-any", ClientCertSerial: "01"})
	must(t, err)
	check(t, verdict.Authorized, "%+v", verdict)
	datacenters, err := client.Coordinate().Datacenters()
	must(t, err)
	check(t, len(datacenters) == 1, "%+v", datacenters)
	_, _, err = client.Coordinate().Nodes(nil)
	must(t, err)
	_, _, err = client.ACL().TokenList(nil)
	check(t, err != nil, "ACLs are off, and yet tokens are listed")
}
