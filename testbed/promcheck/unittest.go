package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	engine "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
	"go.yaml.in/yaml/v3"
)

// testDocument is a file of `promtool test rules`, without what we do not use.
type testDocument struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []testCase     `yaml:"tests"`
}

type testCase struct {
	Name   string         `yaml:"name"`
	Step   model.Duration `yaml:"interval"`
	Series []inputSeries  `yaml:"input_series"`
	Alerts []alertTest    `yaml:"alert_rule_test"`
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type alertTest struct {
	At       model.Duration  `yaml:"eval_time"`
	Alert    string          `yaml:"alertname"`
	Expected []expectedAlert `yaml:"exp_alerts"`
}

type expectedAlert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

func testFile(file string) []string {
	content, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	var document testDocument
	decoder := yaml.NewDecoder(strings.NewReader(string(content)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&document); err != nil {
		return []string{fmt.Sprintf("%s: %v", file, err)}
	}
	interval := time.Duration(document.EvaluationInterval)
	if interval == 0 {
		interval = time.Minute
	}
	rules := map[string]rulefmt.Rule{}
	var faults []string
	for _, path := range document.RuleFiles {
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(file), path)
		}
		groups, wrong := readRules(path)
		faults = append(faults, wrong...)
		if groups == nil {
			continue
		}
		for _, group := range groups.Groups {
			for _, rule := range group.Rules {
				if rule.Record != "" {
					faults = append(faults, rule.Record+": recording rules are not supported here")
				}
				rules[rule.Alert] = rule
			}
		}
	}
	for _, test := range document.Tests {
		for _, wrong := range test.run(rules, interval) {
			faults = append(faults, fmt.Sprintf("%s: %s: %s", file, test.Name, wrong))
		}
	}
	return faults
}

func (t testCase) run(rules map[string]rulefmt.Rule, interval time.Duration) []string {
	samples, err := newSamples(t.Series, time.Duration(t.Step))
	if err != nil {
		return []string{err.Error()}
	}
	ask, done := asker(samples, interval)
	defer done()
	var faults []string
	for _, expected := range t.Alerts {
		rule, known := rules[expected.Alert]
		if !known {
			faults = append(faults, expected.Alert+": there is no such alert")
			continue
		}
		firing, err := fire(rule, ask, interval, time.Duration(expected.At))
		if err != nil {
			faults = append(faults, expected.Alert+": "+err.Error())
			continue
		}
		want := make([]string, 0, len(expected.Expected))
		for _, one := range expected.Expected {
			withName := map[string]string{labels.AlertName: expected.Alert}
			for name, value := range one.Labels {
				withName[name] = value
			}
			want = append(want, render(withName, one.Annotations))
		}
		slices.Sort(want)
		if !slices.Equal(want, firing) {
			faults = append(faults, fmt.Sprintf("%s at %s:\n  expected: %s\n  firing:   %s",
				expected.Alert, expected.At, strings.Join(want, "\n            "), strings.Join(firing, "\n            ")))
		}
	}
	return faults
}

// asker returns how to ask the query engine about samples, and what to call when there are no more questions.
func asker(samples *samples, interval time.Duration) (template.QueryFunc, func()) {
	queries := engine.NewEngine(engine.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Parser: promql,
		NoStepSubqueryIntervalFn: func(int64) int64 { return interval.Milliseconds() },
	})
	ask := func(ctx context.Context, text string, at time.Time) (engine.Vector, error) {
		query, err := queries.NewInstantQuery(ctx, samples, nil, text, at)
		if err != nil {
			return nil, err
		}
		defer query.Close()
		result := query.Exec(ctx)
		if result.Err != nil {
			return nil, result.Err
		}
		if scalar, ok := result.Value.(engine.Scalar); ok {
			return engine.Vector{{T: scalar.T, F: scalar.V}}, nil
		}
		return result.Vector()
	}
	return ask, func() { _ = queries.Close() }
}

type active struct {
	since       time.Time
	lastTrue    time.Time
	firing      bool
	annotations map[string]string
	labels      map[string]string
}

// fire evaluates one rule from the beginning to `until`, and returns the alerts that fire then. An alert is pending until its
// condition has held for the rule's `for`, is forgotten when the condition does not hold (Prometheus's AlertingRule.Eval), and
// keeps firing for `keep_firing_for` after that.
func fire(rule rulefmt.Rule, ask template.QueryFunc, interval, until time.Duration) ([]string, error) {
	ctx := context.Background()
	known := map[string]*active{}
	for at := time.Unix(0, 0).UTC(); !at.After(time.Unix(0, 0).Add(until)); at = at.Add(interval) {
		result, err := ask(ctx, rule.Expr, at)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, sample := range result {
			found := describe(ctx, rule, sample, ask, at)
			key := render(found.labels, nil)
			if seen[key] {
				return nil, fmt.Errorf("two alerts with the same labels: %s", key)
			}
			seen[key] = true
			if before, ok := known[key]; ok {
				found.since, found.firing = before.since, before.firing
			}
			found.lastTrue = at
			found.firing = found.firing || at.Sub(found.since) >= time.Duration(rule.For)
			known[key] = found
		}
		for key, one := range known {
			if !seen[key] && !(one.firing && at.Sub(one.lastTrue)-interval < time.Duration(rule.KeepFiringFor)) {
				delete(known, key)
			}
		}
	}
	firing := []string{}
	for _, one := range known {
		if one.firing {
			firing = append(firing, render(one.labels, one.annotations))
		}
	}
	slices.Sort(firing)
	return firing, nil
}

func describe(ctx context.Context, rule rulefmt.Rule, sample engine.Sample, ask template.QueryFunc, at time.Time) *active {
	data := template.AlertTemplateData(sample.Metric.Map(), nil, "", sample)
	expand := func(text string) string {
		variables := "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$value := .Value}}"
		expander := template.NewTemplateExpander(
			ctx, variables+text, rule.Alert, data, model.TimeFromUnixNano(at.UnixNano()), ask, &url.URL{}, nil,
		)
		result, err := expander.Expand()
		if err != nil {
			return fmt.Sprintf("<error expanding template: %s>", err)
		}
		return result
	}
	found := &active{since: at, labels: sample.Metric.Map(), annotations: map[string]string{}}
	delete(found.labels, labels.MetricName)
	for name, value := range rule.Labels {
		found.labels[name] = expand(value)
	}
	found.labels[labels.AlertName] = rule.Alert
	for name, value := range rule.Annotations {
		found.annotations[name] = expand(value)
	}
	return found
}

func render(labelled, annotated map[string]string) string {
	return fmt.Sprintf("%q %q", labelled, annotated) // fmt prints maps in the order of their keys
}
