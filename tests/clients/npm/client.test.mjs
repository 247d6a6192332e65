// The npm package `consul`, unmodified, against the lictor agent at CONSUL_HTTP_PORT.
import assert from "node:assert/strict";
import { test } from "node:test";
import Consul from "consul";

const consul = new Consul({ host: "127.0.0.1", port: Number(process.env.CONSUL_HTTP_PORT) });
const PATIENCE = 20_000;

/** Poll until `condition` gives a value that counts as true, and return it. */
async function eventually(condition) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < deadline, "waited in vain");
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The next change of a watch that is as wanted; an error of the watch fails the test. */
function change(watch, wanted) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error("no such change came")), PATIENCE);
    watch.on("error", fail);
    watch.on("change", (data) => {
      if (!wanted(data)) return;
      clearTimeout(timer);
      done(data);
    });
  });
}

/** This client hands on Consul's `false` as `undefined`. */
const refused = (answer) => assert.ok(!answer);

test("keys: set, get, cas, flags, recurse, delete", async () => {
  assert.equal(await consul.kv.get("js/none"), undefined);
  assert.equal(await consul.kv.set("js/a/b c", "grüße"), true);
  assert.equal(await consul.kv.set({ key: "js/a/d", value: "2", flags: 42 }), true);
  const pair = await consul.kv.get("js/a/b c");
  assert.equal(pair.Value, "grüße");
  assert.equal((await consul.kv.get({ key: "js/a/d", raw: true })).toString(), "2");
  refused(await consul.kv.set({ key: "js/a/d", value: "x", cas: "1" }));
  const listed = await consul.kv.get({ key: "js/", recurse: true });
  assert.deepEqual(listed.map((row) => [row.Key, row.Flags]), [["js/a/b c", 0], ["js/a/d", 42]]);
  assert.deepEqual(await consul.kv.keys({ key: "js/", separator: "/" }), ["js/a/"]);
  assert.equal(await consul.kv.del({ key: "js/a/d", cas: String(listed[1].ModifyIndex) }), true);
  assert.equal(await consul.kv.del({ key: "js/", recurse: true }), true);
  await assert.rejects(consul.kv.keys("js/"), (error) => error.statusCode === 404);
});

test("a session locks a key and gives it back", async () => {
  const { ID } = await consul.session.create({ name: "js", ttl: "20s", lockdelay: "1ms", behavior: "release" });
  const other = await consul.session.create();
  assert.equal(await consul.kv.set({ key: "js-lock", value: "1", acquire: ID }), true);
  refused(await consul.kv.set({ key: "js-lock", value: "2", acquire: other.ID }));
  const [renewed] = await consul.session.renew(ID);
  assert.equal(renewed.TTL, "20s");
  const info = await consul.session.get(ID);
  assert.equal(info.Name, "js");
  assert.ok((await consul.session.node(info.Node)).some((row) => row.ID === ID));
  assert.ok((await consul.session.list()).length >= 2);
  await consul.session.destroy(ID);
  await eventually(() => consul.kv.set({ key: "js-lock", value: "2", acquire: other.ID }));
  assert.equal(await consul.kv.set({ key: "js-lock", value: "", release: other.ID }), true);
  await consul.session.destroy(other.ID);
  await assert.rejects(consul.session.renew(ID), (error) => error.statusCode === 404);
});

test("transactions are all or nothing", async () => {
  const value = Buffer.from("1").toString("base64");
  const { Results } = await consul.transaction.create([
    { KV: { Verb: "set", Key: "js-txn", Value: value } },
    { KV: { Verb: "get", Key: "js-txn" } },
  ]);
  assert.equal(Results[1].KV.Value, value);
  const stale = consul.transaction.create([
    { KV: { Verb: "delete", Key: "js-txn" } },
    { KV: { Verb: "check-index", Key: "js-txn", Index: 1 } },
  ]);
  await assert.rejects(stale, (error) => error.statusCode === 409);
  assert.equal((await consul.kv.get("js-txn")).Value, "1");
});

test("a watch follows a key from before it is there", async () => {
  const watch = consul.watch({ method: consul.kv.get, options: { key: "js-watched" }, backoffFactor: 10 });
  const first = change(watch, (data) => data?.Value === "1");
  await consul.kv.set("js-watched", "1");
  await first;
  const second = change(watch, (data) => data?.Value === "2");
  await consul.kv.set("js-watched", "2");
  await second;
  const gone = change(watch, (data) => data === undefined);
  await consul.kv.del("js-watched");
  await gone;
  watch.end();
  assert.equal(watch.isRunning(), false);
});

