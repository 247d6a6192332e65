package clients

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func TestKeysAndCompareAndSet(t *testing.T) {
	t.Parallel()
	kv := connect(t).KV()
	value := []byte("a\x00b\xff")
	_, err := kv.Put(&api.KVPair{Key: "go/kv/ä b?c", Value: value, Flags: 1 << 63}, nil)
	must(t, err)
	pair, meta, err := kv.Get("go/kv/ä b?c", nil)
	must(t, err)
	check(t, pair != nil && bytes.Equal(pair.Value, value) && pair.Flags == 1<<63, "read %+v", pair)
	check(t, meta.KnownLeader && meta.LastIndex >= pair.ModifyIndex && meta.LastIndex > 0, "meta %+v", meta)

	pair.Value = []byte("changed")
	done, _, err := kv.CAS(pair, nil)
	must(t, err)
	check(t, done, "a CAS at the right index was refused")
	done, _, err = kv.CAS(pair, nil)
	must(t, err)
	check(t, !done, "a CAS at an old index was done")
	created, _, err := kv.CAS(&api.KVPair{Key: "go/kv/new", Value: []byte("1")}, nil)
	must(t, err)
	check(t, created, "a CAS of an absent key was refused")

	_, err = kv.Put(&api.KVPair{Key: "go/kv/deep/er", Value: nil}, nil)
	must(t, err)
	keys, _, err := kv.Keys("go/kv/", "/", nil)
	must(t, err)
	check(t, strings.Join(keys, "|") == "go/kv/deep/|go/kv/new|go/kv/ä b?c", "keys %q", keys)
	pairs, _, err := kv.List("go/kv/", &api.QueryOptions{RequireConsistent: true})
	must(t, err)
	check(t, len(pairs) == 3, "listed %d", len(pairs))

	stale, _, err := kv.DeleteCAS(&api.KVPair{Key: "go/kv/new", ModifyIndex: 1}, nil)
	must(t, err)
	check(t, !stale, "a delete at an old index was done")
	_, err = kv.DeleteTree("go/kv/", nil)
	must(t, err)
	pair, _, err = kv.Get("go/kv/new", nil)
	must(t, err)
	check(t, pair == nil, "still there: %+v", pair)
}

func TestBlockingReadWakes(t *testing.T) {
	t.Parallel()
	kv := connect(t).KV()
	_, err := kv.Put(&api.KVPair{Key: "go/block", Value: []byte("1")}, nil)
	must(t, err)
	first, meta, err := kv.Get("go/block", nil)
	must(t, err)
	woken := make(chan *api.KVPair, 1)
	go func() {
		pair, _, err := kv.Get("go/block", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: patience})
		if err != nil {
			t.Error(err)
		}
		woken <- pair
	}()
	// A write elsewhere must not be taken for one here.
	_, err = kv.Put(&api.KVPair{Key: "go/block-not", Value: []byte("1")}, nil)
	must(t, err)
	_, err = kv.Put(&api.KVPair{Key: "go/block", Value: []byte("2")}, nil)
	must(t, err)
	pair := receive(t, woken, "the blocking read")
	check(t, string(pair.Value) == "2" && pair.ModifyIndex > first.ModifyIndex, "woke with %+v", pair)
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	client := connect(t)
	set := &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: "go/txn", Value: []byte("one"), Flags: 7}}
	get := &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVGet, Key: "go/txn"}}
	done, response, _, err := client.Txn().Txn(api.TxnOps{set, get}, nil)
	must(t, err)
	check(t, done && len(response.Results) == 2 && len(response.Errors) == 0, "%v %+v", done, response)
	check(t, string(response.Results[1].KV.Value) == "one", "read %+v", response.Results[1].KV)

	old := &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: "go/txn", Value: []byte("two"), Index: 1}}
	overwrite := &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: "go/txn", Value: []byte("three")}}
	done, response, _, err = client.Txn().Txn(api.TxnOps{overwrite, old}, nil)
	must(t, err)
	check(t, !done && len(response.Errors) == 1 && response.Errors[0].OpIndex == 1, "%v %+v", done, response)
	pair, _, err := client.KV().Get("go/txn", nil)
	must(t, err)
	check(t, string(pair.Value) == "one", "half of a transaction: %q", pair.Value)

	node := &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: "go-txn", Address: "10.1.1.1"}}}
	service := &api.TxnOp{Service: &api.ServiceTxnOp{
		Verb: api.ServiceSet, Node: "go-txn", Service: api.AgentService{ID: "t1", Service: "t", Port: 80}}}
	health := &api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: api.HealthCheck{
		Node: "go-txn", CheckID: "c", Name: "c", Status: api.HealthPassing, ServiceID: "t1",
		Definition: api.HealthCheckDefinition{TCP: "10.1.1.1:80", IntervalDuration: 5 * time.Second}}}}
	done, response, _, err = client.Txn().Txn(api.TxnOps{node, service, health}, nil)
	must(t, err)
	check(t, done && len(response.Results) == 3, "%v %+v", done, response)
	check(t, response.Results[2].Check.Definition.IntervalDuration == 5*time.Second, "%+v", response.Results[2].Check)
	_, err = client.Catalog().Deregister(&api.CatalogDeregistration{Node: "go-txn"}, nil)
	must(t, err)
}

