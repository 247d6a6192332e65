// What the two Java clients of pom.xml are used for, against the agent that CONSUL_HTTP_ADDR names.
// Each step prints a line when it has passed; the first that fails ends the program.

import com.ecwid.consul.v1.ConsulClient;
import com.ecwid.consul.v1.QueryParams;
import com.ecwid.consul.v1.Response;
import com.ecwid.consul.v1.agent.model.NewService;
import com.ecwid.consul.v1.catalog.CatalogServicesRequest;
import com.ecwid.consul.v1.health.HealthServicesRequest;
import com.ecwid.consul.v1.kv.model.PutParams;
import com.ecwid.consul.v1.session.model.NewSession;
import com.google.common.net.HostAndPort;
import com.orbitz.consul.Consul;
import com.orbitz.consul.NotRegisteredException;
import com.orbitz.consul.cache.KVCache;
import com.orbitz.consul.cache.ServiceHealthCache;
import com.orbitz.consul.model.agent.ImmutableRegistration;
import com.orbitz.consul.model.agent.Registration;
import com.orbitz.consul.model.kv.Operation;
import com.orbitz.consul.model.kv.Verb;
import com.orbitz.consul.model.query.ImmutablePreparedQuery;
import com.orbitz.consul.model.query.ImmutableServiceQuery;
import com.orbitz.consul.model.session.ImmutableSession;
import com.orbitz.consul.option.ImmutableQueryOptions;
import com.orbitz.consul.util.LeaderElectionUtil;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

public class Client {
    private static void check(boolean holds, Object said) {
        if (!holds) {
            throw new AssertionError(String.valueOf(said));
        }
    }

    private static void passed(String what) {
        System.out.println("passed: " + what);
    }

