// Prometheus' own discovery by Consul as a program: it reads the scrape_configs of a file and writes the targets of each
// job, with their labels, into another file whenever they change. (Debian's Prometheus is built without this part.)
package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-kit/log"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"gopkg.in/yaml.v2"
)

type configuration struct {
	Jobs []struct {
		Name    string             `yaml:"job_name"`
		Configs []*consul.SDConfig `yaml:"consul_sd_configs"`
	} `yaml:"scrape_configs"`
}

func run(source, destination string) error {
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	var wanted configuration
	if err := yaml.UnmarshalStrict(text, &wanted); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	manager := discovery.NewManager(ctx, log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr)),
		discovery.Name("consul"))
	jobs := map[string]discovery.Configs{}
	for _, job := range wanted.Jobs {
		for _, config := range job.Configs {
			jobs[job.Name] = append(jobs[job.Name], config)
		}
	}
	if err := manager.ApplyConfig(jobs); err != nil {
		return err
	}
	go manager.Run()
	for {
		select {
		case <-ctx.Done():
			return nil
		case found := <-manager.SyncCh():
			if err := write(found, destination); err != nil {
				return err
			}
		}
	}
}

func write(found map[string][]*targetgroup.Group, destination string) error {
	shown := map[string]map[string]model.LabelSet{}
	for job, groups := range found {
		shown[job] = map[string]model.LabelSet{}
		for _, group := range groups {
			for _, target := range group.Targets {
				labels := group.Labels.Merge(target)
				shown[job][string(labels[model.AddressLabel])] = labels
			}
		}
	}
	text, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	if err := os.WriteFile(destination+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(destination+".new", destination)
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}
