//go:build tools

// Package main names Consul's Go client, so that go.mod and go.sum hold what building its tests needs.
package main

import (
	_ "github.com/hashicorp/consul/api"
	_ "github.com/hashicorp/consul/api/watch"
)