func TestLockChangesHands(t *testing.T) {
	t.Parallel()
	client := connect(t)
	options := func() *api.LockOptions {
		return &api.LockOptions{Key: "go/lock", Value: []byte("held"), SessionTTL: "10s", LockDelay: time.Millisecond}
	}
	first, err := client.LockOpts(options())
	must(t, err)
	lost, err := first.Lock(nil)
	must(t, err)
	check(t, lost != nil, "not locked")
	second, err := client.LockOpts(options())
	must(t, err)
	stop := make(chan struct{})
	got := make(chan (<-chan struct{}), 1)
	go func() {
		held, err := second.Lock(stop)
		if err != nil {
			t.Error(err)
		}
		got <- held
	}()
	check(t, second.Destroy() != nil, "destroyed while it was contended")
	must(t, first.Unlock())
	lostSecond := receive(t, got, "the second holder")
	check(t, lostSecond != nil, "the second did not get the lock")

	// Its session's end takes the lock away, and the holder hears of it.
	pair, _, err := client.KV().Get("go/lock", nil)
	must(t, err)
	check(t, pair.Session != "" && pair.Flags == api.LockFlagValue, "%+v", pair)
	_, err = client.Session().Destroy(pair.Session, nil)
	must(t, err)
	receive(t, lostSecond, "the news of the loss")
}

func TestTryOnceGivesUp(t *testing.T) {
	t.Parallel()
	client := connect(t)
	holder, err := client.LockKey("go/try")
	must(t, err)
	_, err = holder.Lock(nil)
	must(t, err)
	try, err := client.LockOpts(&api.LockOptions{Key: "go/try", LockTryOnce: true, LockWaitTime: 100 * time.Millisecond})
	must(t, err)
	held, err := try.Lock(nil)
	must(t, err)
	check(t, held == nil, "two hold one lock")
	must(t, holder.Unlock())
	must(t, holder.Destroy())
}

func TestSemaphoreLetsTwoIn(t *testing.T) {
	t.Parallel()
	client := connect(t)
	options := func() *api.SemaphoreOptions {
		return &api.SemaphoreOptions{Prefix: "go/semaphore", Limit: 2, SessionTTL: "10s"}
	}
	var held []*api.Semaphore
	for number := 0; number < 2; number++ {
		semaphore, err := client.SemaphoreOpts(options())
		must(t, err)
		lost, err := semaphore.Acquire(nil)
		must(t, err)
		check(t, lost != nil, "slot %d was not given", number)
		held = append(held, semaphore)
	}
	third, err := client.SemaphoreOpts(options())
	must(t, err)
	got := make(chan (<-chan struct{}), 1)
	go func() {
		lost, err := third.Acquire(nil)
		if err != nil {
			t.Error(err)
		}
		got <- lost
	}()
	select {
	case <-got:
		t.Fatal("three in a semaphore for two")
	case <-time.After(200 * time.Millisecond):
	}
	must(t, held[0].Release())
	check(t, receive(t, got, "the freed slot") != nil, "the third got no slot")
	must(t, held[1].Release())
	must(t, third.Release())
	must(t, third.Destroy())
}

func TestSessionRenews(t *testing.T) {
	t.Parallel()
	sessions := connect(t).Session()
	id, _, err := sessions.Create(&api.SessionEntry{
		Name: "go", TTL: "10s", Behavior: api.SessionBehaviorDelete, LockDelay: 2 * time.Second}, nil)
	must(t, err)
	info, _, err := sessions.Info(id, nil)
	must(t, err)
	check(t, info.Name == "go" && info.TTL == "10s" && info.Behavior == "delete", "%+v", info)
	check(t, info.LockDelay == 2*time.Second && len(info.NodeChecks) == 1, "%+v", info)
	renewed, _, err := sessions.Renew(id, nil)
	must(t, err)
	check(t, renewed != nil && renewed.ID == id, "%+v", renewed)
	on, _, err := sessions.Node(info.Node, nil)
	must(t, err)
	check(t, len(on) >= 1, "no session on %s", info.Node)

	done := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- sessions.RenewPeriodic("10s", id, nil, done) }()
	close(done)
	must(t, receive(t, ended, "the end of the renewals"))
	eventually(t, func() error {
		info, _, err := sessions.Info(id, nil)
		if err != nil {
			return err
		}
		return unless(info == nil, "the session is still there: %+v", info)
	})
	gone, _, err := sessions.Renew(id, nil)
	must(t, err)
	check(t, gone == nil, "renewed a session that is gone")
	ended = make(chan error, 1)
	go func() { ended <- sessions.RenewPeriodic("1s", id, nil, make(chan struct{})) }()
	check(t, receive(t, ended, "the news that the session is gone") == api.ErrSessionExpired, "another error")

	without, _, err := sessions.CreateNoChecks(&api.SessionEntry{Name: "none"}, nil)
	must(t, err)
	info, _, err = sessions.Info(without, nil)
	must(t, err)
	check(t, len(info.NodeChecks) == 0 && len(info.ServiceChecks) == 0, "%+v", info)
	_, err = sessions.Destroy(without, nil)
	must(t, err)
}
