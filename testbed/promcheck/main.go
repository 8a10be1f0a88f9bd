// Command promcheck checks alert rules and dashboards with Prometheus's own parser, rule format, templates and query engine.
// It does the part of promtool that a project with alerts needs, and leaves out the rest (service discovery, remote storage,
// the disk format), so that it is built in seconds and not in minutes.
//
//	promcheck rules FILE...   check the form of rule files
//	promcheck test FILE...    run unit tests of alert rules, in the form of `promtool test rules`
//	promcheck parse           read a JSON list of expressions, write what each one uses
//	promcheck ask             read samples and a time as JSON, write which alerts fire and which expressions have a result
package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

var promql = parser.NewParser(parser.Options{})

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	var faults []string
	switch os.Args[1] {
	case "rules":
		for _, file := range os.Args[2:] {
			_, wrong := readRules(file)
			faults = append(faults, wrong...)
		}
	case "test":
		for _, file := range os.Args[2:] {
			faults = append(faults, testFile(file)...)
		}
	case "parse":
		faults = parseAll()
	case "ask":
		faults = answer()
	default:
		usage()
	}
	for _, fault := range faults {
		fmt.Fprintln(os.Stderr, fault)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: promcheck rules FILE... | test FILE... | parse | ask")
	os.Exit(2)
}

func readRules(file string) (*rulefmt.RuleGroups, []string) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, promql, logger)
	var faults []string
	for _, err := range errs {
		faults = append(faults, err.Error())
	}
	return groups, faults
}

// used is what one expression asks for.
type used struct {
	Expr      string     `json:"expr"`
	Error     string     `json:"error,omitempty"`
	Selectors []selector `json:"selectors"`
	Labels    []string   `json:"labels"`
}

// selector is one metric of an expression and the labels that it is chosen by.
type selector struct {
	Metric string            `json:"metric"`
	Labels map[string]string `json:"labels"`
}

func parseAll() []string {
	var expressions []string
	if err := json.NewDecoder(os.Stdin).Decode(&expressions); err != nil {
		return []string{err.Error()}
	}
	found := make([]used, 0, len(expressions))
	for _, text := range expressions {
		found = append(found, look(text))
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func look(text string) used {
	found := used{Expr: text, Selectors: []selector{}, Labels: []string{}}
	expr, err := promql.ParseExpr(text)
	if err != nil {
		found.Error = err.Error()
		return found
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			one := selector{Metric: n.Name, Labels: map[string]string{}}
			for _, matcher := range n.LabelMatchers {
				if matcher.Name != labels.MetricName {
					one.Labels[matcher.Name] = matcher.Value
				}
			}
			found.Selectors = append(found.Selectors, one)
		case *parser.AggregateExpr:
			found.Labels = append(found.Labels, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				found.Labels = append(found.Labels, n.VectorMatching.MatchingLabels...)
				found.Labels = append(found.Labels, n.VectorMatching.Include...)
			}
		}
		return nil
	})
	return found
}