test("services: registration, checks, health, maintenance, catalog", async () => {
  const watch = consul.watch({ method: consul.health.service, options: { service: "js-web", passing: true } });
  const up = change(watch, (rows) => rows.length === 1);
  await consul.agent.service.register({
    name: "js-web",
    id: "js-web-1",
    address: "127.0.0.8",
    port: 80,
    tags: ["v1"],
    meta: { owner: "js" },
    checks: [{ name: "alive", ttl: "1h", status: "critical" }, { tcp: `127.0.0.1:${process.env.CONSUL_HTTP_PORT}`, interval: "1s" }],
  });
  await consul.agent.check.pass({ id: "service:js-web-1:1", note: "well" });
  const [row] = await up;
  assert.deepEqual([row.Service.Port, row.Service.Tags, row.Service.Meta.owner], [80, ["v1"], "js"]);
  assert.equal((await consul.agent.service.list())["js-web-1"].Service, "js-web");
  assert.equal((await consul.catalog.service.nodes("js-web"))[0].ServiceAddress, "127.0.0.8");
  assert.deepEqual((await consul.catalog.service.list())["js-web"], ["v1"]);
  assert.ok("js-web-1" in (await consul.catalog.node.services(row.Node.Node)).Services);
  assert.equal((await consul.health.checks("js-web")).length, 2);
  assert.ok((await consul.health.node(row.Node.Node)).length >= 3);
  assert.ok((await consul.health.state("passing")).some((check) => check.ServiceID === "js-web-1"));

  const down = change(watch, (rows) => rows.length === 0);
  await consul.agent.service.maintenance({ id: "js-web-1", enable: true, reason: "on purpose" });
  await down;
  assert.match((await consul.agent.checks())["_service_maintenance:js-web-1"].Notes, /on purpose/);
  await consul.agent.service.maintenance({ id: "js-web-1", enable: false });
  watch.end();
  await consul.agent.service.deregister("js-web-1");
  assert.deepEqual(await consul.catalog.datacenters(), ["dc1"]);
});

test("checks of the agent", async () => {
  await consul.agent.check.register({ id: "js-check", name: "js", ttl: "1h", notes: "n", status: "passing" });
  for (const status of ["warn", "fail", "pass"]) await consul.agent.check[status]("js-check");
  assert.equal((await consul.agent.check.list())["js-check"].Status, "passing");
  await consul.agent.check.deregister("js-check");
});

test("prepared queries", async () => {
  const { ID } = await consul.query.create({
    name: "js-query",
    service: { service: "consul", failover: { nearestn: 1, datacenters: ["dc1"] }, onlypassing: true },
    dns: { ttl: "3s" },
  });
  // The end of the node's maintenance, in the test before this one, reaches the catalog a moment later.
  const answer = await eventually(async () => {
    const found = await consul.query.execute("js-query");
    return found.Nodes.length && found;
  });
  assert.deepEqual([answer.Nodes.length, answer.DNS.TTL], [1, "3s"]);
  await consul.query.update({ query: ID, name: "js-query2", service: { service: "consul" } });
  assert.equal((await consul.query.get(ID)).Name, "js-query2");
  assert.ok((await consul.query.list()).some((query) => query.ID === ID));
  await consul.query.destroy(ID);
  await assert.rejects(consul.query.get(ID), (error) => error.statusCode === 404);
});

test("events, status and the agent itself", async () => {
  const fired = await consul.event.fire("js-event", Buffer.from([0, 255]));
  const events = await eventually(async () => {
    const list = await consul.event.list({ name: "js-event", buffer: true });
    return list.some((event) => event.ID === fired.ID) && list;
  });
  assert.deepEqual([...events[0].Payload], [0, 255]);
  assert.match(await consul.status.leader(), /^127\.0\.0\.1:\d+$/);
  assert.deepEqual(await consul.status.peers(), [await consul.status.leader()]);
  assert.equal((await consul.agent.self()).Config.Datacenter, "dc1");
  assert.equal((await consul.agent.members()).length, 1);
  await consul.agent.maintenance({ enable: true, reason: "why" });
  assert.ok("_node_maintenance" in (await consul.agent.check.list()));
  await consul.agent.maintenance({ enable: false });
  await consul.agent.reload();
  await assert.rejects(consul.agent.join("256.0.0.1"));
});