    private static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (!condition.call()) {
            check(System.nanoTime() < deadline, "waited in vain: " + what);
            Thread.sleep(50);
        }
    }

    // com.ecwid.consul, as Spring Cloud Consul uses it

    private static void keys(ConsulClient client) {
        check(client.setKVValue("java/config/data", "a: 1").getValue(), "put");
        check(client.setKVBinaryValue("java/config/b/data", new byte[] {0, -1, 7}).getValue(), "put");
        check(client.getKVValue("java/config/data").getValue().getDecodedValue().equals("a: 1"), "get");
        check(Arrays.equals(client.getKVBinaryValue("java/config/b/data").getValue().getValue(), new byte[] {0, -1, 7}), "");
        check(client.getKVValues("java/config/").getValue().size() == 2, "recurse");
        check(client.getKVKeysOnly("java/config/", "/", null).getValue().equals(List.of("java/config/b/", "java/config/data")), "");
        check(client.getKVValue("java/none").getValue() == null, "a missing key");
        check(client.getKVKeysOnly("java/none").getValue() == null, "missing keys");
        PutParams once = new PutParams();
        once.setCas(0L);
        check(!client.setKVValue("java/config/data", "x", once).getValue(), "cas");
        once.setCas(client.getKVValue("java/config/data").getValue().getModifyIndex());
        once.setFlags(42);
        check(client.setKVValue("java/config/data", "a: 2", once).getValue(), "cas");
        Response<?> read = client.getKVValues("java/config/");
        check(read.getConsulIndex() > 0 && read.isConsulKnownLeader(), read);
        // Spring watches its configuration by the index of a prefix.
        long index = read.getConsulIndex();
        new Thread(() -> client.setKVValue("java/config/data", "a: 3")).start();
        check(client.getKVValues("java/config/", new QueryParams(20, index)).getConsulIndex() > index, "a watch");
        client.deleteKVValues("java/config/");
        check(client.getKVValues("java/config/").getValue() == null, "deleted");
    }

    private static void services(ConsulClient client) throws Exception {
        NewService service = new NewService();
        service.setId("spring-1");
        service.setName("spring");
        service.setAddress("127.0.0.1");
        service.setPort(8080);
        service.setTags(List.of("secure=false", "v1"));
        service.setMeta(Map.of("zone", "z1"));
        NewService.Check ttl = new NewService.Check();
        ttl.setTtl("60s");
        ttl.setDeregisterCriticalServiceAfter("10m");
        service.setCheck(ttl);
        client.agentServiceRegister(service);
        client.agentCheckPass("service:spring-1", "up");
        HealthServicesRequest passing = HealthServicesRequest.newBuilder()
            .setPassing(true).setTag("v1").setQueryParams(QueryParams.DEFAULT).build();
        eventually("an instance", () -> client.getHealthServices("spring", passing).getValue().size() == 1);
        var found = client.getHealthServices("spring", passing).getValue().get(0);
        check(found.getService().getPort() == 8080 && found.getService().getMeta().get("zone").equals("z1"), found);
        check(found.getChecks().size() == 2 && found.getNode().getNode() != null, found);
        // Spring watches the services of the catalog.
        long index = client.getCatalogServices(QueryParams.DEFAULT).getConsulIndex();
        service.setId("spring-2");
        service.setName("spring-other");
        service.setCheck(null);
        new Thread(() -> client.agentServiceRegister(service)).start();
        eventually("a watch", () -> client.getCatalogServices(CatalogServicesRequest.newBuilder()
            .setQueryParams(new QueryParams(2, index)).build()).getValue().containsKey("spring-other"));
        client.agentServiceSetMaintenance("spring-1", true, "a break");
        eventually("maintenance", () -> client.getHealthServices("spring", passing).getValue().isEmpty());
        client.agentServiceSetMaintenance("spring-1", false);
        client.agentServiceDeregister("spring-1");
        client.agentServiceDeregister("spring-2");
        check(client.getAgentSelf().getValue().getConfig().getDatacenter().equals("dc1"), "self");
        check(client.getAgentMembers().getValue().size() == 1, "members");
        check(client.getCatalogDatacenters().getValue().equals(List.of("dc1")), "datacenters");
        check(client.getStatusLeader().getValue().contains(":"), "leader");
    }

    private static void sessions(ConsulClient client) {
        NewSession wanted = new NewSession();
        wanted.setName("java");
        wanted.setTtl("30s");
        wanted.setLockDelay(1);
        String id = client.sessionCreate(wanted, QueryParams.DEFAULT).getValue();
        PutParams lock = new PutParams();
        lock.setAcquireSession(id);
        check(client.setKVValue("java/lock", "me", lock).getValue(), "acquire");
        check(client.getKVValue("java/lock").getValue().getSession().equals(id), "held");
        check(client.renewSession(id, QueryParams.DEFAULT).getValue().getId().equals(id), "renew");
        check(client.getSessionInfo(id, QueryParams.DEFAULT).getValue().getName().equals("java"), "info");
        client.sessionDestroy(id, QueryParams.DEFAULT);
        check(client.getKVValue("java/lock").getValue().getSession() == null, "released");
        client.deleteKVValue("java/lock");
    }

    // com.orbitz.consul

    private static void keys(Consul client) throws Exception {
        var keys = client.keyValueClient();
        check(keys.putValue("orbitz/a", "1") && keys.putValue("orbitz/b/c", "2", 7L), "put");
        check(keys.getValueAsString("orbitz/a").equals(Optional.of("1")), "get");
        check(keys.getValue("orbitz/b/c").get().getFlags() == 7, "flags");
        check(keys.getValues("orbitz").size() == 2 && keys.getKeys("orbitz/", "/").size() == 2, "recurse");
        check(keys.getValue("orbitz/none").isEmpty(), "a missing key");
        var done = keys.performTransaction(
            Operation.builder(Verb.SET).key("orbitz/t").value(Base64.getEncoder().encodeToString("3".getBytes())).build(),
            Operation.builder(Verb.GET).key("orbitz/a").build());
        check(done.getResponse().results().size() == 2, done);
        KVCache cache = KVCache.newCache(keys, "orbitz", 5);
        cache.start();
        check(cache.awaitInitialized(20, TimeUnit.SECONDS), "the cache");
        keys.putValue("orbitz/a", "changed");
        eventually("the cache follows", () -> cache.getMap().values().stream()
            .anyMatch(value -> value.getValueAsString().equals(Optional.of("changed"))));
        cache.stop();
        keys.deleteKeys("orbitz");
        check(keys.getKeys("orbitz/").isEmpty(), "deleted");
    }

    private static void services(Consul client) throws Exception {
        var agent = client.agentClient();
        Registration wanted = ImmutableRegistration.builder().id("orb-1").name("orb").port(81).address("127.0.0.1")
            .addTags("x").putMeta("k", "v").check(Registration.RegCheck.ttl(60)).build();
        ServiceHealthCache cache = ServiceHealthCache.newCache(client.healthClient(), "orb", true, 5, ImmutableQueryOptions.BLANK);
        cache.start();
        check(cache.awaitInitialized(20, TimeUnit.SECONDS), "the cache");
        agent.register(wanted);
        agent.pass("orb-1", "well");
        eventually("the cache follows", () -> cache.getMap().values().stream()
            .anyMatch(row -> row.getService().getId().equals("orb-1") && row.getService().getPort() == 81));
        check(agent.isRegistered("orb-1") && agent.getServices().containsKey("orb-1"), "registered");
        check(agent.getService("orb-1", ImmutableQueryOptions.BLANK).getResponse().getMeta().get("k").equals("v"), "service");
        var rows = client.catalogClient().getService("orb").getResponse();
        check(rows.size() == 1 && rows.get(0).getServicePort() == 81, rows);
        var query = client.preparedQueryClient();
        String id = query.createPreparedQuery(ImmutablePreparedQuery.builder().name("orb-query")
            .service(ImmutableServiceQuery.builder().service("orb").onlyPassing(true).build()).build());
        check(query.execute(id).nodes().size() == 1, "a query");
        agent.fail("orb-1", "ill");
        eventually("it leaves the cache", () -> cache.getMap().isEmpty());
        cache.stop();
        agent.deregister("orb-1");
        try {
            agent.getService("orb-1", ImmutableQueryOptions.BLANK);
            check(false, "a service that is gone");
        } catch (NotRegisteredException gone) {
            check(true, gone);
        }
        check(client.eventClient().fireEvent("java-event", "payload").getName().equals("java-event"), "an event");
        eventually("the event", () -> client.eventClient().listEvents("java-event").getEvents().size() == 1);
        check(client.statusClient().getPeers().size() == 1, "peers");
    }

    private static void leadership(Consul client) {
        var sessions = client.sessionClient();
        String id = sessions.createSession(ImmutableSession.builder().name("orb").ttl("30s").build()).getId();
        check(client.keyValueClient().acquireLock("orbitz/lock", id), "acquire");
        check(client.keyValueClient().getSession("orbitz/lock").equals(Optional.of(id)), "held");
        check(sessions.renewSession(id).isPresent(), "renew");
        check(client.keyValueClient().releaseLock("orbitz/lock", id), "release");
        sessions.destroySession(id);
        LeaderElectionUtil election = new LeaderElectionUtil(client);
        check(election.electNewLeaderForService("orb-service", "me").equals(Optional.of("me")), "elected");
        check(election.getLeaderInfoForService("orb-service").equals(Optional.of("me")), "leader");
        check(election.releaseLockForService("orb-service"), "released");
    }

    public static void main(String[] words) throws Exception {
        HostAndPort address = HostAndPort.fromString(System.getenv("CONSUL_HTTP_ADDR"));
        ConsulClient ecwid = new ConsulClient(address.getHost(), address.getPort());
        keys(ecwid);
        passed("ecwid keys");
        services(ecwid);
        passed("ecwid services");
        sessions(ecwid);
        passed("ecwid sessions");
        Consul orbitz = Consul.builder().withHostAndPort(address).build();
        keys(orbitz);
        passed("orbitz keys");
        services(orbitz);
        passed("orbitz services");
        leadership(orbitz);
        passed("orbitz leadership");
        orbitz.destroy();
        System.exit(0);
    }
}
