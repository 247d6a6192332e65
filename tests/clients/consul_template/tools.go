//go:build tools

// Package main names consul-template, so that go.mod and go.sum hold what building it needs.
package main

import _ "github.com/hashicorp/consul-template"
